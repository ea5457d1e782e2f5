"""At most so many a second: a token bucket."""

from __future__ import annotations

import threading


class Quota:
    """Allows `per_s` things a second on average, and `burst` at once. Thread-safe."""

    def __init__(self, per_s: float, burst: float) -> None:
        self._per_s = per_s
        self._burst = burst
        self._left = burst
        self._at_s: float | None = None
        self._lock = threading.Lock()

    def take(self, now_s: float) -> bool:
        """Whether one more is allowed now; `now_s` is monotonic."""
        with self._lock:
            if self._at_s is not None:
                self._left = min(self._burst, self._left + (now_s - self._at_s) * self._per_s)
            self._at_s = now_s
            if self._left < 1:
                return False
            self._left -= 1
            return True
