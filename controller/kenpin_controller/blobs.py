"""Answering agents that ask for blocks of a release.

On a thread of its own, for it reads files; it never has more than `MAX_IN_FLIGHT` blocks under way, so that a
whole fleet that updates at once does not fill the memory with blocks.
"""

from __future__ import annotations

import logging
import os
from pathlib import Path

from kenpin_controller.answerer import Answerer
from kenpin_controller.publisher import Publisher
from kenpin_controller.seldom import Seldom
from kenpin_controller.store.releases import Releases
from kenpin_wire.blocks import Block, pack_block
from kenpin_wire.messages import BlockRequest
from kenpin_wire.topics import Address, Channel, Topic

MAX_IN_FLIGHT = 64
_POLL_S = 0.002

log = logging.getLogger(__name__)


class BlobServer:
    """See the module's docstring."""

    def __init__(self, releases: Releases, publisher: Publisher) -> None:
        self._releases = releases
        self._publisher = publisher
        self._seldom = Seldom(log)
        self._answers = Answerer("blocks", self._answer, self._seldom)
        self.start = self._answers.start
        self.ask = self._answers.ask
        self.stop = self._answers.stop

    def _answer(self, address: Address, wanted: BlockRequest) -> None:
        try:
            blocks = read_blocks(self._releases.path(wanted.sha256), wanted)
        except FileNotFoundError:
            self._seldom.warn("asks for an unknown release", f"{address.device}: sha256 {wanted.sha256}")
            return
        if not blocks:
            self._seldom.warn("asks for a block beyond the end", f"{address.device}: {wanted.start}")
        topic = Topic(address, Channel.SET_BLOB, wanted.sha256)
        for block in blocks:
            while self._publisher.in_flight >= MAX_IN_FLIGHT:
                if self._answers.stopping.wait(_POLL_S) or not self._publisher.connected:
                    return
            if not self._publisher.say(topic, pack_block(block)):
                return


def read_blocks(path: Path, wanted: BlockRequest) -> list[Block]:
    """The blocks that are asked for, up to the file's end.

    Raises:
        OSError: if the file cannot be read.
    """
    handle = os.open(path, os.O_RDONLY)
    try:
        start = wanted.start * wanted.block_size
        if start >= os.fstat(handle).st_size:
            return []
        data = os.pread(handle, wanted.count * wanted.block_size, start)
    finally:
        os.close(handle)
    size = wanted.block_size
    return [Block(wanted.start + i // size, data[i : i + size]) for i in range(0, len(data), size)]
