"""What goes wrong with a simulated part before it is put on the belt.

Each defect works on a part as it was drawn (`metal`), before it is turned and shifted, and says which of its
pixels it touched. Pure: no I/O, no clock.
"""

from __future__ import annotations

from functools import cache

import cv2
import numpy as np
import numpy.typing as npt

from kenpin_agent.cameras.metal import ROOM_H_PX, ROOM_W_PX, Blank, Plane, axes, static, to_bytes
from kenpin_agent.seams import Image

_SHIFT = 4  # OpenCV draws in sixteenths of a pixel
_ONE = 1 << _SHIFT


def scratch(metal: Image, part: Blank, rng: np.random.Generator) -> Plane:
    """Draw a scratch into `metal`, in place: a bright furrow with a dark flank, tapering at both ends.

    Returns:
        How much each pixel was touched, 0 to 255.
    """
    furrow, flank = _empty(), _empty()
    for _ in range(20):
        furrow[:], flank[:] = 0, 0
        start = part.flat[rng.integers(len(part.flat))].astype(np.float64)
        grain = 0.0 if part.grain is None else part.grain
        heading = grain + rng.choice((-1, 1)) * rng.uniform(0.35, 1.3)
        length_px, bend = rng.uniform(60, 150), rng.uniform(-0.006, 0.006)
        width_px = rng.uniform(1.6, 3.0)
        course = _course(start, heading, length_px, bend, rng)
        _taper(furrow, course, width_px)
        _taper(flank, course + np.array((1.4, 1.6)), width_px)
        inside = cv2.mean(cv2.min(furrow, part.alpha))[0]
        if inside > 0.8 * cv2.mean(furrow)[0]:
            break
    _blend(metal, furrow, (244, 244, 242), 0.85)
    _blend(metal, cv2.subtract(flank, furrow), (38, 38, 40), 0.7)
    return to_bytes(cv2.max(furrow, flank))


def rust(metal: Image, part: Blank, rng: np.random.Generator) -> Plane:
    """Let one to three patches of rust grow on `metal`, in place.

    Returns:
        How much each pixel was touched, 0 to 255.
    """
    y, x = axes(ROOM_H_PX, ROOM_W_PX)
    grown = np.full((ROOM_H_PX, ROOM_W_PX), -1.0, np.float32)
    centre = part.flat[rng.integers(len(part.flat))]
    for _ in range(rng.integers(1, 4)):
        away = np.hypot(x - centre[0], (y - centre[1]) * rng.uniform(0.8, 1.4)) / rng.uniform(18, 42)
        grown = np.maximum(grown, 1.1 - away)
        near = centre + rng.normal(0, 34, 2)
        centre = part.flat[np.abs(part.flat - near).sum(axis=1).argmin()]
    room = _box((grown > -0.8).astype(np.uint8))
    shape, speck = _cloud(rng, room), _cloud(rng, room)
    strength = np.clip((grown[room] + 0.42 * shape) * 1.9, 0, 1)
    light = np.clip(0.42 + 0.36 * speck, 0, 1)[..., None]
    colour = (1 - light) * _colour(20, 36, 74) + light * _colour(44, 98, 172)
    here = metal[room]
    relief = 0.5 + 0.5 * here.mean(axis=2, keepdims=True, dtype=np.float32) / 150  # the shape shows through
    cover = (strength * np.clip(0.78 + 0.16 * speck, 0, 1))[..., None]
    metal[room] = to_bytes(here * (1 - cover) + colour * relief * cover)
    touched = _empty()
    touched[room] = to_bytes(strength * 255)
    return touched


