"""Noise that looks like matter, and defects to paint on it, for `bench/surrogates.py`.

Independent of the product's own synthetic defects on purpose: what chooses a head must not also be what it is
judged by. Contrasts are told in units of the surface's own roughness, so that many defects are subtle.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import cv2
import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
Rng = np.random.Generator


def spectrum(
    rng: Rng, height: int, width: int, beta: float, *, stretch: float = 1.0, finest_px: float = 0
) -> Floats:
    """Noise of mean 0 and deviation 1 whose amplitude falls as 1 / frequency^beta.

    Args:
        stretch: How much longer its grain is along the rows than across them.
        finest_px: Nothing finer than this.
    """
    fy = np.fft.fftfreq(height)[:, None]
    fx = np.fft.rfftfreq(width)[None]
    radius = np.sqrt(fy**2 + (fx * stretch) ** 2)
    radius[0, 0] = 1
    gain = np.maximum(radius, 1 / max(height, width)) ** -beta
    if finest_px:
        gain *= np.exp(-((np.hypot(fy, fx) * finest_px) ** 2))
    gain[0, 0] = 0
    noise = np.fft.irfft2(np.fft.rfft2(rng.standard_normal((height, width))) * gain, (height, width))
    return np.asarray((noise - noise.mean()) / (noise.std() + 1e-9), np.float32)


def grains(rng: Rng, height: int, width: int, count: int) -> tuple[npt.NDArray[np.int32], Floats]:
    """Voronoi cells of random points: each pixel's cell, and its distance to the cell's point in pixels."""
    seeds = np.full((height, width), 255, np.uint8)
    seeds[rng.integers(height, size=count), rng.integers(width, size=count)] = 0
    distance, labels = cv2.distanceTransformWithLabels(seeds, cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL)
    return np.asarray(labels, np.int32), np.asarray(distance, np.float32)


def smooth(image: Floats, sigma_px: float) -> Floats:
    return np.asarray(cv2.GaussianBlur(image, (0, 0), sigma_px), np.float32)


@dataclass
class Canvas:
    """A picture being painted.

    Attributes:
        image: Shape (h, w, 3), float32, grey levels.
        body: Where the part is, shape (h, w); defects go there.
        mask: Where a defect was painted so far.
        along: The direction of the surface's grain, radians from the row's.
        hidden: What is seen where a piece is missing.
    """

    image: Floats
    body: npt.NDArray[np.bool_]
    along: float = 0.0
    hidden: float = 15.0
    mask: npt.NDArray[np.bool_] = field(init=False)

    def __post_init__(self) -> None:
        self.mask = np.zeros(self.body.shape, bool)
        self.unit = float(np.sqrt(self.body.size))
        self.grey = bool((self.image[..., 0] == self.image[..., 2]).all())
        grey = self.image.mean(axis=2)
        self.roughness = max(1.5, float(np.median(np.abs(grey - smooth(grey, 2))[self.body])) * 1.48)

    def place(self, rng: Rng, margin: float = 0.04) -> tuple[float, float]:
        """A point (x, y) on the body, some way from its border."""
        reach = max(1, int(margin * self.unit))
        inner = cv2.erode(self.body.astype(np.uint8), np.ones((reach, reach), np.uint8), borderValue=0)
        rows, columns = np.nonzero(inner if inner.any() else self.body)
        chosen = int(rng.integers(rows.size))
        return float(columns[chosen]), float(rows[chosen])

    def add(self, delta: Floats, tint: tuple[float, float, float] = (1, 1, 1)) -> None:
        """Make lighter or darker; what changed by a good share of the most counts as defect."""
        delta = np.where(self.body, delta, 0)
        self.image += delta[..., None] * np.asarray(tint, np.float32)
        most = float(np.abs(delta).max())
        if most > 0:
            self.mask |= np.abs(delta) > 0.25 * most

    def blend(self, other: Floats, alpha: Floats) -> None:
        """Put `other` (shape (h, w, 3) or (3,)) over it."""
        self.image += alpha[..., None] * (other - self.image)
        self.mask |= alpha > 0.25


def blob(
    rng: Rng, canvas: Canvas, centre: tuple[float, float], extent_px: float, rough: float = 0.35
) -> Floats:
    """An irregular spot, 1 inside and 0 outside with a soft border."""
    height, width = canvas.body.shape
    y, x = np.mgrid[:height, :width].astype(np.float32)
    turn, ratio = rng.uniform(0, np.pi), rng.uniform(1, 1.8)
    dx, dy = x - centre[0], y - centre[1]
    u = (dx * np.cos(turn) + dy * np.sin(turn)) / ratio**0.5
    v = (dy * np.cos(turn) - dx * np.sin(turn)) * ratio**0.5
    angle, waves = np.arctan2(v, u), np.zeros_like(u)
    for k in range(1, 6):
        waves += rng.normal(0, rough / k) * np.cos(k * angle + rng.uniform(0, 6.3))
    radius = extent_px / 2 * np.clip(1 + waves, 0.3, 2)
    softness = max(0.8, extent_px * rng.uniform(0.03, 0.15))
    return np.asarray(np.clip((radius - np.hypot(u, v)) / softness + 0.5, 0, 1), np.float32)


def walk(
    rng: Rng, canvas: Canvas, length_px: float, heading: float, wander: float
) -> npt.NDArray[np.float64]:
    """Points (n, 2) of a random walk whose middle is on the body."""
    n = max(4, int(length_px / 4))
    headings = heading + np.cumsum(rng.normal(0, wander, n)) + rng.normal(0, wander * 2, n)
    points = np.cumsum(np.stack([np.cos(headings), np.sin(headings)], 1) * length_px / n, axis=0)
    return np.asarray(points - points.mean(axis=0) + canvas.place(rng), np.float64)


def trace(canvas: Canvas, points: npt.NDArray[np.float64], widths_px: npt.NDArray[np.float64]) -> Floats:
    """A line of varying width, 0 to 1; a width under a pixel is a fainter pixel."""
    height, width = canvas.body.shape
    line = np.zeros((height, width), np.float32)
    for start, stop, thick in zip(points[:-1], points[1:], widths_px, strict=False):
        ends = [tuple(int(v * 16) for v in end) for end in (start, stop)]
        stroke = np.zeros((height, width), np.uint8)
        cv2.line(stroke, ends[0], ends[1], int(255 * min(1.0, thick)), max(1, round(thick)), cv2.LINE_AA, 4)
        np.maximum(line, stroke / np.float32(255), out=line)
    return line


Painter = Callable[[Canvas, Rng], None]


def crack(
    length: tuple[float, float] = (0.15, 0.6),
    width_px: tuple[float, float] = (0.7, 2.2),
    contrast: tuple[float, float] = (1.5, 5),
    *,
    heading: float | None = None,
    wander: float = 0.22,
    sign: int = -1,
) -> Painter:
    """A random walk of varying width and depth, at times forked; `length` in units of the picture's side."""

    def paint(canvas: Canvas, rng: Rng) -> None:
        towards = rng.uniform(0, np.pi) if heading is None else canvas.along + heading + rng.normal(0, 0.25)
        points = walk(rng, canvas, rng.uniform(*length) * canvas.unit, towards, wander)
        n = len(points)
        swell = np.interp(np.arange(n), np.linspace(0, n, 6), rng.uniform(0.4, 1.4, 6))
        taper = np.minimum(1, np.minimum(np.arange(n), n - 1 - np.arange(n)) / (0.2 * n) + 0.25)
        line = trace(canvas, points, rng.uniform(*width_px) * swell * taper)
        if rng.random() < 0.35:
            start = points[int(rng.integers(n // 4, max(n // 4 + 1, 3 * n // 4)))]
            fork = walk(rng, canvas, 0.3 * rng.uniform(*length) * canvas.unit, towards + 0.7, wander)
            line = np.maximum(line, trace(canvas, fork - fork[0] + start, np.full(len(fork), 0.7)))
        depth = 1 + 0.35 * spectrum(rng, *canvas.body.shape, beta=1.2)
        level = max(6.0, rng.uniform(*contrast) * canvas.roughness)
        canvas.add(sign * level * smooth(line, 0.6) * np.clip(depth, 0.2, 2))

    return paint


def scratch(contrast: tuple[float, float] = (1.2, 4), length: tuple[float, float] = (0.1, 0.5)) -> Painter:
    """One to three nearly straight lines, bright or with a dark edge."""

    def paint(canvas: Canvas, rng: Rng) -> None:
        towards = rng.uniform(0, np.pi)
        level = max(6.0, rng.uniform(*contrast) * canvas.roughness)
        for _ in range(int(rng.integers(1, 4))):
            points = walk(
                rng, canvas, rng.uniform(*length) * canvas.unit, towards + rng.normal(0, 0.06), 0.012
            )
            line = smooth(trace(canvas, points, np.full(len(points), rng.uniform(0.7, 1.8))), 0.5)
            edge = np.roll(line, 1, axis=int(rng.integers(2)))
            canvas.add(level * (line - rng.uniform(0, 0.9) * edge) * float(rng.choice([1, 1, -1])))

    return paint


def pits(
    extent: tuple[float, float] = (0.012, 0.05), contrast: tuple[float, float] = (2, 6), most: int = 4
) -> Painter:
    """Dark holes with a lit rim."""

    def paint(canvas: Canvas, rng: Rng) -> None:
        light = rng.integers(0, 2)
        for _ in range(int(rng.integers(1, most + 1))):
            extent_px = max(3.0, rng.uniform(*extent) * canvas.unit)
            hole = blob(rng, canvas, canvas.place(rng), extent_px, 0.2)
            level = max(8.0, rng.uniform(*contrast) * canvas.roughness)
            rim = np.roll(hole, max(1, int(extent_px / 8)), axis=int(light)) - hole
            canvas.add(level * (0.6 * np.clip(rim, 0, 1) - hole))

    return paint


def dent(extent: tuple[float, float] = (0.08, 0.25), contrast: tuple[float, float] = (1, 3)) -> Painter:
    """A shallow hollow: light on one side, dark on the other; the grain goes on through it."""

    def paint(canvas: Canvas, rng: Rng) -> None:
        reach = rng.uniform(*extent) * canvas.unit
        hollow = smooth(blob(rng, canvas, canvas.place(rng, 0.08), reach), reach / 5)
        turn = rng.uniform(0, 2 * np.pi)
        slope = np.cos(turn) * cv2.Sobel(hollow, cv2.CV_32F, 1, 0) + np.sin(turn) * cv2.Sobel(
            hollow, cv2.CV_32F, 0, 1
        )
        canvas.add(max(8.0, rng.uniform(*contrast) * canvas.roughness) * slope / (np.abs(slope).max() + 1e-6))

    return paint


def uneven(
    extent: tuple[float, float] = (0.15, 0.5),
    contrast: tuple[float, float] = (0.8, 2.5),
    tint: tuple[float, float, float] = (1, 1, 1),
) -> Painter:
    """A large soft patch that is lighter or darker: glaze, oil, heat."""

    def paint(canvas: Canvas, rng: Rng) -> None:
        reach = rng.uniform(*extent) * canvas.unit
        patch = smooth(blob(rng, canvas, canvas.place(rng), reach, 0.6), max(1.0, reach / 20))
        cloud = np.clip(1 + 0.4 * spectrum(rng, *canvas.body.shape, beta=1.6), 0.2, 2)
        level = max(7.0, rng.uniform(*contrast) * canvas.roughness)
        canvas.add(patch * cloud * level * float(rng.choice([-1, 1])), tint)

    return paint


def scuff(extent: tuple[float, float] = (0.1, 0.3), contrast: tuple[float, float] = (0.8, 2.2)) -> Painter:
    """A patch rubbed in one direction: fine streaks over the grain."""

    def paint(canvas: Canvas, rng: Rng) -> None:
        height, width = canvas.body.shape
        side = int(1.5 * max(height, width))
        streaks = spectrum(rng, side, side, 0.4, stretch=float(rng.uniform(8, 25)))
        turned = cv2.warpAffine(
            streaks, cv2.getRotationMatrix2D((side / 2, side / 2), rng.uniform(0, 180), 1), (side, side)
        )
        top, left = (side - height) // 2, (side - width) // 2
        patch = smooth(blob(rng, canvas, canvas.place(rng), rng.uniform(*extent) * canvas.unit, 0.6), 3)
        level = max(5.0, rng.uniform(*contrast) * canvas.roughness)
        canvas.add(patch * level * (turned[top : top + height, left : left + width] + 0.5))
        canvas.mask |= patch > 0.3

    return paint


def worn(extent: tuple[float, float] = (0.1, 0.3)) -> Painter:
    """The grain is gone, or coarser than it should be."""

    def paint(canvas: Canvas, rng: Rng) -> None:
        patch = blob(rng, canvas, canvas.place(rng), rng.uniform(*extent) * canvas.unit, 0.5)
        patch = np.where(canvas.body, patch, 0).astype(np.float32)
        if rng.random() < 0.5:
            other = smooth(canvas.image, rng.uniform(2, 5))
        else:
            coarse = spectrum(rng, *canvas.body.shape, beta=0.9, finest_px=3)
            other = canvas.image + coarse[..., None] * canvas.roughness * rng.uniform(0.8, 2)
        canvas.blend(other, patch * np.float32(0.9))

    return paint


def chip(extent: tuple[float, float] = (0.04, 0.15)) -> Painter:
    """A piece broken off at the part's edge; the break is rough."""

    def paint(canvas: Canvas, rng: Rng) -> None:
        body = canvas.body.astype(np.uint8)
        rim = np.argwhere(body - cv2.erode(body, np.ones((3, 3), np.uint8), borderValue=0))
        row, column = rim[int(rng.integers(len(rim)))]
        extent_px = max(5.0, rng.uniform(*extent) * canvas.unit)
        piece = np.where(canvas.body, blob(rng, canvas, (float(column), float(row)), extent_px, 0.45), 0)
        inside = smooth(piece.astype(np.float32), max(1.0, extent_px / 10))
        shade = canvas.hidden + rng.uniform(5, 40) + 6 * spectrum(rng, *canvas.body.shape, beta=1)
        canvas.blend(np.repeat((shade * (0.5 + inside))[..., None], 3, 2), piece.astype(np.float32))

    return paint


def fray(contrast: tuple[float, float] = (1, 3)) -> Painter:
    """Along a part's edge the surface comes off in shreds."""

    def paint(canvas: Canvas, rng: Rng) -> None:
        body = canvas.body.astype(np.uint8)
        padded = cv2.copyMakeBorder(body, 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=0)
        depth = cv2.distanceTransform(padded, cv2.DIST_L2, 5)[1:-1, 1:-1]
        near = depth < canvas.unit * rng.uniform(0.03, 0.1)
        rim = np.argwhere(canvas.body & near)
        row, column = rim[int(rng.integers(len(rim)))]
        patch = blob(rng, canvas, (float(column), float(row)), rng.uniform(0.15, 0.4) * canvas.unit, 0.5)
        shreds = np.clip(spectrum(rng, *canvas.body.shape, beta=0.8, stretch=0.3, finest_px=1.5) + 0.2, 0, 2)
        level = max(10.0, rng.uniform(*contrast) * canvas.roughness)
        canvas.add(np.where(near, patch, 0) * shreds * level * float(rng.choice([-1, 1])))

    return paint


def dark_region(factor: tuple[float, float] = (0.55, 0.88)) -> Painter:
    """A part of a cell that no current reaches: bounded by straight lines, darker as a whole."""

    def paint(canvas: Canvas, rng: Rng) -> None:
        height, width = canvas.body.shape
        y, x = np.mgrid[:height, :width].astype(np.float32)
        column, row = canvas.place(rng, 0.1)
        turn = rng.uniform(0, 2 * np.pi)
        side = (x - column) * np.cos(turn) + (y - row) * np.sin(turn) > 0
        other = (x - column) * np.sin(turn) - (y - row) * np.cos(turn)
        region = side & (np.abs(other) < rng.uniform(0.08, 0.3) * canvas.unit) & canvas.body
        soft = smooth(region.astype(np.float32), 1.0)
        canvas.add(-soft * (1 - rng.uniform(*factor)) * canvas.image.mean(axis=2))

    return paint


def fingers(pitch_px: float, contrast: tuple[float, float] = (0.08, 0.3)) -> Painter:
    """Interrupted contact fingers: short dark stripes along the rows, a few side by side."""

    def paint(canvas: Canvas, rng: Rng) -> None:
        column, row = canvas.place(rng, 0.1)
        stripes = np.zeros(canvas.body.shape, np.float32)
        for index in range(int(rng.integers(1, 6))):
            long = int(rng.uniform(0.06, 0.28) * canvas.unit)
            top, left = int(row + index * pitch_px), int(max(0, column + rng.normal(0, 4) - long / 2))
            stripes[top : top + max(2, int(pitch_px)), left : left + long] = rng.uniform(0.5, 1)
        canvas.add(-smooth(stripes, 0.8) * rng.uniform(*contrast) * canvas.image.mean(axis=2))

    return paint


def speck(extent: tuple[float, float] = (0.015, 0.06), contrast: tuple[float, float] = (1.5, 5)) -> Painter:
    """Something foreign on the surface: a crumb, a splash, a hair's end, of a colour of its own."""

    def paint(canvas: Canvas, rng: Rng) -> None:
        for _ in range(int(rng.integers(1, 4))):
            spot = blob(rng, canvas, canvas.place(rng), max(3.0, rng.uniform(*extent) * canvas.unit), 0.5)
            level = max(8.0, rng.uniform(*contrast) * canvas.roughness) * float(rng.choice([-1, -1, 1]))
            blue, green, red = (
                (1.0, 1.0, 1.0) if canvas.grey else (float(v) for v in rng.uniform(0.7, 1.1, 3))
            )
            canvas.add(spot * level, (blue, green, red))

    return paint
