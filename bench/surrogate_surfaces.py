"""Good surfaces, one for each set of `bench/surrogates.py`: a picture before the camera takes it, new each time."""

from __future__ import annotations

import cv2
import numpy as np
from surrogate_defects import Canvas, Floats, Rng, grains, smooth, spectrum


def _grey(image: Floats) -> Floats:
    return np.repeat(image[..., None], 3, axis=2).astype(np.float32)


def _whole(image: Floats, along: float = 0.0) -> Canvas:
    return Canvas(image, np.ones(image.shape[:2], bool), along)


def _moved(mask: Floats, rng: Rng, shift_px: float, turn_deg: float) -> Floats:
    height, width = mask.shape[:2]
    move = cv2.getRotationMatrix2D((width / 2, height / 2), rng.normal(0, turn_deg), 1 + rng.normal(0, 0.005))
    move[:, 2] += rng.normal(0, shift_px, 2)
    return np.asarray(cv2.warpAffine(mask, move, (width, height), flags=cv2.INTER_LINEAR), np.float32)


# --- flat metal


def rolled_steel(rng: Rng) -> Canvas:
    """200 × 200, grey, brightness very different from picture to picture."""
    level = rng.uniform(90, 175)
    image = level + spectrum(rng, 200, 200, 0.7, stretch=rng.uniform(1.5, 4)) * rng.uniform(5, 10)
    image += spectrum(rng, 200, 200, 2.2) * rng.uniform(3, 12)
    return _whole(_grey(image))


def brushed_plate(rng: Rng) -> Canvas:
    """640 × 480, brushed, a band of light that wanders, two holes, the plate's edge in view."""
    height, width = 480, 640
    y, x = np.mgrid[:height, :width].astype(np.float32)
    grain = spectrum(rng, height, width, 0.45, stretch=40) * rng.uniform(6, 10)
    band = np.exp(-(((y - x * rng.normal(0, 0.1) - rng.normal(200, 40)) / 130) ** 2))
    image = 105 + grain + 70 * band * rng.uniform(0.7, 1.1)
    plan = np.zeros((height, width), np.float32)
    cv2.rectangle(plan, (36, 30), (604, 450), 1, -1)
    for centre in ((110, 240), (530, 240)):
        cv2.circle(plan, centre, 26, 0, -1, cv2.LINE_AA)
    plan = _moved(plan, rng, 2.5, 0.7)
    rim = np.clip(smooth(plan, 2.5) - 0.55, 0, 1) * (1 - smooth(plan, 1.2)) * 200
    grey = np.where(plan > 0.5, image + rim, 24 + spectrum(rng, height, width, 1) * 2)
    return Canvas(_grey(grey) * np.float32([1.04, 1.0, 0.97]), plan > 0.5)