def missing_corner(metal: Image, part: Blank, rng: np.random.Generator) -> Plane:
    """Break a corner off: roughen `metal` along the break, in place.

    Returns:
        What is left of the part: its new alpha, 0 to 255.
    """
    corner, inward = part.corners[rng.integers(len(part.corners))]
    lean = rng.uniform(-0.35, 0.35)
    cos, sin = np.cos(lean), np.sin(lean)
    into = np.array((inward[0] * cos - inward[1] * sin, inward[0] * sin + inward[1] * cos))
    along = np.array((-into[1], into[0]))
    depth_px = rng.uniform(26, 44)
    steps = np.linspace(-130, 130, 53)
    jag = np.convolve(rng.normal(0, 1, 53 + 4), (0.1, 0.25, 0.3, 0.25, 0.1), mode="valid") * 3.0
    edge = np.array(corner) + into * (depth_px + jag)[:, None] + along * steps[:, None]
    gone = np.concatenate((edge, edge[::-1] - into * 200))
    cut = _empty()
    cv2.fillPoly(cut, [_fixed(gone)], (255,), cv2.LINE_AA, _SHIFT)
    face = _empty()
    cv2.polylines(face, [_fixed(edge)], False, (255,), 7, cv2.LINE_AA, _SHIFT)
    _blend(metal, face, (58, 57, 56), 0.75)
    face[:] = 0
    cv2.polylines(face, [_fixed(edge + into * 3.2)], False, (255,), 1, cv2.LINE_AA, _SHIFT)
    _blend(metal, face, (225, 225, 222), 0.6)
    return to_bytes(cv2.subtract(part.alpha, cut))


def wrong_scale(rng: np.random.Generator) -> float:
    """The size of a part of the next smaller or larger series, as a share of the right one."""
    return float(1 + rng.choice((-1, 1)) * rng.uniform(0.14, 0.22))


def _course(
    start: npt.NDArray[np.float64], heading: float, length_px: float, bend: float, rng: np.random.Generator
) -> npt.NDArray[np.float64]:
    steps = 24
    turns = heading + bend * np.linspace(-0.5, 0.5, steps) * length_px + rng.normal(0, 0.03, steps)
    moves = np.stack((np.cos(turns), np.sin(turns)), axis=1) * (length_px / steps)
    path = np.cumsum(moves, axis=0)
    return np.asarray(start + path - path[steps // 2], np.float64)


def _taper(layer: Plane, course: npt.NDArray[np.float64], width_px: float) -> None:
    points = _fixed(course)
    last = len(points) - 2
    for k in range(last + 1):
        fullness = min(1.0, 0.35 + 3.2 * min(k, last - k) / last)
        thickness = max(1, round(width_px * fullness))
        cv2.line(layer, points[k], points[k + 1], (round(255 * fullness),), thickness, cv2.LINE_AA, _SHIFT)


def _blend(metal: Image, layer: npt.ArrayLike, colour: tuple[int, int, int], opacity: float) -> None:
    room = _box(np.asarray(layer, np.uint8))
    cover = np.asarray(layer, np.float32)[room][..., None] * (opacity / 255)
    metal[room] = to_bytes(metal[room] * (1 - cover) + _colour(*colour) * cover)


def _colour(blue: int, green: int, red: int) -> npt.NDArray[np.float32]:
    return np.array((blue, green, red), np.float32)


def _box(layer: Plane) -> tuple[slice, slice]:
    """Where the layer is not 0: to work there only is what keeps a bad part nearly as cheap as a good one."""
    x, y, width, height = cv2.boundingRect(layer)
    return slice(y, y + height), slice(x, x + width)


def _cloud(rng: np.random.Generator, box: tuple[slice, slice]) -> npt.NDArray[np.float32]:
    """Fractal noise, mean 0, deviation 1, for a box of the part's room."""
    sheet = _clouds()
    y, x = rng.integers(sheet.shape[0] - ROOM_H_PX), rng.integers(sheet.shape[1] - ROOM_W_PX)
    return sheet[y : y + ROOM_H_PX, x : x + ROOM_W_PX][box].astype(np.float32)


@cache
def _clouds() -> npt.NDArray[np.float16]:
    rng = np.random.default_rng(13)
    sheet = np.zeros((2 * ROOM_H_PX, 2 * ROOM_W_PX), np.float32)
    for size_px in (14.0, 6.0, 2.5, 1.0):
        octave = np.asarray(cv2.GaussianBlur(static(rng, *sheet.shape), (0, 0), size_px), np.float32)
        octave /= octave.std()
        octave *= size_px**0.35
        sheet += octave
    sheet /= sheet.std()
    return sheet.astype(np.float16)  # kept for good; finer than the picture's own steps


def _empty() -> Plane:
    return np.zeros((ROOM_H_PX, ROOM_W_PX), np.uint8)


def _fixed(points: npt.NDArray[np.float64]) -> npt.NDArray[np.int32]:
    return np.round(points * _ONE).astype(np.int32)
