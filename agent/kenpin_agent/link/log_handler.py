"""Warnings and errors, sent to the person who cannot log in to the Pi."""

from __future__ import annotations

import logging
import threading
from datetime import UTC, datetime

from kenpin_agent.link.quota import Quota
from kenpin_agent.seams import Clock, Link, Outgoing
from kenpin_wire.messages import LogLine
from kenpin_wire.topics import Channel

LINES_A_SECOND = 5


class LinkLogHandler(logging.Handler):
    """Publishes records of WARNING and above on the channel `log`, at most five a second.

    What is logged while a record is being published goes to the other handlers only, so nothing comes round.
    """

    def __init__(self, link: Link, clock: Clock) -> None:
        super().__init__(logging.WARNING)
        self._link = link
        self._clock = clock
        self._quota = Quota(LINES_A_SECOND, LINES_A_SECOND)
        self._inside = threading.local()

    def emit(self, record: logging.LogRecord) -> None:
        """Publish a record; never raises."""
        if getattr(self._inside, "busy", False) or not self._quota.take(self._clock.monotonic_s()):
            return
        self._inside.busy = True
        try:
            line = LogLine(
                ts=datetime.fromtimestamp(record.created, UTC),
                level=record.levelname,
                logger=record.name,
                message=record.getMessage(),
            )
            self._link.publish(Outgoing(Channel.LOG, line))
        except (TypeError, ValueError, KeyError):  # a message that does not fit its arguments
            self.handleError(record)
        finally:
            self._inside.busy = False
