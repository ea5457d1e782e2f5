"""Desired state on its way to the broker, in the order in which it was stored."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterable

from sqlalchemy.exc import SQLAlchemyError

from kenpin_controller.publisher import Publisher
from kenpin_controller.store.database import store_error
from kenpin_controller.store.desired import Desire
from kenpin_controller.store.intents import Intents
from kenpin_wire.errors import KenpinError
from kenpin_wire.topics import Topic

log = logging.getLogger(__name__)


class Outgoing:
    """Any number of threads.

    Attributes:
        turn: To be held from storing a revision until it is published, or a newer one could be overtaken on its way.
    """

    def __init__(self, intents: Intents, publisher: Publisher) -> None:
        self._intents = intents
        self._publisher = publisher
        self.turn = threading.RLock()

    def publish(self, desires: Iterable[Desire]) -> None:
        """What does not reach the broker now does at the next connection."""
        for desire in desires:
            try:
                self._publisher.say(Topic(desire.address, desire.channel), desire.message)
            except KenpinError as error:
                log.warning("%s: not published: %s", desire.address.device, error)

    def publish_all(self) -> None:
        """Put all desired state on the broker again; to be called at each connection."""
        try:
            with self.turn:
                self.publish(self._intents.desired())
        except SQLAlchemyError as error:
            log.error("devices may miss their settings until the next connection: %s", store_error(error))
