"""A part of a TUF metadata file on the wire: sixteen bytes of header, then the data."""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass

from kenpin_wire.errors import WireError

PART_BYTES = 64 * 1024
_HEADER = struct.Struct(">4sIII")  # magic, offset, size of the whole file, crc32 of the data
_MAGIC = b"KM01"

MAX_METADATA_MESSAGE_BYTES = _HEADER.size + PART_BYTES


@dataclass(frozen=True, slots=True)
class MetadataPart:
    """What lies at `offset` of a file of `size` bytes. A file that is not there has `size` 0 and no data."""

    offset: int
    size: int
    data: bytes


def pack_metadata(part: MetadataPart) -> bytes:
    """The part as its message's payload."""
    return _HEADER.pack(_MAGIC, part.offset, part.size, zlib.crc32(part.data)) + part.data


def unpack_metadata(payload: bytes) -> MetadataPart:
    """Read a part's payload.

    Raises:
        WireError: if it is too short or too long, no part, its CRC-32 does not match, or it reaches beyond the file.
    """
    if not _HEADER.size <= len(payload) <= MAX_METADATA_MESSAGE_BYTES:
        raise WireError(f"a part of {len(payload)} bytes", where="set/meta")
    magic, offset, size, crc32 = _HEADER.unpack_from(payload)
    data = payload[_HEADER.size :]
    if magic != _MAGIC:
        raise WireError("no part of a metadata file", where="set/meta")
    if zlib.crc32(data) != crc32:
        raise WireError(f"the part at {offset} is damaged (CRC-32 differs)", where="set/meta")
    if offset + len(data) > size:
        raise WireError(f"{len(data)} bytes at {offset} of a file of {size}", where="set/meta")
    return MetadataPart(offset, size, data)
