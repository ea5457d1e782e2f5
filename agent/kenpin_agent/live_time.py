"""How long a line has really run: what counts when a trial or a shadow is given so many seconds. Pure."""

from __future__ import annotations

from kenpin_wire.messages import CameraState

IDLE_AFTER_S = 10.0
"""Without a frame for so long, the line stands still; that is nobody's fault."""
LONGEST_PAUSE_S = 7 * 86_400.0
"""All pauses together; longer than any holiday. So nothing waits for ever."""


class LiveTime:
    """A clock that stands while the camera gives nothing, or inspection is off.

    Args:
        now_s: The monotonic clock.
        frames: What the camera has given so far.

    Attributes:
        paused: Whether it stood still at the last look.
    """

    def __init__(self, now_s: float, frames: int) -> None:
        self.live_s = 0.0
        self.paused_s = 0.0
        self.paused = False
        self._now_s = self._frame_s = now_s
        self._frames = frames

    @property
    def over(self) -> bool:
        """Whether it has paused longer than anything can be waited for."""
        return self.paused_s > LONGEST_PAUSE_S

    def look(self, now_s: float, *, frames: int, camera: CameraState, inspection: bool) -> None:
        """Count the time since the last look as it is now. Call it several times a second.

        Args:
            frames: What the camera has given by now.
            inspection: Whether frames can be judged.
        """
        passed_s, self._now_s = max(0.0, now_s - self._now_s), max(now_s, self._now_s)
        if frames > self._frames:
            self._frames, self._frame_s = frames, self._now_s
        flows = self._now_s - self._frame_s <= IDLE_AFTER_S
        self.paused = not (camera is CameraState.OK and inspection and flows)
        if self.paused:
            self.paused_s += passed_s
        else:
            self.live_s += passed_s
