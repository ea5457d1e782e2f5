"""The metal parts of the simulated conveyor: their shape, and how light falls on it.

A part is drawn once, three times as large as it is shown, as a height map; its shading follows from the slope
of that map, so chamfers, countersinks, grooves and engraved letters all catch the same light. What differs
between two parts of a design, its finish and sheen, is added for each (`Blank.lit`).

Pure: no I/O, no clock.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import cv2
import numpy as np
import numpy.typing as npt

from kenpin_agent.cameras.config import Design

Plane = npt.NDArray[np.uint8]
"""Shape (ROOM_H_PX, ROOM_W_PX), uint8."""
Heights = npt.NDArray[np.float32]
Point = tuple[float, float]

ROOM_W_PX, ROOM_H_PX = 440, 340
"""The room that a part is drawn in, with a margin around it."""


@dataclass(frozen=True)
class Blank:
    """A design of part, ready to be finished many times.

    Attributes:
        alpha: 255 where metal is, antialiased at its edges.
        shade: Its shape in grey, 128 for a flat face.
        flat: Points (x, y) of shape (n, 2) on its face, away from edges, for defects to start from.
        corners: Where a piece can break off, each with the direction (unit vector) into the part.
        grain: Direction of its finish in radians; None for a turned part, whose finish runs around.
    """

    alpha: Plane
    shade: Plane
    flat: npt.NDArray[np.int16]
    corners: tuple[tuple[Point, Point], ...]
    grain: float | None
    _finish: npt.NDArray[np.uint8]
    _radius: npt.NDArray[np.int32] | None
    _sheen: Plane

    def lit(self, rng: np.random.Generator) -> Plane:
        """One part of this design under the lamp: its own finish, its own gleam; grey, uint8."""
        gleam = cv2.LUT(self._sheen, _gleam(rng, turned=self._radius is not None))
        grey = cv2.addWeighted(self.shade, 1.0, gleam, 1.0, -128.0)
        if self._radius is None:
            rows, columns = self._finish.shape
            y, x = rng.integers(rows - ROOM_H_PX), rng.integers(columns - ROOM_W_PX)
            finish = self._finish[y : y + ROOM_H_PX, x : x + ROOM_W_PX]
        else:
            finish = self._finish[0][self._radius + rng.integers(1000)]
        return _plane(cv2.multiply(grey, finish, scale=1 / 128))


def to_bytes(array: npt.ArrayLike) -> npt.NDArray[np.uint8]:
    """The array clipped to 0 to 255, as uint8."""
    return np.asarray(np.clip(array, 0, 255), np.uint8)


def axes(height: int, width: int) -> tuple[Heights, Heights]:
    """The y and x of each pixel, float32, of shapes (height, 1) and (1, width): together they broadcast."""
    return np.arange(height, dtype=np.float32)[:, None], np.arange(width, dtype=np.float32)[None, :]


def static(rng: np.random.Generator, height: int, width: int) -> Heights:
    """Noise of mean 0 and deviation 1; made by rows, since all of it in float64 first would take three times
    the memory."""
    noise = np.empty((height, width), np.float32)
    for row in noise:
        row[:] = rng.standard_normal(width)
    return noise


@cache
def blank(design: Design) -> Blank:
    """The design's blank; drawn at its first use, in some 0.2 s."""
    return _DESIGNS[design]()


_SCALE = 3
_CHAMFER_PX = 5.0
_BAND = 128  # rows that are shaded at a time
_LIGHT = np.array((-0.42, -0.62, 0.66), np.float32)


