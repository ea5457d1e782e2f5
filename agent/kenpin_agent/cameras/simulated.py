"""The simulated conveyor as a camera."""

from __future__ import annotations

from kenpin_agent.cameras.config import SimulatedConfig
from kenpin_agent.cameras.conveyor import render
from kenpin_agent.cameras.pace import Pace
from kenpin_agent.heap import give_back
from kenpin_agent.seams import Clock, Frame, Truth


class SimulatedCamera:
    """`seams.Camera` over `conveyor.render`: a new part at every beat, without end.

    A frame's `part` is the part's number and what it is, such as `000140-scratch`; its `truth` is set.
    """

    def __init__(self, config: SimulatedConfig, clock: Clock) -> None:
        self._config = config
        self._clock = clock
        self._pace = Pace(config.rate_hz, clock)
        self._next = 0

    def read(self) -> Frame | None:
        """See `seams.Camera`; None only once it is closed."""
        if not self._pace.wait():
            return None
        number, self._next = self._next, self._next + 1
        defect = self._config.defect_of(number)
        if number == 0:
            self._draw_sheets()
        image, mask = render(number, self._config.seed, defect, self._config.design)
        return Frame(
            image,
            number,
            self._clock.monotonic_s(),
            part=f"{number:06d}-{defect or 'good'}",
            truth=Truth(defect, mask) if defect else Truth(),
        )

    def _draw_sheets(self) -> None:
        """Draw all textures now, so that no later part takes long, and return what drawing them took."""
        render(0, self._config.seed, "rust" if "rust" in self._config.defects else None, self._config.design)
        give_back()

    def close(self) -> None:
        self._pace.stop()
