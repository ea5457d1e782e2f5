"""What time it is at least: a Pi has no clock of its own, and one that believes in 1970 takes nothing for expired."""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from pathlib import Path

from kenpin_agent.files import write_atomically
from kenpin_agent.seams import Clock
from kenpin_wire.errors import os_words

log = logging.getLogger(__name__)

_WRITE_EVERY_S = 3600.0


class LastKnownTime:
    """The time to judge expiry by: the wall clock, but never before what is known to have passed.

    What is known moves on in two ways. By the monotonic clock, while this process runs. And to the wall clock's
    time, when a whole set of signed metadata was found unexpired at it (`confirm`): so a clock that is set years
    ahead for a minute finds everything expired but is not remembered, for it would lock the device out of every
    update for those years. The most that a wrong clock can add is the life of the timestamp metadata, a few days.

    Args:
        file: Where it is kept over restarts, written at most once an hour: a card wears.
    """

    def __init__(self, file: Path, clock: Clock) -> None:
        self._file = file
        self._clock = clock
        self._known_s = self._written_s = self._read()
        self._at_s = clock.monotonic_s()

    def now(self) -> datetime:
        """The time to judge expiry by, in UTC."""
        passed_s = self._clock.monotonic_s() - self._at_s
        return datetime.fromtimestamp(max(self._clock.wall_s(), self._known_s + passed_s), UTC)

    def confirm(self, now: datetime) -> None:
        """A whole set of signed metadata was unexpired at `now`, which `now()` gave: it is not earlier."""
        self._at_s, self._known_s = self._clock.monotonic_s(), max(now.timestamp(), self._known_s)
        if self._known_s - self._written_s >= _WRITE_EVERY_S:
            try:
                write_atomically(self._file, str(int(self._known_s)).encode())
                self._written_s = self._known_s
            except OSError as error:
                log.error("%s cannot be written (%s)", self._file, os_words(error))

    def _read(self) -> float:
        try:
            known_s = float(int(self._file.read_bytes()))
            datetime.fromtimestamp(known_s, UTC)
        except FileNotFoundError:
            return 0.0
        except (OSError, ValueError, OverflowError):
            log.warning("%s is unreadable; the time is known from the clock alone", self._file)
            return 0.0
        return known_s
