"""A link without a broker."""

from __future__ import annotations

from collections.abc import Callable

from kenpin_agent.seams import Incoming, Outgoing
from kenpin_wire.messages import Message
from kenpin_wire.topics import Channel


class FakeLink:
    """`seams.Link` that keeps what is published and delivers what a test gives it, on the test's own thread.

    Args:
        connected: Whether `start` connects. `connect` and `disconnect` change it later.

    Attributes:
        published: Everything that was published, in order, connected or not.
        outbox_depth: Set it to what the code under test shall see; so `rejected_messages` and `max_packet_bytes`.
        started, stopped: Whether these were called.
    """

    def __init__(self, *, connected: bool = True) -> None:
        self.published: list[Outgoing] = []
        self.outbox_depth = 0
        self.rejected_messages = 0
        self.max_packet_bytes: int | None = None
        self.started = False
        self.stopped = False
        self._connects = connected
        self._connected = False
        self._on_message: list[Callable[[Incoming], None]] = []
        self._on_connect: list[Callable[[], None]] = []

    @property
    def connected(self) -> bool:
        return self._connected

    def publish(self, message: Outgoing) -> None:
        self.published.append(message)

    def on_message(self, handler: Callable[[Incoming], None]) -> None:
        self._on_message.append(handler)

    def on_connect(self, handler: Callable[[], None]) -> None:
        self._on_connect.append(handler)

    def start(self) -> None:
        self.started = True
        if self._connects:
            self.connect()

    def stop(self) -> None:
        self.stopped = True
        self._connected = False

    def connect(self) -> None:
        """The broker is there."""
        self._connected = True
        for handler in self._on_connect:
            handler()

    def disconnect(self) -> None:
        """The broker is gone."""
        self._connected = False

    def deliver(
        self, channel: Channel, payload: Message | bytes, argument: str = "", *, whole_line: bool = False
    ) -> None:
        """A message comes from the controller."""
        for handler in self._on_message:
            handler(Incoming(channel, payload, argument, whole_line))

    def of(self, channel: Channel) -> list[Outgoing]:
        """What was published on a channel, in order."""
        return [message for message in self.published if message.channel is channel]
