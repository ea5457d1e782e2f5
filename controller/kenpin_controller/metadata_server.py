"""Answering agents that ask for the site's TUF metadata, part by part.

Nobody is asked for less than `meta/req` would be worth to a flood: each device has a small allowance.
"""

from __future__ import annotations

import logging
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from kenpin_controller.answerer import Answerer
from kenpin_controller.errors import NotFoundError
from kenpin_controller.publisher import Publisher
from kenpin_controller.seldom import Seldom
from kenpin_controller.trust.repository import Repository
from kenpin_wire.messages import MetadataRequest
from kenpin_wire.metadata import PART_BYTES, MetadataPart, pack_metadata
from kenpin_wire.topics import Address, Channel, Topic

BURST = 40
"""A refresh takes about five requests, and one more for each 64 KiB of targets (some 400 releases)."""
RATE_HZ = 10.0
_DEVICES = 4_096

log = logging.getLogger(__name__)


class MetadataServer:
    """See the module's docstring."""

    def __init__(self, repository: Repository, publisher: Publisher) -> None:
        self._repository = repository
        self._publisher = publisher
        self._seldom = Seldom(log)
        self._allowance = Allowance()
        self._answers = Answerer("metadata", self._answer, self._seldom)
        self.start = self._answers.start
        self.stop = self._answers.stop

    def ask(self, address: Address, wanted: MetadataRequest) -> None:
        """Queue a request; one too many is dropped, and the agent asks again."""
        if self._allowance.take(address):
            self._answers.ask(address, wanted)
        else:
            self._seldom.warn("asks for metadata too often", address.device)

    def _answer(self, address: Address, wanted: MetadataRequest) -> None:
        topic = Topic(address, Channel.SET_META, wanted.id)
        self._publisher.say(topic, pack_metadata(read_part(self._repository, wanted)))


def read_part(repository: Repository, wanted: MetadataRequest) -> MetadataPart:
    """The part that is asked for; of size 0 if the repository has no such file.

    Raises:
        ConfigError: if the file is there and cannot be read.
    """
    try:
        data = repository.read(wanted.name)
    except NotFoundError:
        return MetadataPart(0, 0, b"")
    offset = min(wanted.offset, len(data))
    return MetadataPart(offset, len(data), data[offset : offset + PART_BYTES])


@dataclass(slots=True)
class _Tokens:
    left: float
    at_s: float


class Allowance:
    """A token bucket for each device: `BURST` at once, `RATE_HZ` in the long run. One thread.

    Args:
        monotonic_s: The clock.
    """

    def __init__(self, monotonic_s: Callable[[], float] = time.monotonic) -> None:
        self._monotonic_s = monotonic_s
        self._tokens: OrderedDict[Address, _Tokens] = OrderedDict()

    def take(self, address: Address) -> bool:
        """Whether this device may ask once more now."""
        now_s = self._monotonic_s()
        tokens = self._tokens.setdefault(address, _Tokens(BURST, now_s))
        self._tokens.move_to_end(address)
        while len(self._tokens) > _DEVICES:  # whoever makes names up gets no more memory than this
            self._tokens.popitem(last=False)
        tokens.left = min(BURST, tokens.left + (now_s - tokens.at_s) * RATE_HZ)
        tokens.at_s = now_s
        if tokens.left < 1:
            return False
        tokens.left -= 1
        return True
