"""A clock that a test turns by hand."""

from __future__ import annotations

import threading

_LOOK_AGAIN_S = 0.002  # an event that the clock did not set can only be looked at


class FakeClock:
    """`seams.Clock` in the hands of a test. Thread-safe.

    Args:
        frozen: If false, a wait passes at once and moves this clock by its length, so that a loop of one
            thread runs at full speed. If true, a wait lasts until its event is set or another thread
            advances the clock far enough.
        monotonic_s: What the monotonic clock starts from, in seconds.
        wall_s: What the wall clock starts from, in seconds since 1970.

    Attributes:
        waits_s: The length of every wait that was asked for, in order.
    """

    def __init__(
        self, *, frozen: bool = False, monotonic_s: float = 1000.0, wall_s: float = 1_800_000_000.0
    ) -> None:
        self.waits_s: list[float] = []
        self._frozen = frozen
        self._now_s = monotonic_s
        self._wall_offset_s = wall_s - monotonic_s
        self._moved = threading.Condition()

    def monotonic_s(self) -> float:
        with self._moved:
            return self._now_s

    def wall_s(self) -> float:
        with self._moved:
            return self._now_s + self._wall_offset_s

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        with self._moved:
            self._now_s += seconds
            self._moved.notify_all()

    def set_wall(self, wall_s: float) -> None:
        """Put the wall clock right, as NTP does; durations do not notice."""
        with self._moved:
            self._wall_offset_s = wall_s - self._now_s

    def wait(self, event: threading.Event, timeout_s: float) -> bool:
        with self._moved:
            self.waits_s.append(timeout_s)
            until_s = self._now_s + timeout_s
            if not self._frozen and not event.is_set():
                self._now_s = max(self._now_s, until_s)
            while self._now_s < until_s and not event.is_set():
                self._moved.wait(_LOOK_AGAIN_S)
        return event.is_set()