class _Drawing:
    """A part on the drawing board: coordinates in shown pixels, drawn `_SCALE` times as large."""

    def __init__(self) -> None:
        shape = (ROOM_H_PX * _SCALE, ROOM_W_PX * _SCALE)
        self.solid: Plane = np.zeros(shape, np.uint8)
        self.dents: Heights = np.zeros(shape, np.float32)
        self.soot: Plane = np.zeros(shape, np.uint8)
        self._y, self._x = (axis / _SCALE for axis in axes(*shape))

    def outline(self, points: list[Point], rounding_px: float) -> None:
        corners = np.array([_big(point) for point in points], np.int32)
        cv2.fillPoly(self.solid, [corners], (255,))
        blurred = cv2.GaussianBlur(self.solid, (0, 0), rounding_px * _SCALE / 2)
        self.solid = np.where(blurred > 127, np.uint8(255), np.uint8(0))

    def disc(self, centre: Point, radius_px: float) -> None:
        cv2.circle(self.solid, _big(centre), round(radius_px * _SCALE), (255,), cv2.FILLED)

    def hole(self, centre: Point, radius_px: float, sink_px: float = 0.0) -> None:
        """A bore, its countersink reaching out to `sink_px`."""
        cv2.circle(self.solid, _big(centre), round(radius_px * _SCALE), (0,), cv2.FILLED)
        if sink_px:
            rows, columns = _around(centre, sink_px)
            away = np.hypot(self._x[:, columns] - centre[0], self._y[rows] - centre[1])
            self.dents[rows, columns] += np.clip(sink_px - away, 0, sink_px - radius_px) * 0.8

    def slot(self, start: Point, end: Point, radius_px: float) -> None:
        cv2.line(self.solid, _big(start), _big(end), (0,), round(2 * radius_px * _SCALE), cv2.LINE_AA)
        self.solid = np.where(self.solid > 127, np.uint8(255), np.uint8(0))

    def groove(self, centre: Point, radius_px: float, width_px: float, depth_px: float = 2.5) -> None:
        rows, columns = _around(centre, radius_px + width_px / 2)
        away = np.abs(np.hypot(self._x[:, columns] - centre[0], self._y[rows] - centre[1]) - radius_px)
        sunk = np.clip((width_px / 2 - away) / 1.5, 0, 1)
        self.dents[rows, columns] += depth_px * sunk
        soot = self.soot[rows, columns]
        np.maximum(soot, to_bytes(110 * sunk), out=soot)

    def engrave(self, text: str, origin: Point, height_px: float) -> None:
        letters = np.zeros_like(self.solid)
        scale = height_px * _SCALE / 21  # Hershey capitals are 21 units tall
        cv2.putText(
            letters,
            text,
            _big(origin),
            cv2.FONT_HERSHEY_SIMPLEX,
            scale,
            (255,),
            round(2.2 * _SCALE),
            cv2.LINE_AA,
        )
        self.dents += cv2.GaussianBlur(letters, (0, 0), _SCALE * 0.5) * np.float32(2.2 / 255)
        np.maximum(self.soot, letters, out=self.soot)

    def finished(
        self,
        corners: list[tuple[Point, Point]],
        *,
        turned_about: Point | None = None,
        grain: float = 0.0,
    ) -> Blank:
        shade, quiet = self._relief()
        rows, columns = np.nonzero(quiet)
        finish, radius = _brushed(), None
        if turned_about is not None:
            finish = _turned()
            y, x = np.mgrid[:ROOM_H_PX, :ROOM_W_PX]
            radius = (np.hypot(x - turned_about[0], y - turned_about[1]) * 4).astype(np.int32)
        elif grain:
            finish = _plane(cv2.rotate(finish, cv2.ROTATE_90_CLOCKWISE))
        return Blank(
            alpha=_shown(self.solid),
            shade=shade,
            flat=np.stack((columns, rows), axis=1).astype(np.int16),
            corners=tuple(corners),
            grain=None if turned_about else grain,
            _finish=finish,
            _radius=radius,
            _sheen=_sheen(turned_about),
        )

    def _relief(self) -> tuple[Plane, npt.NDArray[np.bool_]]:
        """Its shape in grey, as shown, and where it is flat. Apart, so that the large arrays are gone after."""
        depth: Heights = np.asarray(cv2.distanceTransform(self.solid, cv2.DIST_L2, 5), np.float32)
        depth /= _SCALE
        quiet = cv2.resize(depth, (ROOM_W_PX, ROOM_H_PX), interpolation=cv2.INTER_AREA) > 14
        height = np.minimum(depth, _CHAMFER_PX, out=depth)
        height *= np.float32(0.9)
        height -= self.dents
        return _shown(_shading(cv2.GaussianBlur(height, (0, 0), _SCALE * 0.7), self.soot)), quiet


