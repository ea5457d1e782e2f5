"""Pictures in and out: read from files of every mode, known by their pixels, sent as JPEG.

Whatever a file holds, a picture is what `seams.Image` says: uint8, (height, width, 3), blue-green-red.

- grey becomes three equal channels; a palette its colours;
- transparency is laid on white, as a page shows it;
- 16 bits a channel are scaled by the file's depth (65,535 becomes 255), never by the picture's own maximum,
  so that a dark part stays dark; 12-bit data in a 16-bit file must be scaled by whoever writes the file;
- a JPEG's EXIF orientation is applied.
"""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from kenpin_agent import containers
from kenpin_agent.seams import Image
from kenpin_wire.contract import MAX_JPEG_BYTES
from kenpin_wire.errors import ConfigError, PictureError, os_words

SUFFIXES = frozenset({".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"})
MAX_FILE_BYTES = 128 * 1024 * 1024
MIN_SIDE_PX = 16  # as of a camera: less shows nothing of a part
MAX_PIXELS = 64_000_000  # 192 MB decoded: more than any camera of a line gives, and a Pi can still hold it


def read_picture(path: Path) -> Image:
    """Read a picture file.

    Raises:
        PictureError: if it cannot be read, is no picture, is damaged, or is absurdly large or small.
    """
    try:
        size = path.stat().st_size
        if size > MAX_FILE_BYTES:
            raise PictureError(
                f"a picture of {size / 1e6:.0f} MB",
                where=str(path),
                remedy="Make it smaller, or take it out.",
            )
        data = path.read_bytes()
    except OSError as error:
        raise PictureError(
            os_words(error),
            where=str(path),
            remedy="Check that the file is there and readable.",
        ) from None
    image = decode_picture(data, str(path))
    height, width = image.shape[:2]
    if min(height, width) < MIN_SIDE_PX:
        raise PictureError(
            f"a picture of {width} × {height} pixels",
            where=str(path),
            remedy=f"A part needs at least {MIN_SIDE_PX} on each side. Take it out.",
        )
    return image


def decode_picture(data: bytes, where: str) -> Image:
    """Decode a picture file's bytes; `where` names it in the error.

    Raises:
        PictureError: as `read_picture`.
    """
    if not data:
        raise PictureError("the file is empty", where=where, remedy=_REMEDY)
    claimed = containers.claimed_size(data)
    if claimed is not None:
        _check_size(*claimed, where)
    fault = containers.fault(data)
    if fault:
        raise PictureError(fault, where=where, remedy=_REMEDY)
    buffer = np.frombuffer(data, dtype=np.uint8)
    # Only IMREAD_UNCHANGED keeps the alpha channel, and only the others turn a JPEG upright.
    flags = cv2.IMREAD_COLOR if data.startswith(containers.JPEG) else cv2.IMREAD_UNCHANGED
    try:
        decoded = cv2.imdecode(buffer, flags)
    except cv2.error:
        decoded = None
    if decoded is None:
        raise PictureError(containers.DAMAGED, where=where, remedy=_REMEDY)
    _check_size(decoded.shape[1], decoded.shape[0], where)
    return _as_bgr(_as_uint8(decoded, where))


def picture_id(image: Image) -> str:
    """The sha256 (hex) of a picture's shape and pixels: a renamed or losslessly saved copy has it too."""
    digest = hashlib.sha256(f"{image.shape[0]}x{image.shape[1]}x3:".encode())
    digest.update(np.ascontiguousarray(image).data)
    return digest.hexdigest()


def list_pictures(folder: Path, *, recursive: bool = False) -> list[Path]:
    """The picture files in `folder`, in the order a person expects (`part-9` before `part-10`).

    Args:
        recursive: Also those in its folders; by path then. Hidden files and folders are passed over.

    Raises:
        ConfigError: if the folder is not there or holds no picture.
    """
    try:
        if not folder.is_dir():
            what = "it is a file, not a folder" if folder.exists() else "no such folder"
            raise ConfigError(what, where=str(folder), remedy="Give a folder of pictures.")
        entries = [
            path
            for path in (folder.rglob("*") if recursive else folder.iterdir())
            if path.suffix.lower() in SUFFIXES and not _is_hidden(path.relative_to(folder)) and path.is_file()
        ]
    except OSError as error:
        raise ConfigError.from_os(error, where=str(folder)) from None
    if not entries:
        raise ConfigError(
            "holds no picture",
            where=str(folder),
            remedy=f"Put pictures into it ({', '.join(sorted(suffix[1:] for suffix in SUFFIXES))}).",
        )
    return sorted(entries, key=_natural_key)


