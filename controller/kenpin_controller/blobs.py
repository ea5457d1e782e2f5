"""Answering agents that ask for blocks of a release.

On a thread of its own, for it reads files; it never has more than `MAX_IN_FLIGHT` blocks under way, so that a
whole fleet that updates at once does not fill the memory with blocks.
"""

from __future__ import annotations

import logging
import os
import queue
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from kenpin_controller.publisher import Publisher
from kenpin_controller.seldom import Seldom
from kenpin_controller.store.releases import Releases
from kenpin_wire.blocks import Block, pack_block
from kenpin_wire.errors import KenpinError
from kenpin_wire.messages import BlockRequest
from kenpin_wire.topics import Address, Channel, Topic

MAX_IN_FLIGHT = 64
MAX_WAITING = 256
FORGOTTEN_S = 10.0
"""An agent whose request waited this long has asked again."""
_POLL_S = 0.002

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Request:
    address: Address
    wanted: BlockRequest
    since_s: float


class BlobServer:
    """See the module's docstring."""

    def __init__(self, releases: Releases, publisher: Publisher) -> None:
        self._releases = releases
        self._publisher = publisher
        self._queue: queue.Queue[_Request | None] = queue.Queue(MAX_WAITING)
        self._seldom = Seldom(log)
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="blob-server", daemon=True)

    def start(self) -> None:
        """Begin to answer."""
        self._thread.start()

    def ask(self, address: Address, wanted: BlockRequest) -> None:
        """Queue a request; one too many is dropped, and the agent asks again."""
        try:
            self._queue.put_nowait(_Request(address, wanted, time.monotonic()))
        except queue.Full:
            self._seldom.warn("too many requests for blocks, they will be asked again", address.device)

    def stop(self) -> None:
        """End, leaving what waits unanswered."""
        self._stopping.set()
        with suppress(queue.Full):
            self._queue.put_nowait(None)
        if self._thread.is_alive():
            self._thread.join(timeout=5.0)

    def _run(self) -> None:
        while not self._stopping.is_set():
            request = self._queue.get()
            if request is None or time.monotonic() - request.since_s > FORGOTTEN_S:
                continue
            try:
                self._answer(request.address, request.wanted)
            except (KenpinError, OSError) as error:
                self._seldom.warn("blocks not sent", f"{request.address.device}: {error}")
            except Exception:
                log.exception("%s: blocks not sent", request.address.device)

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
                if self._stopping.wait(_POLL_S) or not self._publisher.connected:
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
