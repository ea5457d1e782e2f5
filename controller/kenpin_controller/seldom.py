"""Counting what goes wrong, and saying it seldom: a device that talks nonsense must not fill the log."""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable

EVERY_S = 10.0


class Seldom:
    """Warns at most once in `EVERY_S` for each kind of trouble, with how often it has come by then.

    Args:
        log: Where to warn.
        monotonic_s: The clock.

    Attributes:
        counts: How often each kind has come. May be added to by its owner.
    """

    def __init__(self, log: logging.Logger, monotonic_s: Callable[[], float] = time.monotonic) -> None:
        self._log = log
        self._monotonic_s = monotonic_s
        self._said_s: dict[str, float] = {}
        self.counts: Counter[str] = Counter()

    def warn(self, kind: str, text: str) -> None:
        """Count it, and perhaps say it."""
        self.counts[kind] += 1
        now_s = self._monotonic_s()
        if now_s - self._said_s.get(kind, float("-inf")) >= EVERY_S:
            self._said_s[kind] = now_s
            self._log.warning("%s (%d so far): %.300s", kind, self.counts[kind], text)
