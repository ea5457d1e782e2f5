"""Synthetic defects on good pictures: what a release is chosen by before anybody has shown it a bad part.

Five kinds that cover how parts fail: something that does not belong (`cut_paste`, after CutPaste, Li et al.,
arXiv 2104.04015), a line (`scratch`), a discolouration (`stain`), something absent (`missing`), and a surface
that lost its texture (`blur`). They are no likeness of real defects and need not be: a head is only asked to
rank them above good pictures, at sizes down to where that becomes hard.

Pure: the same picture, kind, size and generator state give the same defect. Nothing here trains a network.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

import cv2
import numpy as np
import numpy.typing as npt

from kenpin_agent.seams import Image, Mask


class Kind(StrEnum):
    CUT_PASTE = "cut_paste"
    SCRATCH = "scratch"
    STAIN = "stain"
    MISSING = "missing"
    BLUR = "blur"


SIZES = (0.02, 0.04, 0.08, 0.16)
"""A defect's extent as a share of the square root of the picture's area: at 160 px, 3 to 26 px across."""


@dataclass(frozen=True, slots=True)
class Defective:
    """A good picture with a defect.

    Attributes:
        mask: 255 where the picture differs from the good one, and nowhere else.
    """

    image: Image
    mask: Mask
    kind: Kind
    size: float


def add_defect(image: Image, kind: Kind, size: float, rng: np.random.Generator) -> Defective:
    """Put one defect of `kind` on a good picture, where the part is rather than on the plain background.

    Args:
        size: Its extent, as a share of the square root of the picture's area (see `SIZES`).

    Of a few places the one whose change is plainest is taken, since a blur of what is smooth already, or a
    copy of what looks the same, is no defect. Where nothing of the kind would show it is a stain.
    """
    extent_px = max(3, round(size * float(np.sqrt(image.shape[0] * image.shape[1]))))
    spots = [_spot(image, place, extent_px) for place in _places(image, rng)]
    best, painted, contrast = spots[0], spots[0].pixels, 0.0
    for spot in spots:
        candidate = _PAINTERS[kind](spot, rng)
        seen = _contrast(spot.pixels, candidate)
        if seen > contrast:
            best, painted, contrast = spot, candidate, seen
        if contrast >= _PLAIN_TO_SEE:
            break
    if contrast < _BARELY_SEEN:
        painted = _stain(best, rng)
    changed = image.copy()
    changed[best.window] = painted
    mask = np.zeros(image.shape[:2], np.uint8)
    mask[best.window][(painted != best.pixels).any(axis=2)] = 255
    return Defective(changed, mask, kind, size)


Floats = npt.NDArray[np.float32]

_PLACES = 6
_CELLS = 32
_PLAIN_TO_SEE = 24.0  # grey levels, mean over what changed: a person sees it at a glance
_BARELY_SEEN = 6.0
_WIDE_PX = 8.0  # of a blur


@dataclass(frozen=True, slots=True)
class _Spot:
    """Where a defect goes. All painting happens in a window around it, so that a large picture costs no more.

    Attributes:
        window: Of the picture.
        pixels: The picture in the window.
        centre: Column and row, inside the window.
    """

    image: Image
    window: tuple[slice, slice]
    pixels: Image
    centre: tuple[float, float]
    extent_px: int


def _spot(image: Image, place: tuple[float, float], extent_px: int) -> _Spot:
    reach_px = 2 * extent_px + 2
    starts, stops, centre = [], [], []
    for position, length in zip(place, image.shape[:2], strict=True):
        margin = min(extent_px / 2 + 1, (length - 1) / 2)
        inside = min(max(position, margin), length - 1 - margin)
        starts.append(max(0, int(inside) - reach_px))
        stops.append(min(length, int(inside) + reach_px + 1))
        centre.append(inside - starts[-1])
    window = (slice(starts[0], stops[0]), slice(starts[1], stops[1]))
    return _Spot(image, window, image[window], (centre[1], centre[0]), extent_px)


def _places(image: Image, rng: np.random.Generator) -> list[tuple[float, float]]:
    """Random places (row, column), likelier where the picture has structure."""
    height, width = image.shape[:2]
    small = cv2.resize(image, (_CELLS, _CELLS), interpolation=cv2.INTER_AREA)
    grey = cv2.cvtColor(small, cv2.COLOR_BGR2GRAY).astype(np.float32)
    gradient = np.hypot(cv2.Sobel(grey, -1, 1, 0), cv2.Sobel(grey, -1, 0, 1))
    energy = cv2.boxFilter(gradient, -1, (5, 5)).astype(np.float64).ravel()
    weight = energy + 0.05 * energy.max() + 1e-6
    cells = rng.choice(weight.size, size=_PLACES, p=weight / weight.sum())
    rows = (cells // _CELLS + rng.random(_PLACES)) / _CELLS * height
    columns = (cells % _CELLS + rng.random(_PLACES)) / _CELLS * width
    return list(zip(rows.tolist(), columns.tolist(), strict=True))


def _contrast(good: Image, bad: Image) -> float:
    """Mean absolute change, in grey levels, of the pixels that changed noticeably."""
    blue, green, red = cv2.split(cv2.absdiff(good, bad))
    change = cv2.max(cv2.max(blue, green), red)  # ten times as fast as numpy's over a short axis
    changed = change[change > 2]
    return float(changed.mean()) if changed.size else 0.0


def _cut_paste(spot: _Spot, rng: np.random.Generator) -> Image:
    """A patch from elsewhere in the picture, turned and its brightness shifted."""
    height, width = spot.image.shape[:2]
    rows = int(np.clip(spot.extent_px * rng.uniform(0.6, 1.2), 2, height))
    columns = int(np.clip(spot.extent_px * rng.uniform(0.6, 1.2), 2, width))
    top, left = int(rng.integers(height - rows + 1)), int(rng.integers(width - columns + 1))
    patch = spot.image[top : top + rows, left : left + columns].astype(np.float32)
    patch += np.float32(rng.uniform(-25, 25))
    move = cv2.getRotationMatrix2D((columns / 2, rows / 2), rng.uniform(-45, 45), 1.0)
    move[0, 2] += spot.centre[0] - columns / 2
    move[1, 2] += spot.centre[1] - rows / 2
    size = (spot.pixels.shape[1], spot.pixels.shape[0])
    pasted = cv2.warpAffine(patch, move, size, borderMode=cv2.BORDER_REPLICATE)
    alpha = cv2.warpAffine(np.ones((rows, columns), np.float32), move, size)
    return _blend(spot, np.asarray(pasted, np.float32), np.asarray(alpha, np.float32))


def _scratch(spot: _Spot, rng: np.random.Generator) -> Image:
    """A thin bent line, lighter or darker than what it crosses, twice as long as the extent."""
    steps = 8
    headings = rng.uniform(0, 2 * np.pi) + np.cumsum(rng.uniform(-0.25, 0.25) + rng.normal(0, 0.12, steps))
    turns = np.stack([np.cos(headings), np.sin(headings)], axis=1) * 2 * spot.extent_px / steps
    points = np.concatenate([np.zeros((1, 2)), np.cumsum(turns, axis=0)])
    points += np.asarray(spot.centre) - points.mean(axis=0)
    thickness_px = max(1, round(spot.extent_px * rng.uniform(0.06, 0.14)))
    line = np.zeros(spot.pixels.shape[:2], np.uint8)
    cv2.polylines(line, [_sixteenths(points)], False, 255, thickness_px, cv2.LINE_AA, shift=4)
    return _blend(spot, _ink(spot, rng.uniform(45, 100)), np.asarray(line / 255, np.float32))


def _stain(spot: _Spot, rng: np.random.Generator) -> Image:
    """A soft-edged discolouration with a tint of its own."""
    soft = cv2.GaussianBlur(_blob(spot, rng), (0, 0), max(0.8, spot.extent_px / 10))
    ink = _ink(spot, rng.uniform(40, 90)) + rng.uniform(-20, 20, 3).astype(np.float32)
    return _blend(spot, ink, np.asarray(soft * rng.uniform(0.5, 0.9), np.float32))


def _missing(spot: _Spot, rng: np.random.Generator) -> Image:
    """A piece gone, and the background seen in its place: the median colour of the picture's border."""
    image = spot.image
    border = np.concatenate([image[0], image[-1], image[:, 0], image[:, -1]])
    return _blend(spot, np.median(border, axis=0).astype(np.float32), _blob(spot, rng))


