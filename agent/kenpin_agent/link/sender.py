"""Brings the outbox's rows to the broker: events first, pictures not all at once, nothing twice without need.

One thread owns the outbox. Other threads only put into its queue, so a slow card never holds them.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial

from kenpin_agent.link.hearing import Hearing
from kenpin_agent.link.lanes import Lane
from kenpin_agent.link.outbox import Outbox
from kenpin_agent.link.outbox_file import Row
from kenpin_agent.link.publications import Publication, Receipt
from kenpin_agent.link.quota import Quota
from kenpin_agent.link.redelivery import Redelivery
from kenpin_agent.link.session import MqttSession
from kenpin_agent.seams import Clock
from kenpin_wire.contract import CONTRACT
from kenpin_wire.errors import LinkError
from kenpin_wire.topics import Channel

WINDOW = 14
"""Rows under way at once; the rest of the session's 20 is for what does not wait: status, reports, requests."""
_LANE_WINDOW = {
    Lane.EVENT: WINDOW,
    Lane.REPLY: WINDOW,
    Lane.PICTURE: 2,  # 200 KB at most in front of a live score
    Lane.BULK: 10,
}
_COPIES_WINDOW = 4  # events that are sent again are in nobody's way
QUEUE_LIMIT = 2000
PAUSE_S = 5.0
"""After the broker took a row badly, for a reason that may pass."""
DEFAULT_EXPIRY_S = 7 * 86_400
_LOOK_UP_S = 1.0

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _UnderWay:
    row: Row
    copy: bool


