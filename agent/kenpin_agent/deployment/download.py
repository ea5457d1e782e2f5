"""Fetches one order's file block by block into `blobs/`, going on from what is there."""

from __future__ import annotations

import logging

from kenpin_agent.deployment.events import Event, Fetched, FetchFailed, HashDiffers
from kenpin_agent.deployment.fetch import Fetch, fitting_block_size
from kenpin_agent.deployment.slots import Slots, disk_reason
from kenpin_agent.seams import Clock, Link, Outgoing
from kenpin_wire.blocks import unpack_block
from kenpin_wire.errors import WireError
from kenpin_wire.messages import BlockRequest, DesiredRelease, Phase
from kenpin_wire.topics import Channel

log = logging.getLogger(__name__)

UNSYNCED_BYTES = 512 * 1024
"""So much of the file's end may be lost or torn in a power cut."""


class Download:
    """Each method returns what came of it, if the download has ended by it."""

    def __init__(self, order: DesiredRelease, slots: Slots, link: Link, clock: Clock) -> None:
        self._order = order
        self._slots = slots
        self._link = link
        self._clock = clock
        self._blob = slots.blob(order.sha256)
        self._fetch = Fetch(order.size, order.block_size)
        self._unsynced = 0

    @property
    def sha256(self) -> str:
        return self._order.sha256

    @property
    def percent(self) -> float:
        return self._fetch.percent

    def begin(self) -> Event | None:
        """Go on from what is there already."""
        order, disk = self._order, self._slots.disk
        self._slots.discard_blobs(keep=order.sha256)
        try:
            there = disk.size(self._blob) or 0
            if there == order.size and disk.sha256(self._blob) == order.sha256:
                return Fetched()
            block = fitting_block_size(order.block_size, self._link.max_packet_bytes)
            sure = max(min(there, order.size) - UNSYNCED_BYTES, 0)
            self._fetch = Fetch(order.size, block, written=sure // block)
            self._slots.check_space(2 * order.size - there)  # the file, and what is unpacked from it
            disk.truncate(self._blob, self._fetch.written * block)
            disk.sync_folder(self._blob.parent)
        except OSError as error:
            return FetchFailed(disk_reason(error, order.size))
        self._ask()
        return None

    def look_up(self) -> Event | None:
        """Called now and then: asks again for what did not come."""
        fetch, now_s = self._fetch, self._clock.monotonic_s()
        if not fetch.due(now_s):
            return None
        if fetch.hopeless:
            reason = f"no block came after {fetch.tries} requests; is the controller running, with this file?"
            return FetchFailed(reason, Phase.TIMED_OUT)
        self._ask()
        return None

    def take(self, payload: bytes) -> Event | None:
        """A block's message."""
        try:
            block = unpack_block(payload)
        except WireError as error:
            log.warning("%s; asked for again", error)
            return None
        fetch = self._fetch
        ready = fetch.take(block.index, block.data, self._clock.monotonic_s())
        try:
            if ready:
                self._write(ready)
            if fetch.complete:
                return Fetched() if self._is_right() else HashDiffers()
        except OSError as error:
            return FetchFailed(disk_reason(error, fetch.size))
        if fetch.round_done:
            self._ask()
        return None

    def _ask(self) -> None:
        if not self._link.connected:
            return  # a broker that is away is no failed try
        for ask in self._fetch.ask(self._clock.monotonic_s()):
            request = BlockRequest(
                sha256=self._order.sha256,
                start=ask.start,
                count=ask.count,
                block_size=self._fetch.block_size,
            )
            self._link.publish(Outgoing(Channel.BLOB_REQ, request))

    def _write(self, data: bytes) -> None:
        """Synced before more than `UNSYNCED_BYTES` are at stake."""
        disk = self._slots.disk
        for start in range(0, len(data), UNSYNCED_BYTES):
            piece = data[start : start + UNSYNCED_BYTES]
            if self._unsynced + len(piece) > UNSYNCED_BYTES:
                disk.sync(self._blob)
                self._unsynced = 0
            disk.append(self._blob, piece)
            self._unsynced += len(piece)

    def _is_right(self) -> bool:
        fetch = self._fetch
        log.info(
            "fetched %d blocks of %d KiB; asked for %d, %d came twice",
            fetch.blocks,
            fetch.block_size // 1024,
            fetch.asked,
            fetch.duplicates,
        )
        self._slots.disk.sync(self._blob)
        return self._slots.disk.sha256(self._blob) == self._order.sha256