def _bracket() -> Blank:
    d = _Drawing()
    d.outline([(34, 24), (154, 24), (154, 138), (226, 206), (408, 206), (408, 318), (34, 318)], 14)
    d.hole((94, 76), 19, 30)
    d.hole((94, 158), 10)
    d.hole((94, 258), 24, 36)
    d.slot((206, 278), (292, 278), 13)
    d.hole((364, 262), 19, 30)
    d.engrave("KP-40", (196, 247), 19)
    edge = 0.7071
    return d.finished(
        [
            ((38, 28), (edge, edge)),
            ((150, 28), (-edge, edge)),
            ((404, 210), (-edge, edge)),
            ((404, 314), (-edge, -edge)),
            ((38, 314), (edge, -edge)),
        ]
    )


def _plate() -> Blank:
    d = _Drawing()
    left, top, right, bottom, cut = 26, 26, 414, 314, 26
    d.outline(
        [
            (left + cut, top), (right - cut, top), (right, top + cut), (right, bottom - cut),
            (right - cut, bottom), (left + cut, bottom), (left, bottom - cut), (left, top + cut),
        ],
        4,
    )  # fmt: skip
    centre = (220.0, 170.0)
    d.hole(centre, 50, 63)
    d.groove(centre, 88, 7)
    for x in (74, 366):
        for y in (74, 266):
            d.hole((x, y), 14, 24)
        d.slot((x, 146), (x, 194), 9)
    d.engrave("KENPIN 12", (150, 296), 15)
    edge = 0.7071
    return d.finished(
        [
            ((left + 13, top + 13), (edge, edge)),
            ((right - 13, top + 13), (-edge, edge)),
            ((right - 13, bottom - 13), (-edge, -edge)),
            ((left + 13, bottom - 13), (edge, -edge)),
        ],
        grain=np.pi / 2,
    )


def _ring() -> Blank:
    d = _Drawing()
    centre = (220.0, 170.0)
    d.disc(centre, 152)
    d.hole(centre, 66, 74)
    d.groove(centre, 88, 5)
    d.groove(centre, 138, 3, 1.5)
    corners = []
    for k in range(6):
        angle = np.pi / 6 + k * np.pi / 3
        along = (float(np.cos(angle)), float(np.sin(angle)))
        d.hole((centre[0] + 113 * along[0], centre[1] + 113 * along[1]), 12, 20)
        between = (float(np.cos(angle + np.pi / 6)), float(np.sin(angle + np.pi / 6)))
        rim = (centre[0] + 152 * between[0], centre[1] + 152 * between[1])
        corners.append((rim, (-between[0], -between[1])))
    return d.finished(corners, turned_about=centre)


_DESIGNS: dict[Design, Callable[[], Blank]] = {"bracket": _bracket, "plate": _plate, "ring": _ring}


def _shading(height: npt.ArrayLike, soot: Plane) -> Plane:
    """Lambert and a little Blinn-Phong over a height map; 128 where it is flat. Little light gets to the soot in
    what is engraved."""
    height = np.asarray(height, np.float32)
    slope_x, slope_y = cv2.Sobel(height, cv2.CV_32F, 1, 0), cv2.Sobel(height, cv2.CV_32F, 0, 1)
    shade = np.empty(height.shape, np.uint8)
    for top in range(0, len(shade), _BAND):  # a dozen steps, whose arrays of the whole part would be 60 MB
        band = np.s_[top : top + _BAND]
        grey = _lit(np.asarray(slope_x[band], np.float32), np.asarray(slope_y[band], np.float32))
        shade[band] = grey * (1 - soot[band] / 255 * 0.42)
    return shade