class Sender:
    """See the module's docstring.

    Args:
        topic_of: Spells the topic of a channel and its argument.
    """

    def __init__(
        self, outbox: Outbox, session: MqttSession, clock: Clock, topic_of: Callable[[Channel, str], str]
    ) -> None:
        self._outbox = outbox
        self._session = session
        self._clock = clock
        self._topic_of = topic_of
        self._queue: queue.SimpleQueue[Callable[[], object]] = queue.SimpleQueue()
        self._under_way: dict[int, _UnderWay] = {}
        self._events = Redelivery()
        self._hearing = Hearing()
        self._newest_picture: dict[Channel, int] = {}
        self._ready = False
        self._pause_until_s = 0.0
        self._refusals = Quota(per_s=1 / 60, burst=3)
        self._thread = threading.Thread(target=self._run, name="outbox", daemon=True)
        self._stop_by_s: float | None = None

    @property
    def depth(self) -> int:
        """Rows that wait."""
        return self._outbox.depth

    def start(self) -> None:
        """Begin to work."""
        self._thread.start()

    def stop(self, within_s: float) -> None:
        """Send what can be sent within that time, write the rest to the file, and end."""
        until_s = time.monotonic() + within_s
        self._queue.put(partial(self._end, until_s))  # behind what was put before
        if self._thread.is_alive():
            self._thread.join(within_s + 1.0)

    # For other threads.

    def put(
        self, lane: Lane, channel: Channel, publication: Publication, argument: str, event_id: str
    ) -> bool:
        """Let a message wait for its turn; False if the disk is so slow that there is no room in memory."""
        if self._queue.qsize() >= QUEUE_LIMIT:
            return False
        expiry_s = publication.expiry_s or DEFAULT_EXPIRY_S
        accept = partial(self._outbox.put, argument=argument, event_id=event_id, expiry_s=expiry_s)
        self._queue.put(partial(accept, lane, channel, publication.payload))
        return True

    def connected(self) -> None:
        """A connection stands, and what comes before the outbox's rows has been said."""
        self._queue.put(self._reconnected)

    def disconnected(self) -> None:
        """The connection is gone."""
        self._queue.put(self._lost)

    def published(self, receipt: Receipt) -> None:
        """The broker has answered."""
        self._queue.put(lambda: self._settle(receipt))

    def acknowledged(self, event_ids: Iterable[str]) -> None:
        """The controller has these events."""
        ids = list(event_ids)
        self._queue.put(lambda: self._forget(ids))

    # From here on, the sender's own thread.

    def _run(self) -> None:
        go_on = True
        while go_on:
            try:
                go_on = self._step()
            except Exception:
                log.exception("the outbox's thread failed and goes on")
                time.sleep(_LOOK_UP_S)  # not to fill the log
        self._outbox.close()

    def _step(self) -> bool:
        """Wait for something to do, and do it; False at the end."""
        try:
            work = self._queue.get(timeout=self._wait_s())
            while True:
                work()
                work = self._queue.get_nowait()
        except queue.Empty:
            pass
        now_s = self._clock.monotonic_s()
        if self._ready and now_s >= self._pause_until_s:
            self._fill(now_s)
        due_s = self._outbox.due_s
        if due_s is not None and self._clock.monotonic_s() >= due_s:
            self._outbox.flush()
        if self._stop_by_s is None:
            return True
        busy = self._ready and self._under_way
        return bool(busy) and time.monotonic() < self._stop_by_s

    def _wait_s(self) -> float:
        if self._stop_by_s is not None:
            return 0.05
        now_s = self._clock.monotonic_s()
        dues = [self._outbox.due_s, self._events.due_s]
        return max(0.0, min([_LOOK_UP_S, *(due_s - now_s for due_s in dues if due_s is not None)]))

    def _end(self, until_s: float) -> None:
        self._stop_by_s = until_s

    def _lost(self) -> None:
        self._ready = False

    def _reconnected(self) -> None:
        self._ready = True
        self._pause_until_s = 0.0
        self._hearing.reconnected()
        self._events.reconnected(self._clock.monotonic_s())

    def _forget(self, event_ids: list[str]) -> None:
        if self._outbox.remove_events(event_ids):
            self._events.acknowledged(self._clock.monotonic_s())

    def _settle(self, receipt: Receipt) -> None:
        done = self._under_way.pop(receipt.token, None)
        if done is None:
            return
        row = done.row
        if receipt.accepted:
            self._taken(row, heard=receipt.heard)
        elif receipt.permanent and not (row.lane is Lane.EVENT and receipt.gave_up):
            self._outbox.remove([row.id])
            self._complain(f"the broker takes no {row.channel} from this device ({receipt.reason}); dropped")
        else:
            self._pause_until_s = self._clock.monotonic_s() + PAUSE_S
            self._complain(f"the broker did not take a {row.channel} ({receipt.reason}); it is tried again")

    def _taken(self, row: Row, *, heard: bool) -> None:
        is_event = row.lane is Lane.EVENT
        if heard:
            self._hearing.heard(row.lane)
            if not is_event:  # which waits for the controller's own word
                self._outbox.remove([row.id])
            return
        if is_event:
            self._events.unheard(row.id)
        age_s = self._clock.wall_s() - row.created_s
        if self._hearing.unheard(row.lane, self._clock.monotonic_s(), age_s):
            self._outbox.remove([row.id])
            self._complain(f"nobody subscribes to {row.channel}: no controller has come; dropped")

    def _fill(self, now_s: float) -> None:
        """Send until the window is full or nothing waits."""
        for row in self._candidates(Lane.EVENT, self._room(Lane.EVENT), after=self._events.sent_up_to):
            if self._give(row):
                self._events.sent(row.id, now_s)
        for lane in (Lane.REPLY, Lane.PICTURE, Lane.BULK):
            for row in self._candidates(lane, self._room(lane)):
                self._give(row)
        self._send_copies(now_s)

    def _send_copies(self, now_s: float) -> None:
        """Events that the broker has taken, but that no controller has acknowledged in time."""
        span = self._events.span(now_s)
        copies = sum(item.copy for item in self._under_way.values())
        room = min(self._room(Lane.EVENT), _COPIES_WINDOW - copies)
        if not span or room <= 0:
            return
        rows = self._candidates(Lane.EVENT, room, after=span.start - 1, up_to=span.stop - 1)
        for row in rows:
            if self._give(row, copy=True):
                self._events.sent(row.id, now_s)
        if not rows:
            self._events.round_over(anything_waits=bool(self._outbox.waiting(Lane.EVENT, 1)))

    def _candidates(self, lane: Lane, limit: int, *, after: int = 0, up_to: int | None = None) -> list[Row]:
        if limit == 0:
            return []
        return self._outbox.waiting(
            lane,
            limit,
            after=after,
            up_to=up_to,
            # In silence the oldest asks: it is the one to be given up.
            newest_first=lane is Lane.PICTURE and not self._hearing.silent(lane),
            without=[item.row.id for item in self._under_way.values()],
        )

    def _room(self, lane: Lane) -> int:
        if not self._hearing.may_say(lane, self._clock.monotonic_s()):
            return 0
        in_lane = sum(item.row.lane is lane for item in self._under_way.values())
        lane_window = 1 if self._hearing.silent(lane) else _LANE_WINDOW[lane]
        return max(0, min(WINDOW - len(self._under_way), lane_window - in_lane))

    def _give(self, row: Row, *, copy: bool = False) -> bool:
        """Hand a row to the session; False if it did not take it."""
        spec = CONTRACT[row.channel]
        left_s = max(1, int(row.expires_s - self._clock.wall_s()))
        publication = Publication(
            self._topic_of(row.channel, row.argument),
            row.payload,
            spec.qos,
            spec.retain and self._is_newest(row),
            left_s,
            spec.content_type,
        )
        try:
            token = self._session.publish(publication)
        except LinkError as error:
            self._outbox.remove([row.id])
            self._complain(str(error))
            return False
        if token is None:
            return False
        self._under_way[token] = _UnderWay(row, copy)
        return True

    def _is_newest(self, row: Row) -> bool:
        """Pictures leave newest first; an older one must not become the retained one after it."""
        if row.lane is not Lane.PICTURE:
            return True
        newest = row.id >= self._newest_picture.get(row.channel, 0)
        if newest:
            self._newest_picture[row.channel] = row.id
        return newest

    def _complain(self, text: str) -> None:
        if self._refusals.take(self._clock.monotonic_s()):
            log.warning("%s", text)
