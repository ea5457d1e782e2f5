"""Keeps the governor fed and turns its allowance into rests between frames."""

from __future__ import annotations

from collections.abc import Callable

from kenpin_agent.governor import GovernorSettings, GovernorState, allowance, step
from kenpin_agent.seams import Allowance, Clock, HeatReading, Thermometer

STEP_S = 1.0


class HeatWatch:
    """The governor at work. Used by the inspection loop alone.

    Args:
        open_thermometer: Called once, with a way to ask for the present load (a simulated board feels it).
    """

    def __init__(
        self,
        open_thermometer: Callable[[Callable[[], float]], Thermometer],
        settings: GovernorSettings,
        clock: Clock,
    ) -> None:
        self._load = 0.0
        self._thermometer = open_thermometer(lambda: self._load)
        self._settings = settings
        self._clock = clock
        self._state = GovernorState()
        self._stepped_s = clock.monotonic_s()
        self._busy_s = 0.0
        self.reading: HeatReading = self._thermometer.read()
        self.allowance: Allowance = allowance(self._state, settings)

    @property
    def limit_c(self) -> float:
        """The board's limit, or the operator's own."""
        return self._settings.shown_limit_c

    def worked(self, busy_s: float) -> float:
        """Count `busy_s` seconds of work and return how long to rest after them, in seconds."""
        self._busy_s += busy_s
        return busy_s * (1.0 / max(self.allowance.rate, 0.01) - 1.0)

    def tick(self) -> bool:
        """Step the governor if a second has passed; returns whether it did."""
        now_s = self._clock.monotonic_s()
        dt_s = now_s - self._stepped_s
        if dt_s < STEP_S:
            return False
        self._load = self._busy_s / dt_s
        self.reading = self._thermometer.read()
        self._state = step(self._state, self.reading, dt_s, self._load, self._settings)
        self.allowance = allowance(self._state, self._settings)
        self._stepped_s, self._busy_s = now_s, 0.0
        return True
