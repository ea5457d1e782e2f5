"""From a camera's picture to the encoder's input: look at the part, shrink it, put its colours in order.

How is written in the release, and the trainer uses this very code, so that what calibrated a threshold is
what applies it.

Shrinking must not alias, and OpenCV's area filter alone costs more than the encoder (1,920 × 1,080 to
128 × 128: 5.8 ms on one core, measured). Halving is its one fast case, so a picture is halved while it is at
least twice too large and the small rest is done bilinearly: 0.1 ms from 640 × 480, 0.3 from 1,280 × 720.

A picture must become the same input on every board. OpenCV's plain bilinear filter is another one on arm64: a
third of the pixels differ by one, and scores by 2 %. Its exact one takes 0.05 ms more, and none differs
(`bench/arm64.py`).
"""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

from kenpin_agent.seams import Image
from kenpin_wire.errors import ConfigError
from kenpin_wire.manifest import Input
from kenpin_wire.messages import Roi

Tensor = npt.NDArray[np.float32]
"""The encoder's input: shape (1, height, width, 3), float32, red-green-blue, 0 to 255; all tiles in one."""


def prepare(image: Image, spec: Input, roi: Roi | None = None) -> Tensor:
    """A picture as the encoder's input.

    Args:
        roi: The region to inspect, in pixels of `image`; all of it if None.

    Raises:
        ConfigError: if the region does not lie inside the picture.
    """
    small = scaled(view(image, spec, roi), spec)
    return cv2.cvtColor(small, cv2.COLOR_BGR2RGB).astype(np.float32)[np.newaxis]


def view(image: Image, spec: Input, roi: Roi | None = None) -> Image:
    """The part of the picture that is inspected, unscaled; a view into `image`, nothing is copied.

    Raises:
        ConfigError: as `prepare`.
    """
    if roi is None and spec.crop == "none":
        return image
    seen = region(image, spec, roi)
    return image[seen.y : seen.y + seen.height, seen.x : seen.x + seen.width]


class Region(NamedTuple):
    """A rectangle of a picture, in pixels."""

    x: int
    y: int
    width: int
    height: int


def region(image: Image, spec: Input, roi: Roi | None = None) -> Region:
    """Where in the picture the inspected part lies: the region of interest, cropped as the release says.

    Raises:
        ConfigError: as `prepare`. A region is never clipped: that would change what the scores mean.
    """
    height, width = image.shape[:2]
    seen = Region(roi.x, roi.y, roi.width, roi.height) if roi else Region(0, 0, width, height)
    if seen.x + seen.width > width or seen.y + seen.height > height:
        raise ConfigError(
            f"a region of {seen.width} × {seen.height} at ({seen.x}, {seen.y}) leaves "
            f"the picture of {width} × {height}",
            where="roi",
            remedy="Set a region that lies inside the camera's picture.",
        )
    if spec.crop == "center_square":
        side = min(seen.height, seen.width)
        x, y = seen.x + (seen.width - side) // 2, seen.y + (seen.height - side) // 2
        return Region(x, y, side, side)
    return seen


def scaled(image: Image, spec: Input) -> Image:
    """The picture at the size of `spec.picture_px`, still in OpenCV's channel order."""
    width, height = spec.picture_px
    if spec.resize == "area":
        while image.shape[0] >= 2 * height and image.shape[1] >= 2 * width:
            rows, columns = image.shape[0] // 2, image.shape[1] // 2
            image = _resize(image[: 2 * rows, : 2 * columns], columns, rows, cv2.INTER_AREA)
        # Bilinear then reads at least two pixels of every three: enough. A much longer side needs more.
        if image.shape[0] > 3 * height or image.shape[1] > 3 * width:
            return _resize(image, width, height, cv2.INTER_AREA)
    return _resize(image, width, height, cv2.INTER_LINEAR_EXACT)


def _resize(image: Image, width: int, height: int, interpolation: int) -> Image:
    return np.asarray(cv2.resize(image, (width, height), interpolation=interpolation), dtype=np.uint8)
