"""`seams.Link` over MQTT: stamps and spells out what is said, reads and checks what is heard."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Protocol

from kenpin_agent.link.incoming import Reader, Sealed
from kenpin_agent.link.lanes import Lane, lane_of
from kenpin_agent.link.outbox import Outbox
from kenpin_agent.link.outgoing import Writer
from kenpin_agent.link.publications import Delivery, Publication
from kenpin_agent.link.quota import Quota
from kenpin_agent.link.sender import Sender
from kenpin_agent.link.session import MqttSession
from kenpin_agent.link.settings import BrokerSettings
from kenpin_agent.seams import Clock, Incoming, Outgoing
from kenpin_wire.contract import CONTRACT, WithoutBroker
from kenpin_wire.errors import LinkError, WireError
from kenpin_wire.messages import EventAck, Presence, Status
from kenpin_wire.topics import Address, Channel, Topic, TopicTree

SESSION_EXPIRY_S = 60
"""The broker keeps commands for us over a short loss; their own expiry is 30 s."""
STOP_S = 2.0

log = logging.getLogger(__name__)


class Verifier(Protocol):
    """Opens signed messages for a link; `kenpin_agent.trust.trust.Trust` is one."""

    def verify(
        self, sealed: Sealed, accept: Callable[[Incoming], None], refuse: Callable[[WireError], None]
    ) -> None:
        """Call one of the two, sooner or later, on a thread of its own and in the order of the messages; returns
        at once."""


class PahoLink:
    """A device's link. `publish` may be called from any thread and neither blocks nor raises.

    Handlers run on the session's thread, in the order in which they were added; they must not block. Signed
    messages come on the verifier's.

    Args:
        verifier: With it, messages of channels that are signed get through only if it accepts them.
        boot: This start's number, stamped on every message.
        agent_version: Told in the status.

    Raises:
        ConfigError: if the settings' prefix cannot be used.
    """

    def __init__(
        self,
        settings: BrokerSettings,
        address: Address,
        outbox: Outbox,
        clock: Clock,
        *,
        boot: int = 0,
        agent_version: str = "",
        verifier: Verifier | None = None,
    ) -> None:
        self._tree = TopicTree(settings.prefix)
        self._address = address
        self._clock = clock
        self._verifier = verifier
        self._reader = Reader(self._tree, address, pinned=verifier is not None)
        self._writer = Writer(self._tree, address, clock, boot)
        self._last: dict[tuple[Channel, str], Outgoing] = {}
        self._last_lock = threading.Lock()
        self._offline = Status(state=Presence.OFFLINE, agent_version=agent_version)
        self._remember(Outgoing(Channel.STATUS, Status(state=Presence.ONLINE, agent_version=agent_version)))
        self._rejected = 0
        self._rejected_lock = threading.Lock()
        self._complaints = Quota(per_s=1.0, burst=5)
        self._on_message: list[Callable[[Incoming], None]] = []
        self._on_connect: list[Callable[[], None]] = []
        self._session = MqttSession(
            settings,
            client_id=f"kenpin-{address.site}-{address.line}-{address.device}",
            session_expiry_s=SESSION_EXPIRY_S,
            will=self._will,
        )
        self._sender = Sender(outbox, self._session, clock, self._topic)
        self._session.on_connected = self._connected
        self._session.on_disconnected = self._sender.disconnected
        self._session.on_published = self._sender.published
        self._session.on_message = self._received
        self._session.subscribe(self._reader.filters)

    @property
    def connected(self) -> bool:
        """Whether the broker is there and our subscriptions stand."""
        return self._session.connected

    @property
    def outbox_depth(self) -> int:
        """Messages that wait for the broker, and events that wait for the controller's word."""
        return self._sender.depth

    @property
    def max_packet_bytes(self) -> int | None:
        """The longest packet that the broker takes; None if it has not said so."""
        return self._session.max_packet_bytes

    @property
    def rejected_messages(self) -> int:
        """Messages to this device that broke the contract, or were not signed as they must be, since it started."""
        return self._rejected

    def publish(self, message: Outgoing) -> None:
        """Say it now, or treat it as the contract's `without_broker` says. Breaks the contract: dropped, with a
        line in the log."""
        try:
            if CONTRACT[message.channel].without_broker is WithoutBroker.LAST:
                self._say_last(message)
            elif (lane := lane_of(message.channel)) is not None:
                self._say_surely(lane, message)
            else:
                self._session.publish(self._writer.write(message))
        except (WireError, LinkError) as error:
            self._complain("not sent: %s", error)

    def on_message(self, handler: Callable[[Incoming], None]) -> None:
        """Call `handler` for each message that keeps the contract."""
        self._on_message.append(handler)

    def on_connect(self, handler: Callable[[], None]) -> None:
        """Call `handler` after each (re)connection, once the subscriptions stand."""
        self._on_connect.append(handler)

    def start(self) -> None:
        """Begin to connect, and return at once."""
        self._sender.start()
        self._session.start()

    def stop(self) -> None:
        """Flush what can be flushed within two seconds, say offline, and disconnect."""
        until_s = time.monotonic() + STOP_S
        self._sender.stop(STOP_S)
        self._session.publish(self._will())
        self._session.stop(drain_s=max(0.2, until_s - time.monotonic()))

    def _will(self) -> Publication:
        return self._writer.write(Outgoing(Channel.STATUS, self._offline))

    def _topic(self, channel: Channel, argument: str) -> str:
        return self._tree.build(Topic(self._address, channel, argument))

    def _remember(self, message: Outgoing) -> None:
        self._last[message.channel, message.argument] = message

    def _say_last(self, message: Outgoing) -> None:
        """The lock keeps the order between a new value and the repetition of the old one after a connection."""
        publication = self._writer.write(message)
        with self._last_lock:
            self._remember(message)
            self._session.publish(publication)

    def _say_surely(self, lane: Lane, message: Outgoing) -> None:
        publication = self._writer.write(message)
        if not self._sender.put(lane, message.channel, publication, message.argument, message.event_id):
            self._complain("not sent: %s: the disk is too slow for the outbox", message.channel)

    def _connected(self, _session_present: bool) -> None:
        with self._last_lock:
            for message in self._last.values():  # the status first: it was put there first
                try:
                    self._session.publish(self._writer.write(message))
                except LinkError as error:
                    self._complain("not sent: %s", error)
        self._sender.connected()
        for handler in self._on_connect:
            handler()

    def _received(self, delivery: Delivery) -> None:
        try:
            message = self._reader.read(delivery, datetime.fromtimestamp(self._clock.wall_s(), UTC))
        except WireError as error:
            self._refuse(error)
            return
        if message is None:
            return
        if isinstance(message, Sealed):
            assert self._verifier is not None  # or the reader would have opened it
            self._verifier.verify(message, self._accept, self._refuse)
        elif isinstance(message.payload, EventAck):
            self._sender.acknowledged(message.payload.ids)
        else:
            self._accept(message)

    def _accept(self, message: Incoming) -> None:
        for handler in self._on_message:
            handler(message)

    def _refuse(self, error: WireError) -> None:
        with self._rejected_lock:
            self._rejected += 1
        self._complain("message rejected: %s", error)

    def _complain(self, text: str, detail: object) -> None:
        if self._complaints.take(self._clock.monotonic_s()):
            log.warning(text, detail)
