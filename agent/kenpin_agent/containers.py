"""What a picture file says before a pixel of it is decoded: how large it is, and whether it is whole. Pure.

A decoder fills what is missing with grey and reads noise as texture, and says so at most on standard error. A part
learned or judged from that would be neither good nor bad, so such a file is refused.
"""

from __future__ import annotations

import re
import zlib

JPEG = b"\xff\xd8"
PNG = b"\x89PNG\r\n\x1a\n"

CUT_SHORT = "the picture is cut short"
DAMAGED = "not a picture, or a damaged one"


def claimed_size(data: bytes) -> tuple[int, int] | None:
    """Width and height from a PNG's or JPEG's header: a few kilobytes can claim gigabytes of pixels."""
    if data.startswith(PNG) and len(data) >= 24:
        return int.from_bytes(data[16:20]), int.from_bytes(data[20:24])
    if not data.startswith(JPEG):
        return None
    position = 2
    while position + 9 <= len(data) and data[position] == 0xFF:
        marker = data[position + 1]
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):  # a start of frame
            return int.from_bytes(data[position + 7 : position + 9]), int.from_bytes(
                data[position + 5 : position + 7]
            )
        position += 2 + int.from_bytes(data[position + 2 : position + 4])
    return None


def fault(data: bytes) -> str:
    """What is wrong with a PNG or JPEG, as a clause; empty if nothing is, or for another format."""
    if data.startswith(PNG):
        return _png_fault(data)
    return _jpeg_fault(data) if data.startswith(JPEG) else ""


def _png_fault(data: bytes) -> str:
    """Walk the chunks to the last (PNG specification, 5.3). Critical ones must have their CRC-32."""
    view, at = memoryview(data), len(PNG)
    while at + 12 <= len(data):
        end = at + 12 + int.from_bytes(view[at : at + 4])
        if end > len(data):
            break
        kind = data[at + 4 : at + 8]
        critical = not kind[0] & 0x20
        if critical and zlib.crc32(view[at + 4 : end - 4]) != int.from_bytes(view[end - 4 : end]):
            return DAMAGED
        if kind == b"IEND":
            return ""
        at = end
    return CUT_SHORT


def _jpeg_fault(data: bytes) -> str:
    """Walk the segments to the end of the image (ITU-T T.81, B.1). In a scan, 0xFF is followed by 0 or stands
    before a restart, or it begins what may follow a scan: noise has another byte there nearly always."""
    at, after_scan = len(JPEG), False
    while found := _MARKER.search(data, at):
        at, marker = found.end(), data[found.end() - 1]
        if marker == _END_OF_IMAGE:
            return ""
        if after_scan and marker not in _AFTER_SCAN:
            return DAMAGED
        length = int.from_bytes(data[at : at + 2])
        if length < 2:
            return CUT_SHORT if at + 2 > len(data) else DAMAGED
        at, after_scan = at + length, marker == _START_OF_SCAN
    return CUT_SHORT


_MARKER = re.compile(rb"\xff+[^\x00\x01\xff\xd0-\xd7]", re.DOTALL)  # but those that stand without a segment
_START_OF_SCAN, _END_OF_IMAGE = 0xDA, 0xD9
_AFTER_SCAN = frozenset({0xC4, 0xDA, 0xDB, 0xDC, 0xDD, 0xFE, *range(0xE0, 0xF0)})
"""Tables, another scan, the number of lines, comments and applications' data."""
