"""When an event that the broker took, but that no controller has acknowledged, is sent again. Pure.

Rows are known by ids that ascend with time. A few numbers stand for all rows, so that the memory does not grow
with the events that wait.
"""

from __future__ import annotations

FIRST_DELAY_S = 5.0
LAST_DELAY_S = 600.0
PATIENCE_S = 60.0
"""A round is put off no longer than this."""
ROUND_ROWS = 500
"""As many as one EventAck can name: more un-acknowledged ones at once would help nobody."""


class Redelivery:
    """Rounds over the oldest un-acknowledged events, ever further apart until an acknowledgement comes.

    An event is in a round only if it had been sent when the wait for that round began, so that an
    acknowledgement has had that long to come. While acknowledgements come, what is missing is probably on its
    way too, and the round is put off; else a slow broker would get the more to do the slower it is (measured:
    copies took the place of everything else).

    Attributes:
        sent_up_to: The highest id that was sent at all; what is above it is new.
    """

    def __init__(self) -> None:
        self.sent_up_to = 0
        self._delay_s = FIRST_DELAY_S
        self._next_s: float | None = None
        self._waits_since_s = 0.0
        self._known = 0  # the highest id sent when the present wait began
        self._span = range(0)
        self._rows_left = 0

    @property
    def due_s(self) -> float | None:
        """When `span` will begin a round; None if nothing waits for one."""
        return self._next_s

    def sent(self, row_id: int, now_s: float) -> None:
        """This event was handed to the broker."""
        if row_id > self.sent_up_to:
            self.sent_up_to = row_id
            if self._next_s is None:
                self._wait(now_s)
        else:
            self._span = range(max(self._span.start, row_id + 1), self._span.stop)
            self._rows_left -= 1

    def unheard(self, row_id: int) -> None:
        """This event reached nobody: it, and what came after it, is as good as new."""
        self.sent_up_to = min(self.sent_up_to, row_id - 1)
        self._known = min(self._known, self.sent_up_to)
        self._span = range(self._span.start, min(self._span.stop, row_id))

    def acknowledged(self, now_s: float) -> None:
        """A controller is there: the next round is near, but not yet."""
        self._delay_s = FIRST_DELAY_S
        if self._next_s is not None:
            soon_s = now_s + FIRST_DELAY_S
            self._next_s = min(soon_s, max(self._next_s, self._waits_since_s + PATIENCE_S))

    def reconnected(self, now_s: float) -> None:
        """The broker may have lost what it took: begin a round at once."""
        self._delay_s = FIRST_DELAY_S
        self._wait(now_s)
        self._next_s = now_s

    def span(self, now_s: float) -> range:
        """Ids of which those that still wait are to be sent again now; begins a round if one is due."""
        if self._next_s is not None and now_s >= self._next_s:
            self._span = range(1, self._known + 1)
            self._rows_left = ROUND_ROWS
            self._wait(now_s)
            self._delay_s = min(self._delay_s * 2, LAST_DELAY_S)
        return self._span if self._rows_left > 0 else range(0)

    def round_over(self, *, anything_waits: bool) -> None:
        """No row of the round is left. Without any un-acknowledged event there is nothing to wait for."""
        self._span = range(0)
        if not anything_waits:
            self._next_s = None
            self._delay_s = FIRST_DELAY_S

    def _wait(self, now_s: float) -> None:
        self._waits_since_s = now_s
        self._next_s = now_s + self._delay_s
        self._known = self.sent_up_to
