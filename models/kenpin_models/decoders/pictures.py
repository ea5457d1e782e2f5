"""What decoders are trained on: good pictures, nudged copies of them, and copies with synthetic defects."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from kenpin_agent.encoder import Features
from kenpin_agent.pictures import shrink
from kenpin_agent.prepare import prepare
from kenpin_agent.seams import Image
from kenpin_models.augment import nudge
from kenpin_models.samples import Eye, Progress, Sample, silent
from kenpin_models.synthetic import Kind, add_defect

Floats = npt.NDArray[np.float32]

SIZES = (0.03, 0.3)
"""Extents of the painted defects, as `add_defect` takes them; their logarithms are spread evenly."""

MOST_DEFECTS = 3


@dataclass(frozen=True, slots=True)
class Shown:
    """A good picture, or a nudged copy of one.

    Attributes:
        picture: As `prepare` makes it, but uint8; shape (height, width, 3), RGB.
    """

    features: Features
    picture: Image


@dataclass(frozen=True, slots=True)
class Pair:
    """A good picture or nudged copy, and the same with defects.

    Attributes:
        mask: The share of each place that is defective, 0 to 1; shape (h, w) of the grid asked for.
    """

    good: Features
    bad: Features
    mask: Floats


def image_of(source: Sample | Image) -> Image:
    """The picture itself, read anew if it is a file's."""
    return source.image if isinstance(source, Sample) else source


def show(
    sources: Sequence[Sample | Image],
    eye: Eye,
    count: int,
    rng: np.random.Generator,
    progress: Progress = silent,
) -> Iterator[Shown]:
    """`count` pictures: first each as it is, then nudged copies in turn."""
    for image in _images(sources, eye, count, rng, progress):
        picture = prepare(image, eye.spec)[0]
        yield Shown(eye.see(image), picture.astype(np.uint8))  # whole numbers already


def pairs(
    sources: Sequence[Sample | Image],
    eye: Eye,
    count: int,
    rng: np.random.Generator,
    *,
    grid: tuple[int, int],
    progress: Progress = silent,
) -> Iterator[Pair]:
    """`count` pictures as `show` gives them, each with one to three defects painted on a copy.

    Args:
        grid: Height and width of the masks.
    """
    kinds = list(Kind)
    for good in _images(sources, eye, count, rng, progress):
        bad, mask = good, np.zeros(good.shape[:2], np.uint8)
        for _ in range(rng.integers(1, MOST_DEFECTS + 1)):
            size = float(np.exp(rng.uniform(*np.log(SIZES))))
            defective = add_defect(bad, kinds[rng.integers(len(kinds))], size, rng)
            bad, mask = defective.image, mask | defective.mask
        height, width = grid
        share = cv2.resize(mask.astype(np.float32) / 255, (width, height), interpolation=cv2.INTER_AREA)
        yield Pair(eye.see(good), eye.see(bad), np.asarray(share, np.float32))


def _images(
    sources: Sequence[Sample | Image], eye: Eye, count: int, rng: np.random.Generator, progress: Progress
) -> Iterator[Image]:
    """At twice the encoder's size: enough to nudge and to paint on, and both cost by the pixel."""
    side_px = 2 * max(eye.spec.picture_px)
    for number in range(count):
        progress("showing the decoder good pictures", number, count)
        image = shrink(image_of(sources[number % len(sources)]), side_px)
        yield image if number < len(sources) else nudge(image, rng)
    progress("showing the decoder good pictures", count, count)
