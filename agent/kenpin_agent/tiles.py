"""A large picture in parts: where each lies, and one map of the whole from what the encoder said of each.

One input as large as the picture would do the same, and without any seam, but for memory: the encoder needs
185 MB more at 960 × 960, and 33 MB more in tiles of 320 × 320, at the same speed (measured). Where tiles only
touch, a map is off along the seam by the standard deviation of good pictures; cut in the middle of an overlap of
64 px it is off by 0.0003 of that at 1/8 of the picture's size, 0.06 at 1/16 and 0.3 six blocks deeper
(EfficientNet-Lite0, cookie and aliens; `bench/seams.py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from kenpin_wire.manifest import Input

Floats = npt.NDArray[np.float32]


class Tile(NamedTuple):
    """A tile's place: in the grid, and its upper left corner in pixels of the picture."""

    column: int
    row: int
    x: int
    y: int


def tiles_of(spec: Input) -> tuple[Tile, ...]:
    """A picture's tiles, row by row; one without tiles is its own."""
    if spec.tiles is None:
        return (Tile(0, 0, 0, 0),)
    across, down = spec.width - spec.tiles.overlap_px, spec.height - spec.tiles.overlap_px
    return tuple(
        Tile(column, row, column * across, row * down)
        for row in range(spec.tiles.rows)
        for column in range(spec.tiles.columns)
    )


def stitch(maps: Sequence[Floats], spec: Input) -> Floats:
    """One map of the picture.

    Args:
        maps: Each tile's, in the order of `tiles_of`; shape (h, w, c), where `spec.height` is a multiple of h,
            `spec.width` the same multiple of w, and half the overlap is one of it too.

    Returns:
        Shape (picture's height, width, c), both divided by that multiple; a new array.

    Raises:
        ValueError: if the maps' size goes with neither tiles nor overlap.
    """
    height, width, channels = maps[0].shape
    stride_px = spec.height // height
    overlap_px = spec.tiles.overlap_px if spec.tiles else 0
    if (height * stride_px, width * stride_px) != (spec.height, spec.width) or overlap_px % (2 * stride_px):
        raise ValueError(
            f"a map of {width} × {height} does not go with tiles of {spec.width} × {spec.height}, "
            f"overlap {overlap_px}"
        )
    across, down = (length_px // stride_px for length_px in spec.picture_px)
    whole = np.empty((down, across, channels), dtype=np.float32)
    cut = overlap_px // 2 // stride_px
    for tile, values in zip(tiles_of(spec), maps, strict=True):
        # The first in a row or column keeps its outer edge; the others' first cells belong to the one before.
        top, left = cut if tile.row else 0, cut if tile.column else 0
        y, x = tile.y // stride_px + top, tile.x // stride_px + left
        whole[y : y + height - top, x : x + width - left] = values[top:, left:]
    return whole
