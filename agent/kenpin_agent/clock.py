"""The machine's clock."""

from __future__ import annotations

import threading
import time


class SystemClock:
    """`seams.Clock` by the operating system: `CLOCK_MONOTONIC` for durations, the wall clock for stamps."""

    def monotonic_s(self) -> float:
        """Seconds since some fixed moment; never goes back, whatever NTP does."""
        return time.monotonic()

    def wall_s(self) -> float:
        """Seconds since 1970, UTC. A Pi without a network may be years off after a power cut."""
        return time.time()

    def wait(self, event: threading.Event, timeout_s: float) -> bool:
        """Wait until `event` is set or `timeout_s` seconds have passed; returns whether it is set."""
        return event.wait(timeout_s)
