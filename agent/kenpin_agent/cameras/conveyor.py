"""A conveyor of metal parts, rendered: what the simulated camera sees.

`render` is a pure function of its arguments: no I/O, no clock, no state but sheets of texture that are drawn
once. A good part differs from the next one within its tolerance only: place, a small turn, finish, gleam, the
lamp, the sensor's noise. A bad one has one defect besides, and its mask: where a scratch or
rust shows, the metal that broke off, what lies between the outline of a part of the wrong size and the right one.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from kenpin_agent.cameras import defects
from kenpin_agent.cameras.config import Defect, Design
from kenpin_agent.cameras.metal import ROOM_H_PX, ROOM_W_PX, Plane, axes, blank, static, to_bytes
from kenpin_agent.seams import Image, Mask

WIDTH_PX, HEIGHT_PX = 640, 480


def render(
    part_number: int, seed: int, defect: Defect | None = None, design: Design = "bracket"
) -> tuple[Image, Mask]:
    """Photograph one part.

    The same arguments give the same bytes. With and without a defect, everything else about the part and its
    picture is the same.

    Returns:
        The picture, uint8 of shape (480, 640, 3), BGR; and the mask of the defect, uint8 of shape (480, 640),
        255 where the part is not as it should be, all 0 for a good one.
    """
    rng = np.random.default_rng((seed, part_number))
    harm = np.random.default_rng((seed, part_number, 1))
    part = blank(design)
    metal = _tinted(part.lit(rng), design)
    pose = _pose(rng)
    alpha, touched, size = part.alpha, None, 1.0
    if defect == "scratch":
        touched = defects.scratch(metal, part, harm)
    elif defect == "rust":
        touched = defects.rust(metal, part, harm)
    elif defect == "missing_corner":
        alpha = defects.missing_corner(metal, part, harm)
    elif defect == "wrong_size":
        size = defects.wrong_scale(harm)

    place = _matrix(pose, size)
    scene = _belt(design, rng)
    seen = _lay(scene, metal, alpha, place)
    _expose(scene, part_number, rng)

    if defect is None:
        return scene, np.zeros((HEIGHT_PX, WIDTH_PX), np.uint8)
    if touched is not None:
        return scene, _over(cv2.min(_warp(touched, place), seen), 60)
    should_be = _warp(part.alpha, _matrix(pose, 1.0))
    return scene, _over(cv2.absdiff(should_be, seen), 127)


def render_training_set(
    folder: Path, count: int, seed: int, *, design: Design = "bracket", every: int = 1
) -> list[Path]:
    """Photograph `count` good parts into a folder, as PNG.

    They are parts that a simulated camera of the same seed and design shows: each `every`-th
    of them. The light drifts once round in about 380 parts.

    Returns:
        The pictures' paths, in order.
    """
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for number in range(0, count * every, every):
        _, png = cv2.imencode(
            ".png", render(number, seed, design=design)[0], (cv2.IMWRITE_PNG_COMPRESSION, 1)
        )
        path = folder / f"{number:06d}-good.png"
        path.write_bytes(png.tobytes())
        paths.append(path)
    return paths


_TINT: dict[Design, tuple[float, float, float]] = {
    "bracket": (1.02, 1.0, 0.975),
    "plate": (1.05, 1.0, 0.95),
    "ring": (0.99, 1.0, 1.0),
}
_BELT: dict[Design, tuple[int, int, int]] = {
    "bracket": (66, 58, 44),
    "plate": (52, 62, 40),
    "ring": (78, 62, 50),
}
_SHADOW_PX = (9, 12)  # away from the lamp, down and to the right
_RAIL_PX = 30
_Pose = tuple[float, float, float, float]  # x, y, turn in degrees, scale


def _pose(rng: np.random.Generator) -> _Pose:
    x, y = rng.uniform(-7, 7), rng.uniform(-5, 5)
    return WIDTH_PX / 2 + x, HEIGHT_PX / 2 + y, rng.uniform(-2.2, 2.2), 1 + rng.uniform(-0.004, 0.004)


def _matrix(pose: _Pose, size: float) -> npt.NDArray[np.float64]:
    x, y, turn, scale = pose
    middle = (ROOM_W_PX / 2, ROOM_H_PX / 2)
    matrix = np.asarray(cv2.getRotationMatrix2D(middle, turn, scale * size), np.float64)
    matrix[:, 2] += (x - middle[0], y - middle[1])
    return matrix


def _warp(plane: npt.NDArray[np.uint8], place: npt.NDArray[np.float64]) -> npt.NDArray[np.uint8]:
    warped = cv2.warpAffine(plane, place, (WIDTH_PX, HEIGHT_PX), flags=cv2.INTER_LINEAR)
    return np.asarray(warped, np.uint8)


def _over(plane: npt.ArrayLike, limit: int) -> Mask:
    return np.where(np.asarray(plane) > limit, np.uint8(255), np.uint8(0))


def _tinted(grey: Plane, design: Design) -> Image:
    return np.asarray(cv2.merge([cv2.LUT(grey, curve) for curve in _tints(design)]), np.uint8)


@cache
def _tints(design: Design) -> tuple[Plane, ...]:
    grey = np.arange(256, dtype=np.float32) / 255
    bright = 255 * 1.75 * grey / (0.9 + grey)  # a soft shoulder, so that gleams do not clip
    return tuple(to_bytes(bright * tint) for tint in _TINT[design])


def _lay(scene: Image, metal: Image, alpha: Plane, place: npt.NDArray[np.float64]) -> Plane:
    """Put the part on the belt with its shadow, in place, and use `metal` up; returns its alpha as it is seen."""
    seen = _warp(alpha, place)
    small = cv2.resize(seen, (WIDTH_PX // 4, HEIGHT_PX // 4), interpolation=cv2.INTER_AREA)
    contact = cv2.GaussianBlur(small, (0, 0), 1.4)
    offset = np.array(((1, 0, _SHADOW_PX[0] / 4), (0, 1, _SHADOW_PX[1] / 4)))
    cast = cv2.warpAffine(cv2.GaussianBlur(small, (0, 0), 3.0), offset, small.shape[::-1])
    light = cv2.addWeighted(contact, -0.42, cast, -0.45, 255)
    light = cv2.resize(light, (WIDTH_PX, HEIGHT_PX), interpolation=cv2.INTER_LINEAR)
    around = cv2.multiply(light, cv2.bitwise_not(seen), scale=1 / 255)
    cv2.multiply(scene, cv2.cvtColor(around, cv2.COLOR_GRAY2BGR), dst=scene, scale=1 / 255)
    cv2.multiply(metal, cv2.cvtColor(alpha, cv2.COLOR_GRAY2BGR), dst=metal, scale=1 / 255)
    cv2.add(scene, _warp(metal, place), dst=scene)
    return seen


def _expose(scene: Image, part_number: int, rng: np.random.Generator) -> None:
    """Lamp, lens and sensor, in place."""
    drift = 0.03 * np.sin(part_number / 61) + 0.015 * np.sin(part_number / 17)
    gain = (1 + drift) * rng.uniform(0.985, 1.015)
    cv2.multiply(scene, _lamp(), dst=scene, scale=gain / 200)
    up, down = _noise()
    y, x = rng.integers(up.shape[0] - HEIGHT_PX), rng.integers(up.shape[1] - WIDTH_PX)
    window = np.s_[y : y + HEIGHT_PX, x : x + WIDTH_PX]
    cv2.add(scene, up[window], dst=scene)
    cv2.subtract(scene, down[window], dst=scene)


def _belt(design: Design, rng: np.random.Generator) -> Image:
    """A stretch of belt, the camera's own copy."""
    sheet = _belt_sheet(design)
    x = rng.integers(sheet.shape[1] - WIDTH_PX)
    return np.ascontiguousarray(sheet[:, x : x + WIDTH_PX])


