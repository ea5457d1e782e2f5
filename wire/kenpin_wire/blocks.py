"""A block of a file on the wire: twelve bytes of header, then the data.

Binary, because base64 in JSON would cost a third more on a link that a line's scores share.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass

from kenpin_wire.errors import WireError
from kenpin_wire.messages import BLOCK_BYTES

_HEADER = struct.Struct(">4sII")  # magic, index, crc32 of the data
_MAGIC = b"KB01"

MAX_BLOCK_MESSAGE_BYTES = _HEADER.size + BLOCK_BYTES


@dataclass(frozen=True, slots=True)
class Block:
    """Block `index` of a file, counted from 0."""

    index: int
    data: bytes


def pack_block(block: Block) -> bytes:
    """The block as its message's payload."""
    return _HEADER.pack(_MAGIC, block.index, zlib.crc32(block.data)) + block.data


def unpack_block(payload: bytes) -> Block:
    """Read a block's payload.

    Raises:
        WireError: if it is too short or too long, no block, or its CRC-32 does not match.
    """
    if not _HEADER.size < len(payload) <= MAX_BLOCK_MESSAGE_BYTES:
        raise WireError(f"a block of {len(payload)} bytes", where="set/blob")
    magic, index, crc32 = _HEADER.unpack_from(payload)
    data = payload[_HEADER.size :]
    if magic != _MAGIC:
        raise WireError("not a block", where="set/blob")
    if zlib.crc32(data) != crc32:
        raise WireError(f"block {index} is damaged (CRC-32 differs)", where="set/blob")
    return Block(index, data)
