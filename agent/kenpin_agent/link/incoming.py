"""What the broker brings to a device, read by the contract. Pure; a message that breaks it raises."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from datetime import datetime

from kenpin_agent.link.publications import Delivery
from kenpin_agent.seams import Incoming
from kenpin_wire.blocks import unpack_block
from kenpin_wire.contract import CONTRACT, decode
from kenpin_wire.errors import WireError
from kenpin_wire.messages import Command, DesiredConfig, DesiredRelease
from kenpin_wire.metadata import unpack_metadata
from kenpin_wire.signed import Signed, read_envelope
from kenpin_wire.topics import Address, Channel, TopicTree

TO_DEVICE = (Channel.SET_CONFIG, Channel.SET_RELEASE, Channel.SET_BLOB, Channel.SET_ACK, Channel.CMD)
TO_LINE = (Channel.SET_CONFIG,)
TO_PINNED_DEVICE = (Channel.SET_META,)
"""Also to a device that has a root to verify metadata with."""
REMEMBERED_COMMANDS = 256

Desired = DesiredConfig | DesiredRelease
"""What travels on channels that are signed."""


@dataclass(frozen=True, slots=True)
class Sealed:
    """A signed message that nobody has verified yet.

    Attributes:
        topic: As MQTT spelled it; the signature is of it too.
        whole_line: Whether it was said to all devices of the line.
    """

    channel: Channel
    topic: str
    envelope: Signed
    whole_line: bool


def read_desired(channel: Channel, payload: bytes, topic: str, now: datetime) -> Desired:
    """The message of a channel that is signed, out of its envelope.

    Args:
        now: To judge by whether it has expired.

    Raises:
        WireError: if it breaks the contract, or has expired.
    """
    message: Desired = decode(channel, payload)
    if message.expires is not None and now > message.expires:
        raise WireError(
            f"it expired at {message.expires:%Y-%m-%d %H:%M %Z}; this device takes it for {now:%Y-%m-%d %H:%M %Z}",
            where=topic,
            remedy="If that is wrong, set the device's clock.",
        )
    return message


class Reader:
    """Reads deliveries for one device. Remembers the last commands, so that a repeated one is known.

    Args:
        pinned: Whether the device has a root to verify signatures with. Without one it takes the message of a
            signed channel bare or from its envelope, and cannot tell who said it.
    """

    def __init__(self, tree: TopicTree, address: Address, *, pinned: bool = False) -> None:
        self._tree = tree
        self._address = address
        self._pinned = pinned
        self._to_device = TO_DEVICE + TO_PINNED_DEVICE if pinned else TO_DEVICE
        self._commands: OrderedDict[str, None] = OrderedDict()

    @property
    def filters(self) -> list[str]:
        """What to subscribe to."""
        a = self._address
        place = {"site": a.site, "line": a.line}
        mine = [self._tree.filter(channel, **place, device=a.device) for channel in self._to_device]
        return mine + [self._tree.filter(channel, **place, device=a.whole_line.device) for channel in TO_LINE]

    def read(self, delivery: Delivery, now: datetime) -> Incoming | Sealed | None:
        """The message; None for a command that has come before.

        Args:
            now: To judge by whether a bare message has expired.

        Raises:
            WireError: if it breaks the contract; one line, its `where` the topic.
        """
        topic = self._tree.parse(delivery.topic)
        whole_line = topic.address == self._address.whole_line
        expected = TO_LINE if whole_line else self._to_device
        if topic.channel not in expected or not (whole_line or topic.address == self._address):
            raise WireError("nothing that this device listens to", where=delivery.topic)
        try:
            return self._take(topic.channel, topic.argument, delivery, whole_line, now)
        except WireError as error:
            raise WireError(error.what, where=delivery.topic, remedy=error.remedy) from None

    def _take(
        self, channel: Channel, argument: str, delivery: Delivery, whole_line: bool, now: datetime
    ) -> Incoming | Sealed | None:
        payload = delivery.payload
        spec = CONTRACT[channel]
        if not payload:
            raise WireError("an empty message (a retained one was cleared)")
        if len(payload) > spec.max_bytes:
            raise WireError(f"{len(payload)} bytes, more than {spec.max_bytes}")
        if delivery.retain and not spec.retain:
            # Or a command left in the broker would be carried out again at each start.
            raise WireError("retained, which this channel must not be")
        if channel is Channel.SET_BLOB:
            unpack_block(payload)
        if channel is Channel.SET_META:
            unpack_metadata(payload)
        if spec.model is None:
            return Incoming(channel, payload, argument, whole_line)
        if spec.signed:
            return self._take_signed(channel, delivery, whole_line, now)
        message = decode(channel, payload)
        if isinstance(message, Command) and self._came_before(message.id):
            return None
        return Incoming(channel, message, argument, whole_line)

    def _take_signed(
        self, channel: Channel, delivery: Delivery, whole_line: bool, now: datetime
    ) -> Incoming | Sealed:
        envelope = read_envelope(delivery.payload, delivery.topic)
        if self._pinned:
            if envelope is None:
                raise WireError("it is not signed, and this device takes only what the controller signed")
            return Sealed(channel, delivery.topic, envelope, whole_line)
        payload = delivery.payload if envelope is None else envelope.payload.encode()
        return Incoming(channel, read_desired(channel, payload, delivery.topic, now), whole_line=whole_line)

    def _came_before(self, command_id: str) -> bool:
        known = command_id in self._commands
        self._commands[command_id] = None
        self._commands.move_to_end(command_id)
        while len(self._commands) > REMEMBERED_COMMANDS:
            self._commands.popitem(last=False)
        return known
