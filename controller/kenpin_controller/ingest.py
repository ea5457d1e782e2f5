"""From the broker into the live picture at once, and into the store before anything is acknowledged.

Nothing that arrives can stop this: what breaks the contract is counted, named in the log (seldom), and gone.
"""

from __future__ import annotations

import logging
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable
from typing import Protocol

from kenpin_agent.link.session import Delivery
from kenpin_controller.fleet import Fleet
from kenpin_controller.intake import AGENT_CHANNELS, ROLLOUT_CHANNELS, STATE_CHANNELS, read, to_write
from kenpin_controller.publisher import Publisher
from kenpin_controller.seldom import Seldom
from kenpin_controller.store.readings import Readings
from kenpin_controller.store.writes import Event, Seen, Write
from kenpin_controller.writer import Pending, Writer
from kenpin_wire.errors import KenpinError, WireError
from kenpin_wire.messages import BlockRequest, EventAck, Message, MetadataRequest, Reply
from kenpin_wire.topics import Address, Channel, Topic, TopicTree

SEEN_EVERY_S = 30.0
"""How often it is written down that a device was heard, when nothing else about it changes."""
_EVENTS_REMEMBERED = 4_096
_ACK_IDS = 500

log = logging.getLogger(__name__)


class Listener(Protocol):
    """What ingest needs of `kenpin_agent.link.session.MqttSession`, set to acknowledge by hand."""

    on_message: Callable[[Delivery], None]

    def subscribe(self, filters: Iterable[str], qos: int = 1) -> None: ...

    def acknowledge(self, delivery: Delivery) -> None: ...


