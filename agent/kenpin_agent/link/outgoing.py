"""What an agent says, stamped and spelled out by the contract."""

from __future__ import annotations

import threading
from datetime import UTC, datetime

from kenpin_agent.link.publications import Publication
from kenpin_agent.seams import Clock, Outgoing
from kenpin_wire.contract import CONTRACT, encode
from kenpin_wire.errors import WireError
from kenpin_wire.messages import Message
from kenpin_wire.topics import Address, Topic, TopicTree


class Writer:
    """Turns messages into publications of one device. Thread-safe.

    Args:
        boot: The boot number, stamped on every message beside a sequence number that counts from 1.
    """

    def __init__(self, tree: TopicTree, address: Address, clock: Clock, boot: int) -> None:
        self._tree = tree
        self._address = address
        self._clock = clock
        self._boot = boot
        self._seq = 0
        self._lock = threading.Lock()

    def write(self, message: Outgoing) -> Publication:
        """The publication. A message's own `ts` is kept where its maker gave one.

        Raises:
            WireError: if it does not keep the contract: too large, another model than the channel's, or an
                argument that cannot stand in a topic.
        """
        spec = CONTRACT[message.channel]
        payload = message.payload
        if spec.model is None:
            if not isinstance(payload, bytes):
                raise WireError("carries bytes, not a message", where=message.channel)
        elif isinstance(payload, spec.model):
            payload = encode(self._stamp(payload))
        else:
            raise WireError(f"carries {spec.model.__name__}, not this", where=message.channel)
        if len(payload) > spec.max_bytes:
            raise WireError(f"{len(payload)} bytes, more than {spec.max_bytes}", where=message.channel)
        topic = self._tree.build(Topic(self._address, message.channel, message.argument))
        return Publication(topic, payload, spec.qos, spec.retain, spec.expiry_s, spec.content_type)

    def _stamp(self, message: Message) -> Message:
        with self._lock:
            self._seq += 1
            stamps: dict[str, object] = {"boot": self._boot, "seq": self._seq}
        if "ts" not in message.model_fields_set:
            stamps["ts"] = datetime.fromtimestamp(self._clock.wall_s(), UTC)
        return message.model_copy(update=stamps)
