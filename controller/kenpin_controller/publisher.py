"""Saying things to agents, each as the contract's table has it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from kenpin_agent.link.session import Publication
from kenpin_wire.contract import CONTRACT, encode
from kenpin_wire.messages import DesiredConfig, DesiredRelease, Message
from kenpin_wire.signed import Signed
from kenpin_wire.topics import Topic, TopicTree


class Session(Protocol):
    """What the controller needs of `kenpin_agent.link.session.MqttSession` to speak."""

    @property
    def connected(self) -> bool: ...

    @property
    def in_flight(self) -> int: ...

    def publish(self, publication: Publication) -> int | None: ...


Seal = Callable[[str, DesiredConfig | DesiredRelease], Signed]
"""Signs a message for the topic that is given first, as MQTT spells it."""


class Publisher:
    """Publishes on the controller's channels. Any number of threads.

    Args:
        seal: Signs what goes out on channels that are signed.
    """

    def __init__(self, session: Session, tree: TopicTree, seal: Seal) -> None:
        self._session = session
        self._tree = tree
        self._seal = seal

    @property
    def connected(self) -> bool:
        """Whether the broker is there."""
        return self._session.connected

    @property
    def in_flight(self) -> int:
        """Messages that the broker has not yet taken."""
        return self._session.in_flight

    def say(self, topic: Topic, message: Message | bytes) -> bool:
        """Hand a message to the session.

        Returns:
            False if the broker is away; nothing was kept then.

        Raises:
            LinkError: if the broker takes no message of this size.
            ConfigError: if it is to be signed and the controller's key cannot be read.
        """
        spec = CONTRACT[topic.channel]
        spelled = self._tree.build(topic)
        if spec.signed and isinstance(message, DesiredConfig | DesiredRelease):
            message = self._seal(spelled, message)
        publication = Publication(
            topic=spelled,
            payload=message if isinstance(message, bytes) else encode(message),
            qos=spec.qos,
            retain=spec.retain,
            expiry_s=spec.expiry_s,
            content_type=spec.content_type,
        )
        return self._session.publish(publication) is not None