class Ingest:
    """Takes in every message of every agent.

    Args:
        on_block_request: Called on the session's thread with who asks for which blocks; must not block.
        on_metadata_request: Likewise with who asks for which part of the TUF metadata.
        on_reply: Called on the session's thread with a command's reply; must not block.
        on_news: Called on the session's thread with a device that has said what may move a rollout; must not block.
        wall_s: The wall clock.

    Attributes:
        counts: How many messages of each channel came, and what was dropped, by reason.
    """

    def __init__(
        self,
        session: Listener,
        tree: TopicTree,
        readings: Readings,
        fleet: Fleet,
        publisher: Publisher,
        *,
        on_block_request: Callable[[Address, BlockRequest], None],
        on_metadata_request: Callable[[Address, MetadataRequest], None],
        on_reply: Callable[[Address, Reply], None],
        on_news: Callable[[str], None] = lambda _device: None,
        wall_s: Callable[[], float] = time.time,
    ) -> None:
        self._session = session
        self._tree = tree
        self._fleet = fleet
        self._publisher = publisher
        self._on_block_request = on_block_request
        self._on_metadata_request = on_metadata_request
        self._on_reply = on_reply
        self._on_news = on_news
        self._wall_s = wall_s
        self._writer = Writer(readings, self._committed)
        self._seen = {seen.name: seen for seen in readings.devices()}
        self._events: OrderedDict[str, None] = OrderedDict()
        self._seldom = Seldom(log)
        self.counts = self._seldom.counts

    @property
    def refused(self) -> str:
        """Why the store takes nothing just now; empty while it does."""
        return self._writer.refused

    def start(self) -> None:
        """Subscribe to all agents, and begin to write."""
        self._writer.start()
        self._session.on_message = self.receive
        self._listen()

    def stop(self) -> None:
        """Commit what came. Stop the session afterwards, so that it can still be acknowledged."""
        self._writer.stop()

    def receive(self, delivery: Delivery) -> None:
        """Handle one delivery. Never raises for what is in it."""
        write: Write | None = None
        try:
            topic, message = read(self._tree, delivery.topic, delivery.payload)
            write = self._take(topic, message, retained=delivery.retain)
        except WireError as error:
            self._drop("malformed", f"{delivery.topic}: {error.what}")
        except Exception as error:  # noqa: BLE001  a message that trips a bug must not take the fleet with it
            self._drop("unexpected", f"{delivery.topic}: {error!r}")
        if delivery.qos == 0 and write is None:
            return
        if not self._writer.put(Pending(write, lambda: self._session.acknowledge(delivery))):
            self._drop("overflow", f"{delivery.topic}: too much waits for the store")

    def _take(self, topic: Topic, message: Message | bytes, *, retained: bool) -> Write | None:
        received_s = self._wall_s()
        self.counts[topic.channel.value] += 1
        if retained and self._left_behind(topic.address):
            self.counts["dropped: stale"] += 1
            return None
        if isinstance(message, BlockRequest):
            self._on_block_request(topic.address, message)
            return None
        if isinstance(message, MetadataRequest):
            self._on_metadata_request(topic.address, message)
            return None
        if isinstance(message, Reply):
            self._on_reply(topic.address, message)
            return None
        try:
            self._fleet.apply(topic, message, received_s)
        except Exception as error:  # noqa: BLE001  what the live picture trips over is stored all the same
            self._seldom.warn("not shown live", f"{topic.address.device}, {topic.channel}: {error!r}")
        if topic.channel in STATE_CHANNELS:
            self._note_state(topic, received_s)
        if topic.channel in ROLLOUT_CHANNELS:
            self._on_news(topic.address.device)
        write = to_write(topic, message, received_s)
        if isinstance(write, Event):
            self._count_duplicate(write.record.id)
        return write

    def _left_behind(self, address: Address) -> bool:
        """Whether the device stands elsewhere now: what it left retained at its old place says nothing."""
        seen = self._seen.get(address.device)
        return seen is not None and (seen.site, seen.line) != (address.site, address.line)

    def _listen(self) -> None:
        self._session.subscribe([self._tree.filter(channel) for channel in AGENT_CHANNELS])

    def _note_state(self, topic: Topic, received_s: float) -> None:
        """Write down where a device stands and what it runs: when that changes, and now and then."""
        view = self._fleet.device(topic.address.device)
        if view is None:
            return
        before = self._seen.get(view.name)
        seen = Seen(
            name=view.name,
            site=view.address.site,
            line=view.address.line,
            time_s=received_s,
            release=(view.installed or (before.release if before else ""))[:96],
            config_rev=view.config.rev if view.config else (before.config_rev if before else 0),
            release_rev=view.release.rev if view.release else (before.release_rev if before else 0),
        )
        if before is not None and received_s - before.time_s < SEEN_EVERY_S:
            same = (before.site, before.line, before.release, before.config_rev, before.release_rev)
            if same == (seen.site, seen.line, seen.release, seen.config_rev, seen.release_rev):
                return
        if self._writer.put(Pending(seen, lambda: None)):
            self._seen[view.name] = seen
            if before is not None and (before.site, before.line) != (seen.site, seen.line):
                self._listen()  # for what it left retained at its new place before we believed it to be there

    def _committed(self, writes: list[Write]) -> None:
        """Tell each agent which of its events are safe; it keeps them until then."""
        ids: dict[Address, list[str]] = {}
        for write in writes:
            if isinstance(write, Event):
                record = write.record
                ids.setdefault(Address(write.site, record.line, record.device), []).append(record.id)
        for address, stored in ids.items():
            for start in range(0, len(stored), _ACK_IDS):
                ack = EventAck(ids=stored[start : start + _ACK_IDS])
                try:
                    self._publisher.say(Topic(address, Channel.SET_ACK), ack)
                except KenpinError as error:
                    self._seldom.warn("events not confirmed, the device will ask again", str(error))

    def _count_duplicate(self, event_id: str) -> None:
        if event_id in self._events:
            self.counts["dropped: duplicate"] += 1
        self._events[event_id] = None
        self._events.move_to_end(event_id)
        if len(self._events) > _EVENTS_REMEMBERED:
            self._events.popitem(last=False)

    def _drop(self, kind: str, text: str) -> None:
        self._seldom.warn(f"dropped: {kind}", text)