def _blur(spot: _Spot, rng: np.random.Generator) -> Image:
    """A smeared spot."""
    smooth = _smooth(spot.pixels, max(1.5, spot.extent_px / 5))
    return _blend(spot, smooth.astype(np.float32), _blob(spot, rng))


def _smooth(pixels: Image, sigma_px: float) -> Image:
    """A Gaussian blur; a wide one on a smaller copy, within 4 grey levels of it (σ 96 px over 1200 × 1200 px: 3 ms,
    not 1 s)."""
    factor = int(sigma_px // _WIDE_PX)
    if factor < 2:
        return np.asarray(cv2.GaussianBlur(pixels, (0, 0), sigma_px), np.uint8)
    height, width = pixels.shape[:2]
    small = cv2.resize(pixels, (-(-width // factor), -(-height // factor)), interpolation=cv2.INTER_AREA)
    blurred = cv2.GaussianBlur(small, (0, 0), sigma_px / factor)
    return np.asarray(cv2.resize(blurred, (width, height), interpolation=cv2.INTER_LINEAR), np.uint8)


_PAINTERS: dict[Kind, Callable[[_Spot, np.random.Generator], Image]] = {
    Kind.CUT_PASTE: _cut_paste,
    Kind.SCRATCH: _scratch,
    Kind.STAIN: _stain,
    Kind.MISSING: _missing,
    Kind.BLUR: _blur,
}


def _blob(spot: _Spot, rng: np.random.Generator) -> Floats:
    """An irregular round shape of about the extent across, as weights 0 to 1 of the window's shape."""
    angles = np.arange(24) * 2 * np.pi / 24
    radius = np.ones(24)
    for wave in (1, 2, 3, 5):
        radius += rng.normal(0, 0.18 / wave) * np.cos(wave * angles + rng.uniform(0, 2 * np.pi))
    radius = np.clip(radius, 0.35, 1.5) * spot.extent_px / 2
    points = np.stack([np.cos(angles), np.sin(angles)], axis=1) * radius[:, np.newaxis] + spot.centre
    shape = np.zeros(spot.pixels.shape[:2], np.uint8)
    cv2.fillPoly(shape, [_sixteenths(points)], 255, cv2.LINE_AA, shift=4)
    return np.asarray(shape / 255, np.float32)


def _sixteenths(points: npt.NDArray[np.float64]) -> npt.NDArray[np.int32]:
    """Points in the fixed-point form that OpenCV draws from with `shift=4`."""
    return np.asarray(np.round(points * 16), np.int32)


def _ink(spot: _Spot, contrast: float) -> Floats:
    """The colour at the spot, made darker where it is light and lighter where it is dark; shape (3,)."""
    column, row = (int(position) for position in spot.centre)
    here = spot.pixels[row, column].astype(np.float32)
    return np.asarray(here + (-contrast if here.mean() > 110 else contrast), np.float32)


def _blend(spot: _Spot, other: Floats, alpha: Floats) -> Image:
    mixed = spot.pixels + alpha[..., np.newaxis] * (other - spot.pixels)
    return np.clip(np.round(mixed), 0, 255).astype(np.uint8)