@cache
def _belt_sheet(design: Design) -> Image:
    """A long piece of woven rubber between two rails."""
    rng = np.random.default_rng(14)
    length = 1600
    y, x = axes(HEIGHT_PX, length)
    weave = np.sin((x + y) * (2 * np.pi / 7)) * np.sin((x - y) * (2 * np.pi / 7))
    specks = static(rng, HEIGHT_PX, length)
    worn = cv2.GaussianBlur(static(rng, HEIGHT_PX, length), (0, 0), 24)
    streaks = cv2.blur(static(rng, HEIGHT_PX, length), (301, 3))
    tone = 1 + 0.10 * weave + 0.045 * specks + 0.05 * worn / worn.std() + 0.04 * streaks / streaks.std()
    under = np.exp(-np.arange(HEIGHT_PX, dtype=np.float32) / 10)[: HEIGHT_PX - 2 * _RAIL_PX]
    shadow = (1 - 0.6 * under - 0.35 * under[::-1])[:, None]

    rail = np.abs(np.arange(_RAIL_PX, dtype=np.float32) - 11) / _RAIL_PX
    profile = 168 - 130 * rail**1.1
    profile[-3:] = 40
    bar = profile[:, None] * (1 + 0.03 * streaks[:_RAIL_PX] / streaks.std())

    sheet = np.empty((HEIGHT_PX, length, 3), np.uint8)
    for channel, (belt, steel) in enumerate(zip(_BELT[design], (1.0, 1.0, 0.98), strict=True)):
        plane = tone * np.float32(belt)
        plane[_RAIL_PX:-_RAIL_PX] *= shadow
        plane[:_RAIL_PX] = bar * np.float32(steel)
        plane[-_RAIL_PX:] = plane[:_RAIL_PX][::-1]
        sheet[..., channel] = to_bytes(plane)
    return sheet


@cache
def _lamp() -> Image:
    """The lamp's field: brightest up left of the middle; 200 is full."""
    y, x = axes(HEIGHT_PX, WIDTH_PX)
    away = np.hypot((x - 270) / 460, (y - 190) / 380)
    field = np.clip(206 - 62 * away**2, 90, 255)
    return np.asarray(cv2.merge([field * 0.99, field, field * 1.01]), np.float32).astype(np.uint8)


@cache
def _noise() -> tuple[Image, Image]:
    """The sensor's noise, as what it adds and what it takes away."""
    rng = np.random.default_rng(15)
    up = np.empty((HEIGHT_PX + 160, WIDTH_PX + 160, 3), np.uint8)
    down = np.empty_like(up)
    for more, less in zip(up, down, strict=True):  # by rows: all of it in float64 would be 12 MB, four times
        noise = np.round(rng.normal(0, 2.2, more.shape))
        more[:], less[:] = to_bytes(noise), to_bytes(-noise)
    return up, down
