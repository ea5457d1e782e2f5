"""Surrogates of real inspection sets: `python bench/surrogates.py OUT_DIR [--sets NAME,...] [--seed 0]`.

The sets that a product is judged on are seldom the ones it can be developed on. These look, as far as procedural
pictures can, like public sets of flat metal, magnetic and ceramic tiles, solar cells in electroluminescence, fine
cracks on tall pictures, and turned parts: a texture of its own in each picture, light, exposure, focus and
position that vary, defects from plain to hardly there. Each becomes OUT_DIR/SET/good, bad and masks (a mask has its
picture's stem, 255 where the defect is). The same seed makes the same pictures. `bench/auto.py` judges on them.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import surrogate_surfaces as surfaces
from surrogate_defects import (
    Canvas,
    Floats,
    Painter,
    Rng,
    chip,
    crack,
    dark_region,
    dent,
    fingers,
    fray,
    pits,
    scratch,
    scuff,
    smooth,
    speck,
    uneven,
    worn,
)

Image = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Camera:
    """What taking the picture adds.

    Attributes:
        exposure, light: Relative deviation of the brightness between pictures, and across one.
        blur_px: Greatest defocus.
        noise: Deviation in grey levels.
        jpeg: Least and greatest quality.
    """

    exposure: float = 0.06
    light: float = 0.05
    blur_px: float = 0.7
    noise: float = 1.5
    jpeg: tuple[int, int] = (85, 96)

    def take(self, image: Floats, rng: Rng) -> tuple[Image, int]:
        height, width = image.shape[:2]
        y, x = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
        slope = rng.normal(0, self.light, 3)
        light = 1 + slope[0] * x + slope[1] * y - abs(slope[2]) * (x**2 + y**2) / 2
        lit = image * (light * (1 + rng.normal(0, self.exposure)))[..., None].astype(np.float32)
        blur_px = rng.uniform(0, self.blur_px)
        if blur_px > 0.25:
            lit = smooth(lit, blur_px)
        grey = np.allclose(image[..., 0], image[..., 2])
        noise = rng.normal(0, self.noise, (height, width, 1 if grey else 3))
        return np.clip(np.round(lit + noise), 0, 255).astype(np.uint8), int(rng.integers(*self.jpeg))


@dataclass(frozen=True)
class Set:
    """A surrogate set: how many pictures, what is on them, what can be wrong.

    Attributes:
        strength: How plain the defects are; their contrasts are multiplied by it.
        like: The real sets that it stands for.
    """

    good: int
    bad: int
    surface: Callable[[Rng], Canvas]
    defects: Sequence[Painter]
    camera: Camera
    strength: float
    like: str


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("out", type=Path, help="the folder that the sets' folders are made in")
    parser.add_argument("--sets", help="names with commas between; default all")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    names = options.sets.split(",") if options.sets else list(SETS)
    for name in names:
        if name not in SETS:
            parser.error(f"no set {name}; there are {', '.join(SETS)}")
        make(SETS[name], options.out / name, np.random.default_rng([options.seed, *name.encode()]))
        print(f"{name}: {SETS[name].good} good, {SETS[name].bad} bad, like {SETS[name].like}")


def make(which: Set, folder: Path, rng: Rng) -> None:
    """Paint a set. Of the bad pictures one in five has two defects; the kinds take turns."""
    for sub in ("good", "bad", "masks"):
        (folder / sub).mkdir(parents=True, exist_ok=True)
        for old in (folder / sub).iterdir():
            old.unlink()
    for index in range(which.good):
        _save(folder / "good" / f"{index:04}.jpg", *which.camera.take(which.surface(rng).image, rng))
    for index in range(which.bad):
        canvas = which.surface(rng)
        canvas.roughness *= which.strength
        which.defects[index % len(which.defects)](canvas, rng)
        if rng.random() < 0.2:
            which.defects[int(rng.integers(len(which.defects)))](canvas, rng)
        _save(folder / "bad" / f"{index:04}.jpg", *which.camera.take(canvas.image, rng))
        mask = cv2.morphologyEx(
            canvas.mask.astype(np.uint8) * 255, cv2.MORPH_CLOSE, np.ones((3, 3), np.uint8)
        )
        cv2.imwrite(str(folder / "masks" / f"{index:04}.png"), mask)


def _save(file: Path, image: Image, quality: int) -> None:
    cv2.imwrite(str(file), image, [cv2.IMWRITE_JPEG_QUALITY, quality])


SETS: dict[str, Set] = {
    "rolled_steel": Set(
        280,
        60,
        surfaces.rolled_steel,
        (scratch(), pits(), uneven((0.1, 0.3)), speck(), worn(), crack((0.15, 0.5))),
        Camera(blur_px=0.6, noise=2),
        2.6,
        "hot-rolled strip (NEU-like)",
    ),
    "brushed_plate": Set(
        60,
        40,
        surfaces.brushed_plate,
        (scratch(), dent(), scuff((0.06, 0.15)), pits((0.008, 0.02)), speck((0.01, 0.03))),
        Camera(),
        1.8,
        "flat machined metal",
    ),
    "magnetic_tile": Set(
        260,
        75,
        surfaces.magnetic_tile,
        (pits((0.02, 0.07)), chip(), crack((0.2, 0.7)), fray((2, 5)), uneven((0.25, 0.6), (1.5, 4))),
        Camera(exposure=0.1),
        2.6,
        "magnetic-tile surfaces, sizes mixed",
    ),
    "speckled_tile": Set(
        60,
        40,
        surfaces.speckled_tile,
        (
            crack((0.3, 0.9), (1, 2.5), (1.2, 3)),
            uneven((0.15, 0.35), (0.8, 1.8)),
            worn((0.12, 0.3)),
            scuff((0.12, 0.3)),
            speck((0.03, 0.08), (1, 3)),
        ),
        Camera(),
        7.0,
        "speckled ceramic tile",
    ),
    "glazed_tile": Set(
        30,
        40,
        surfaces.glazed_tile,
        (
            pits((0.01, 0.03)),
            uneven((0.1, 0.3), (2, 6)),
            chip((0.03, 0.1)),
            crack((0.1, 0.5)),
            speck((0.01, 0.03)),
        ),
        Camera(),
        3.0,
        "glazed ceramic, few good",
    ),
    "el_mono": Set(
        260,
        60,
        surfaces.el_mono,
        (
            crack((0.1, 0.5), (1, 2.2)),
            dark_region((0.6, 0.88)),
            fingers(4.6, (0.15, 0.45)),
            crack((0.2, 0.6), (1, 2.5), (2, 6)),
            uneven((0.15, 0.4), (2, 5)),
        ),
        Camera(exposure=0.12, light=0.03, noise=2.5),
        2.4,
        "mono-crystalline cells, EL",
    ),
    "el_poly": Set(
        100,
        50,
        surfaces.el_poly,
        (
            crack((0.2, 0.6), (1, 2.5), (2, 6)),
            dark_region((0.5, 0.8)),
            fingers(4.6, (0.2, 0.5)),
            crack((0.1, 0.5), (0.8, 2), (2, 5)),
        ),
        Camera(exposure=0.12, light=0.03, noise=2.5),
        3.6,
        "poly-crystalline cells, EL",
    ),
    "commutator": Set(
        220,
        40,
        surfaces.commutator,
        (crack((0.1, 0.45), (1.2, 4), (1.8, 5), heading=0.0), crack((0.06, 0.3), (1, 3), (1.8, 4.5))),
        Camera(noise=2),
        1.8,
        "fine cracks on tall pictures (KolektorSDD-like)",
    ),
    "cast_strip": Set(
        60,
        40,
        surfaces.cast_strip,
        (crack((0.15, 0.5), (1, 3)), scratch(), speck((0.02, 0.08)), uneven((0.1, 0.3), (1.2, 3)), pits()),
        Camera(),
        2.2,
        "tall colour strips (KolektorSDD2-like)",
    ),
    "washer": Set(
        30,
        40,
        surfaces.washer,
        (
            chip((0.05, 0.14)),
            scratch((1.5, 4), (0.06, 0.2)),
            dent((0.06, 0.15)),
            uneven((0.08, 0.2)),
            speck((0.02, 0.05)),
        ),
        Camera(),
        3.4,
        "turned part in any direction, few good",
    ),
    "woven": Set(
        80,
        40,
        surfaces.woven,
        (
            crack((0.15, 0.4), (1.5, 3.5), (1, 2.5)),
            uneven((0.12, 0.3), (0.6, 1.5)),
            worn((0.08, 0.2)),
            speck((0.03, 0.08), (0.8, 2)),
            scuff((0.1, 0.25), (0.4, 1)),
        ),
        Camera(),
        1.3,
        "cloth",
    ),
}

if __name__ == "__main__":
    main()