def _lit(slope_x: Heights, slope_y: Heights) -> Plane:
    step = _SCALE / 8  # Sobel's kernel sums to 8; heights are in shown pixels
    slope_x, slope_y = slope_x * step, slope_y * step
    length = np.sqrt(slope_x**2 + slope_y**2 + 1)
    facing = (_LIGHT[2] - slope_x * _LIGHT[0] - slope_y * _LIGHT[1]) / length
    half = _LIGHT + np.array((0, 0, 1), np.float32)
    half /= np.linalg.norm(half)
    gloss = np.clip((half[2] - slope_x * half[0] - slope_y * half[1]) / length, 0, 1) ** 24
    flat_gloss = float(half[2]) ** 24
    grey = 128 * (0.3 + 0.7 * facing / _LIGHT[2]) + 75 * (gloss - flat_gloss)
    return to_bytes(np.clip(grey, 12, 250))


_Curve = npt.NDArray[np.float64]


def _gleam(rng: np.random.Generator, *, turned: bool) -> Plane:
    """How bright each place of `Blank._sheen` gleams: 128 for not at all."""
    at = np.arange(256, dtype=np.float64) / 256
    shift = rng.normal(0, 0.012)
    if turned:  # a turned face gleams along two opposite spokes, and faintly across them
        wave = np.cos(2 * np.pi * (at * 2 + shift))
        gleam = 84 * np.exp((wave - 1) * 2.6) + 30 * np.exp((-wave - 1) * 5) - 30
    else:  # a broad band, a dark one, and the thin line of a tube lamp
        gleam = _bump(at, 0.36 - shift, 0.15, 44) + _bump(at, 0.56 - shift, 0.03, 15)
        gleam -= _bump(at, 0.78 - shift, 0.2, 20)
    return to_bytes(128 + gleam * rng.uniform(0.9, 1.1))


def _bump(at: _Curve, middle: float, width: float, height: float) -> _Curve:
    return np.asarray(height * np.exp(-(((at - middle) / width) ** 2)), np.float64)


def _sheen(turned_about: Point | None) -> Plane:
    """For each pixel its place in `_gleam`: across the part, or around its axis."""
    y, x = axes(ROOM_H_PX, ROOM_W_PX)
    if turned_about is not None:
        turn = np.arctan2(y - turned_about[1], x - turned_about[0]) / (2 * np.pi) + 0.36
        return to_bytes(turn % 1 * 256)
    across = (x + 0.45 * y) / (ROOM_W_PX + 0.45 * ROOM_H_PX)
    return to_bytes(across * 256)


@cache
def _brushed() -> npt.NDArray[np.uint8]:
    """A sheet brushed along x, 128 on average, larger than a part so that each can be cut from elsewhere."""
    rng = np.random.default_rng(11)
    side = 1100
    sheet = np.zeros((side, side), np.float32)
    for length_px, weight in ((401, 1.0), (91, 0.8), (15, 0.45)):
        streaks: Heights = np.asarray(cv2.blur(static(rng, side, side), (length_px, 1)), np.float32)
        spread = streaks.std()
        streaks *= weight
        streaks /= spread
        sheet += streaks
    sheet *= 6.5
    sheet += 128
    return to_bytes(sheet)


@cache
def _turned() -> npt.NDArray[np.uint8]:
    """The marks of a lathe along the radius, four samples a pixel; shape (1, n)."""
    noise = np.random.default_rng(12).standard_normal(4000).astype(np.float32)
    marks = np.zeros_like(noise)
    for width, weight in ((3, 1.0), (7, 1.0), (41, 0.35)):
        smooth = np.convolve(noise, np.hanning(width + 2), mode="same").astype(np.float32)
        marks += weight * smooth / smooth.std()
    return to_bytes(128 + 7.0 * marks[None])


def _around(centre: Point, radius_px: float) -> tuple[slice, slice]:
    """The rows and columns of the drawing that a disc reaches."""
    (x, y), reach = _big(centre), math.ceil(radius_px * _SCALE) + 1
    return slice(max(0, y - reach), y + reach + 1), slice(max(0, x - reach), x + reach + 1)


def _big(point: Point) -> tuple[int, int]:
    return round(point[0] * _SCALE), round(point[1] * _SCALE)


def _shown(plane: Plane) -> Plane:
    return _plane(cv2.resize(plane, (ROOM_W_PX, ROOM_H_PX), interpolation=cv2.INTER_AREA))


def _plane(array: npt.ArrayLike) -> Plane:
    """OpenCV's stubs promise less than it gives."""
    return np.asarray(array, np.uint8)
