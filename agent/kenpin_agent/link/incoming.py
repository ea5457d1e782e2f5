"""What the broker brings to a device, read by the contract. Pure; a message that breaks it raises."""

from __future__ import annotations

from collections import OrderedDict

from kenpin_agent.link.publications import Delivery
from kenpin_agent.seams import Incoming
from kenpin_wire.blocks import unpack_block
from kenpin_wire.contract import CONTRACT, decode
from kenpin_wire.errors import WireError
from kenpin_wire.messages import Command
from kenpin_wire.topics import Address, Channel, TopicTree

TO_DEVICE = (Channel.SET_CONFIG, Channel.SET_RELEASE, Channel.SET_BLOB, Channel.SET_ACK, Channel.CMD)
TO_LINE = (Channel.SET_CONFIG,)
REMEMBERED_COMMANDS = 256


class Reader:
    """Reads deliveries for one device. Remembers the last commands, so that a repeated one is known."""

    def __init__(self, tree: TopicTree, address: Address) -> None:
        self._tree = tree
        self._address = address
        self._commands: OrderedDict[str, None] = OrderedDict()

    @property
    def filters(self) -> list[str]:
        """What to subscribe to."""
        a = self._address
        place = {"site": a.site, "line": a.line}
        mine = [self._tree.filter(channel, **place, device=a.device) for channel in TO_DEVICE]
        return mine + [self._tree.filter(channel, **place, device=a.whole_line.device) for channel in TO_LINE]

    def read(self, delivery: Delivery) -> Incoming | None:
        """The message; None for a command that has come before.

        Raises:
            WireError: if it breaks the contract; one line, its `where` the topic.
        """
        topic = self._tree.parse(delivery.topic)
        whole_line = topic.address == self._address.whole_line
        expected = TO_LINE if whole_line else TO_DEVICE
        if topic.channel not in expected or not (whole_line or topic.address == self._address):
            raise WireError("nothing that this device listens to", where=delivery.topic)
        try:
            return self._take(topic.channel, topic.argument, delivery, whole_line)
        except WireError as error:
            raise WireError(error.what, where=delivery.topic) from None

    def _take(self, channel: Channel, argument: str, delivery: Delivery, whole_line: bool) -> Incoming | None:
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
        if spec.model is None:
            return Incoming(channel, payload, argument, whole_line)
        message = decode(channel, payload)
        if isinstance(message, Command) and self._came_before(message.id):
            return None
        return Incoming(channel, message, argument, whole_line)

    def _came_before(self, command_id: str) -> bool:
        known = command_id in self._commands
        self._commands[command_id] = None
        self._commands.move_to_end(command_id)
        while len(self._commands) > REMEMBERED_COMMANDS:
            self._commands.popitem(last=False)
        return known
