"""At what size, and in how many tiles, pictures could be looked at: what `auto` chooses from."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import product

import numpy as np

from kenpin_wire.manifest import MAX_ENCODED_PX, Input, Tiles

SIDES_PX = (96, 128, 160, 224, 320)
"""Inputs have as many pixels as a square of these; from there on by √2, up to the pictures' own scale."""

ALWAYS_PX = 160
"""Up to here also beyond the pictures' own scale: the encoder was taught on large things."""

PIECE_PX = 150_000
"""Of a tile at most: 384 × 384 takes 41 MB in the encoder, 320 × 320 takes 33, 640 × 320 takes 52 (measured)."""

OVERLAP_PX = 64
"""See `kenpin_agent.tiles`; a multiple of two strides of 16 or 32 px."""

MAX_RATIO = 8.0
"""Of the sides; what is longer is squashed to it."""


def candidate_inputs(
    sizes_px: Sequence[tuple[int, int]], *, stride_px: int = 16, most_px: int = MAX_ENCODED_PX
) -> list[Input]:
    """Inputs in the proportions of pictures of these sizes: whole and small first, then larger ones up to the
    pictures' own scale, in tiles where one piece would take too much memory. `Input.encoded_px` is the cost.

    Args:
        sizes_px: Width and height of some pictures of the kind; at least one.
        stride_px: The encoder's.
        most_px: The greatest `encoded_px` to be given; the cheapest input is given in any case.

    Returns:
        Cheapest first, no two of one size.
    """
    ratios = [math.log(width / height) for width, height in sizes_px]
    ratio = math.exp(np.clip(np.median(ratios), -math.log(MAX_RATIO), math.log(MAX_RATIO)))
    native_px = float(np.median([math.sqrt(width * height) for width, height in sizes_px]))
    inputs: dict[tuple[int, int], Input] = {}
    for side_px in _sides(native_px):
        width, height = (_stride(side_px * part, stride_px) for part in (ratio**0.5, ratio**-0.5))
        spec = in_pieces(width, height, stride_px)
        if spec is not None:
            inputs.setdefault(spec.picture_px, spec)
    cheapest, *others = sorted(inputs.values(), key=lambda spec: spec.encoded_px)
    return [cheapest, *(spec for spec in others if spec.encoded_px <= most_px)]


def in_pieces(width: int, height: int, stride_px: int = 16) -> Input | None:
    """An input of about this size, in the fewest pixels for the encoder whose tiles are no more than `PIECE_PX`;
    None if it takes more tiles or pixels than a manifest may say.

    Args:
        width, height: Of the picture; multiples of the stride. With tiles it grows by less than a stride a tile.
    """
    if width * height <= PIECE_PX and max(width, height) <= _LONGEST_PX:
        return Input(width=width, height=height)
    tilings = []
    for columns, rows in product(range(1, 17), repeat=2):
        across, down = _tile_px(width, columns, stride_px), _tile_px(height, rows, stride_px)
        encoded_px = columns * rows * across * down
        fits = (
            across * down <= PIECE_PX
            and min(across, down) >= 2 * OVERLAP_PX
            and max(across, down) <= _LONGEST_PX
        )
        if fits and encoded_px <= MAX_ENCODED_PX:
            tilings.append((encoded_px, columns, rows, across, down))
    if not tilings:
        return None
    _, columns, rows, across, down = min(tilings)
    tiles = Tiles(columns=columns, rows=rows, overlap_px=OVERLAP_PX)
    return Input(width=across, height=down, tiles=tiles)


_LONGEST_PX = 1024  # of an input, as the manifest says


def _sides(native_px: float) -> list[float]:
    """Growing; the last is the pictures' own scale, if that is more than `ALWAYS_PX`."""
    sides = [float(side) for side in SIDES_PX]
    while sides[-1] < native_px:
        sides.append(sides[-1] * 2**0.5)
    # One that is nearly the pictures' own scale gives way to it: it would cost as much and say the same.
    smaller = [side for side in sides if side <= ALWAYS_PX or side < 0.85 * native_px]
    return [*smaller, native_px] if native_px > ALWAYS_PX else smaller


def _stride(length_px: float, stride_px: int) -> int:
    return max(4 * stride_px, round(length_px / stride_px) * stride_px)


def _tile_px(length_px: int, count: int, stride_px: int) -> int:
    """A tile's length: rounded up, so that nothing is shrunk."""
    return math.ceil((length_px + (count - 1) * OVERLAP_PX) / count / stride_px) * stride_px
