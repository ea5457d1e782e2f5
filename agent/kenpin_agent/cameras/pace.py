"""Waiting for the next picture's moment, in a way that closing a camera interrupts."""

from __future__ import annotations

import threading

from kenpin_agent.seams import Clock


class Pace:
    """A beat of `rate_hz`. A beat that was missed is not made up for: a slow reader gets no burst later."""

    def __init__(self, rate_hz: float, clock: Clock) -> None:
        self._period_s = 1 / rate_hz
        self._clock = clock
        self._next_s = clock.monotonic_s()
        self._stopped = threading.Event()

    @property
    def stopped(self) -> bool:
        return self._stopped.is_set()

    def wait(self) -> bool:
        """Wait for the next beat, the first of which is at once; returns False if stopped before it."""
        ahead_s = self._next_s - self._clock.monotonic_s()
        if ahead_s > 0:
            self._clock.wait(self._stopped, ahead_s)
        self._next_s = max(self._next_s, self._clock.monotonic_s() - self._period_s) + self._period_s
        return not self.stopped

    def stop(self) -> None:
        """End the wait, now and for good. From any thread."""
        self._stopped.set()