def encode_jpeg(image: Image, max_bytes: int = MAX_JPEG_BYTES, long_side_px: int = 640) -> bytes:
    """A JPEG of at most `max_bytes`, its long side at most `long_side_px`.

    Quality is lowered first, then size, until it fits.

    Raises:
        PictureError: if even a 16-pixel picture does not fit `max_bytes`.
    """
    side_px = min(long_side_px, max(image.shape[:2]))
    while side_px >= 16:
        small = shrink(image, side_px)
        for quality in (85, 70, 50, 30):
            encoded, data = cv2.imencode(".jpg", small, [cv2.IMWRITE_JPEG_QUALITY, quality])
            if encoded and data.size <= max_bytes:
                return data.tobytes()
        side_px = side_px * 3 // 4
    raise PictureError(f"does not fit a JPEG of {max_bytes} bytes")


def shrink(image: Image, long_side_px: int) -> Image:
    """The picture with its long side at most `long_side_px`; itself if it is smaller already.

    Halved, and the rest bilinear, which then reads two pixels of three or more: the area filter takes twenty times
    as long (1,000 × 700 to 640 × 448: 4.1 ms, measured), longer than the encoder.
    """
    height, width = image.shape[:2]
    scale = long_side_px / max(height, width)
    if scale >= 1:
        return image
    while max(image.shape[:2]) > 3 * long_side_px and min(image.shape[:2]) > 1:
        rows, columns = image.shape[0] // 2, image.shape[1] // 2
        half = cv2.resize(image[: 2 * rows, : 2 * columns], (columns, rows), interpolation=cv2.INTER_AREA)
        image = np.asarray(half, dtype=np.uint8)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_LINEAR), dtype=np.uint8)


_REMEDY = "Save it again as JPEG or PNG, or take it out of the folder."


def _check_size(width: int, height: int, where: str) -> None:
    if width * height > MAX_PIXELS:
        raise PictureError(
            f"a picture of {width} × {height} pixels, more than {MAX_PIXELS // 1_000_000} million",
            where=where,
            remedy="Make it smaller, or take it out.",
        )


def _as_uint8(decoded: npt.NDArray[np.generic], where: str) -> npt.NDArray[np.uint8]:
    if decoded.dtype == np.uint8:
        return decoded.astype(np.uint8, copy=False)
    if decoded.dtype == np.uint16:
        return ((decoded.astype(np.uint32) + 128) // 257).astype(np.uint8)
    raise PictureError(
        f"a picture of {decoded.dtype} values", where=where, remedy="Save it with 8 or 16 bits a channel."
    )


def _as_bgr(pixels: npt.NDArray[np.uint8]) -> Image:
    if pixels.ndim == 2:
        pixels = pixels[..., np.newaxis]
    channels = pixels.shape[2]
    alpha = pixels[..., -1:].astype(np.uint16) if channels in (2, 4) else None
    colour = pixels[..., :3] if channels >= 3 else np.repeat(pixels[..., :1], 3, axis=2)
    if alpha is not None:
        colour = ((colour * alpha + 255 * (255 - alpha) + 127) // 255).astype(np.uint8)
    return np.ascontiguousarray(colour)


def _is_hidden(path: Path) -> bool:
    return any(part.startswith(".") for part in path.parts)


def _natural_key(path: Path) -> list[list[tuple[bool, int, str]]]:
    def key(piece: str) -> tuple[bool, int, str]:
        return (not piece.isdecimal(), int(piece) if piece.isdecimal() else 0, piece)

    return [[key(piece) for piece in re.split(r"(\d+)", part.casefold()) if piece] for part in path.parts]