def magnetic_tile(rng: Rng) -> Canvas:
    """Of any size, grey, ground along one side, curved; the dark bed is seen at some borders."""
    height, width = int(rng.uniform(240, 420)), int(rng.uniform(150, 360))
    x = np.linspace(-1, 1, width, dtype=np.float32)
    curve = 1 - rng.uniform(0.1, 0.45) * (x - rng.normal(0, 0.25)) ** 2
    grind = spectrum(rng, height, width, 0.6, stretch=rng.uniform(0.12, 0.4)) * rng.uniform(3.5, 7)
    spots = np.clip(spectrum(rng, height, width, 0.3, finest_px=1.5) - 2.2, 0, 1) * -18
    image = (
        rng.uniform(75, 140) * curve[None]
        + grind
        + spots
        + spectrum(rng, height, width, 2) * rng.uniform(2, 6)
    )
    plan = np.ones((height, width), np.float32)
    for side in range(4):
        if rng.random() < 0.25:
            depth = int(rng.uniform(4, 0.09 * min(height, width)))
            cut: list[slice] = [slice(None), slice(None)]
            cut[side // 2] = slice(0, depth) if side % 2 else slice(-depth, None)
            plan[tuple(cut)] = 0
    edge = smooth(plan, 1.5)
    wave = spectrum(rng, height, width, 1.4, finest_px=3) * 0.12
    inside = np.clip((edge + wave - 0.5) * 4 + 0.5, 0, 1)
    grey = inside * image + (1 - inside) * (18 + spectrum(rng, height, width, 1) * 3)
    return Canvas(_grey(grey), (plan > 0) & (inside > 0.6), np.pi / 2)


# --- ceramics


def speckled_tile(rng: Rng) -> Canvas:
    """420 × 420, colour, terrazzo: grains of three sizes."""
    side = 420
    image = np.zeros((side, side, 3), np.float32) + np.float32([168, 172, 178])
    for count, depth in ((700, 26), (4000, 22), (20000, 14)):
        labels, distance = grains(rng, side, side, count)
        value = rng.standard_normal(labels.max() + 1).astype(np.float32)[labels]
        dark = np.where(value < -0.7, value, value * 0.25) * np.clip(
            1.2 - distance / (side / count**0.5), 0, 1
        )
        image += (dark * depth)[..., None] * np.float32([1.05, 1, 0.92])
    return _whole(smooth(image, 0.7))


def glazed_tile(rng: Rng) -> Canvas:
    """384 × 384, cream glaze with a printed line, a soft highlight, joints around it."""
    side = 384
    y, x = np.mgrid[:side, :side].astype(np.float32)
    peel = spectrum(rng, side, side, 1.0, finest_px=6) * rng.uniform(0.8, 1.6)
    shine = 22 * np.exp(-(((x - rng.normal(130, 25)) ** 2 + (y - rng.normal(110, 25)) ** 2) / 2 / 70**2))
    glaze = 196 + peel + shine + spectrum(rng, side, side, 2.4) * 2.5
    plan = np.zeros((side, side), np.float32)
    cv2.rectangle(plan, (18, 18), (365, 365), 1, -1)
    ring = np.zeros_like(plan)
    cv2.circle(ring, (192, 192), 108, 1, 3, cv2.LINE_AA)
    cv2.circle(ring, (192, 192), 60, 1, 8, cv2.LINE_AA)
    plan, ring = np.moveaxis(_moved(np.stack([plan, ring], 2), rng, 2.5, 0.8), 2, 0)
    image = _grey(glaze) * np.float32([0.9, 0.98, 1.0])
    image += ring[..., None] * (np.float32([120, 80, 60]) - image) * np.float32(0.55)
    joint = 110 + spectrum(rng, side, side, 0.6)[..., None] * 9 + np.float32([0, 3, 6])
    inside = smooth(plan, 1.2)[..., None]
    return Canvas(inside * image + (1 - inside) * joint, plan > 0.5, hidden=120)


# --- solar cells in electroluminescence


def _cell(rng: Rng, crystal: Floats, rounded: bool) -> Canvas:
    """A 300 × 300 cell: frame, busbars, fingers, a current that spreads unevenly."""
    side = 300
    y, x = np.mgrid[:side, :side].astype(np.float32)
    dx, dy = rng.normal(0, 2, 2)
    u, v = (x - side / 2 - dx) / (side / 2), (y - side / 2 - dy) / (side / 2)
    inside = (np.abs(u) < 0.965) & (np.abs(v) < 0.965)
    if rounded:
        inside &= np.hypot(u, v) < 1.24
    fall = 1 - rng.uniform(0.03, 0.22) * (u**2 + v**2) + rng.normal(0, 0.05) * u + rng.normal(0, 0.05) * v
    current = (
        rng.uniform(95, 175) * fall * crystal * (1 + 0.035 * np.sin(2 * np.pi * y / 4.6 + rng.uniform(0, 6)))
    )
    current *= 1 + 0.03 * spectrum(rng, side, side, 0.3, stretch=30)
    for position in (-0.5, 0.0, 0.5):
        bar = np.abs(u - position)
        current *= 1 - 0.82 * np.clip(1.6 - bar / 0.018, 0, 1)
        current *= 1 + 0.08 * np.exp(-bar / 0.06)
    ends = 1 - 0.3 * np.exp(-(0.965 - np.clip(np.maximum(np.abs(u), np.abs(v)), 0, 0.965)) / 0.025)
    soft = smooth(inside.astype(np.float32), 1.0)
    return Canvas(_grey(soft * current * ends + (1 - soft) * 14), inside)


def el_mono(rng: Rng) -> Canvas:
    """Single crystal: smooth, at times with faint rings."""
    y, x = np.mgrid[-1:1:300j, -1:1:300j].astype(np.float32)
    rings = np.sin(np.hypot(x, y) * rng.uniform(12, 30) + rng.uniform(0, 6)) * rng.uniform(0, 0.035)
    return _cell(rng, np.asarray(1 + rings + 0.035 * spectrum(rng, 300, 300, 1.6), np.float32), rounded=True)


def el_poly(rng: Rng) -> Canvas:
    """Many crystals: grains of different light, dark clouds of dislocations that are no defect."""
    crystal = np.ones((300, 300), np.float32)
    for count, depth in ((rng.integers(60, 140), 0.06), (rng.integers(300, 600), 0.035)):
        warp = np.stack([spectrum(rng, 300, 300, 1.6) * 6 for _ in range(2)])
        labels, _ = grains(rng, 300, 300, int(count))
        value = rng.standard_normal(labels.max() + 1).astype(np.float32)[labels]
        y, x = np.mgrid[:300, :300].astype(np.float32)
        crystal += depth * cv2.remap(
            value, x + warp[0], y + warp[1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT
        )
    clouds = np.clip(spectrum(rng, 300, 300, 1.3, finest_px=3) - rng.uniform(0.9, 1.6), 0, 2)
    return _cell(rng, smooth(crystal - 0.16 * clouds.astype(np.float32), 0.8), rounded=False)


# --- tall pictures


def commutator(rng: Rng) -> Canvas:
    """500 × about 1260, grey: moulded plastic, mottled, faint marks of the tool across."""
    width, height = 500, int(rng.integers(1240, 1271))
    x = np.linspace(-1, 1, width, dtype=np.float32)
    image = rng.uniform(105, 150) * (1 - rng.uniform(0.05, 0.3) * (x - rng.normal(0, 0.1)) ** 2)[None]
    image = image + spectrum(rng, height, width, 0.75) * rng.uniform(7, 11)
    image += spectrum(rng, height, width, 0.3, stretch=12) * rng.uniform(1, 4)
    image += spectrum(rng, height, width, 2) * rng.uniform(3, 8)
    image -= np.clip(spectrum(rng, height, width, 0.5, finest_px=3) - 2.6, 0, 1.5) * 25
    for end in (0, 1):
        if rng.random() < 0.5:
            depth = rng.uniform(20, 90)
            y = np.arange(height)[:: 1 - 2 * end, None]
            image *= 1 - 0.5 * np.clip((depth - y) / 12, 0, 1)
    return _whole(_grey(image))


def cast_strip(rng: Rng) -> Canvas:
    """230 × 630, brown-grey, smooth with flow lines along its length."""
    width, height = 230, 630
    image = rng.uniform(80, 125) + spectrum(rng, height, width, 0.9, stretch=0.25) * rng.uniform(4, 8)
    image += spectrum(rng, height, width, 2) * rng.uniform(3, 9)
    image -= np.clip(spectrum(rng, height, width, 0.4, finest_px=2) - 2.5, 0, 1) * 12
    return _whole(_grey(image) * np.float32([0.9, 0.98, 1.06]), np.pi / 2)


# --- other objects


def washer(rng: Rng) -> Canvas:
    """320 × 320: a turned ring with six notches, lying in any direction on dark rubber."""
    side = 320
    y, x = np.mgrid[:side, :side].astype(np.float32)
    cx, cy = side / 2 + rng.normal(0, 4, 2)
    r, angle = np.hypot(x - cx, y - cy), np.arctan2(y - cy, x - cx)
    turn = rng.uniform(0, 2 * np.pi)
    outer = 128 - 9 * (np.cos(6 * (angle - turn)) > 0.9)
    plan = (r < outer) & (r > 62)
    groove = 12 * np.exp(-(((r - 96) / 2.5) ** 2))
    rings = np.interp(r, np.arange(side), smooth(rng.normal(0, 9, (1, side)).astype(np.float32), 0.8)[0])
    sheen = 38 * np.cos(2 * (angle - rng.normal(0.6, 0.12))) ** 3
    metal = 135 + rings + sheen - groove + spectrum(rng, side, side, 0.5) * 4
    bevel = 55 * np.exp(-np.abs(r - 64) / 2) - 45 * np.exp(-np.abs(outer - r - 1) / 2)
    rubber = 30 + spectrum(rng, side, side, 0.6) * 5
    soft = smooth(plan.astype(np.float32), 0.8)
    grey = soft * (metal + bevel) + (1 - soft) * rubber
    return Canvas(_grey(grey) * np.float32([0.95, 1.0, 1.03]), plan, hidden=20)


def woven(rng: Rng) -> Canvas:
    """256 × 256 cloth: warp and weft, no two threads alike, slightly askew."""
    side = 256
    y, x = np.mgrid[:side, :side].astype(np.float32)
    turn, pitch = rng.normal(0, 0.03), 7.0 * (1 + rng.normal(0, 0.02))
    sway = [spectrum(rng, side, side, 1.8) * 0.9 for _ in range(2)]
    u = (x * np.cos(turn) - y * np.sin(turn) + sway[0]) / pitch + rng.uniform(0, 9)
    v = (y * np.cos(turn) + x * np.sin(turn) + sway[1]) / pitch + rng.uniform(0, 9)
    over = (np.floor(u) + np.floor(v)) % 2
    warp = 0.6 + 0.4 * np.sin(np.pi * (u % 1)) * (0.6 + 0.4 * np.sin(np.pi * (v % 1)))
    weft = 0.55 + 0.4 * np.sin(np.pi * (v % 1)) * (0.6 + 0.4 * np.sin(np.pi * (u % 1)))
    tone = [1 + rng.normal(0, 0.06, 80).astype(np.float32)[np.floor(w).astype(int) % 80] for w in (u, v)]
    cloth = np.where(over > 0, warp * tone[0], weft * tone[1]) * 165 + spectrum(rng, side, side, 0.3) * 5
    return _whole(_grey(cloth) * np.float32([0.75, 0.9, 1.0]))
