"""Pictures on their way to a release: read, known by their hash, and seen by the encoder."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from kenpin_agent.encoder import Encoder, Features
from kenpin_agent.pictures import picture_id, read_picture
from kenpin_agent.prepare import prepare
from kenpin_agent.seams import Image
from kenpin_models.encoder_file import EncoderFile, shipped_encoder
from kenpin_wire.errors import ConfigError, PictureError
from kenpin_wire.manifest import Input

DEFAULT_SIZE_PX = 160
SIZES_PX = (96, 320)

Progress = Callable[[str, int, int], None]
"""Told what is being done, how many of how many are done."""


def silent(_step: str, _done: int, _total: int) -> None:
    """A `Progress` that shows nothing."""


@dataclass(frozen=True, slots=True)
class Sample:
    """A picture that can be read.

    Attributes:
        path: Where it is.
        id: `picture_id` of the picture as read.
        spec: The input that it is for.
    """

    path: Path
    id: str
    spec: Input

    @property
    def image(self) -> Image:
        """The picture, halved until it is less than four times the encoder's input (see `halved`). Read anew
        each time: a folder of ten thousand does not fit the memory.

        Raises:
            PictureError: if it can no longer be read.
        """
        return halved(read_picture(self.path), self.spec)


def read_samples(
    paths: Sequence[Path], spec: Input, *, step: str, progress: Progress = silent
) -> tuple[list[Sample], list[str]]:
    """Read pictures; a damaged one is left out, and so is one that is there twice.

    Returns:
        The samples, and a warning line for each picture that was left out.
    """
    samples: dict[str, Sample] = {}
    warnings = []
    for done, path in enumerate(paths):
        progress(step, done, len(paths))
        try:
            image = read_picture(path)
        except PictureError as error:
            warnings.append(f"left out: {error}")
            continue
        identity = picture_id(image)
        if identity in samples:
            twin = PictureError(f"the same picture as {samples[identity].path.name}", where=str(path))
            warnings.append(f"left out: {twin}")
            continue
        samples[identity] = Sample(path, identity, spec)
    progress(step, len(paths), len(paths))
    return list(samples.values()), warnings


def choose_input(paths: Sequence[Path], size_px: int, stride_px: int = 16) -> Input:
    """The encoder's input for pictures of this kind: as many pixels as a square of `size_px`, in the pictures' own
    proportions (their median, at most 3 : 1), so that nothing is squashed; multiples of the encoder's stride.

    Raises:
        ConfigError: if the size is out of range, or no picture can be read.
    """
    smallest, largest = SIZES_PX
    if not smallest <= size_px <= largest:
        raise ConfigError(
            f"{size_px} pixels", where="--size", remedy=f"Use {smallest} to {largest}; the default is 160."
        )
    ratios = [math.log(width / height) for width, height in picture_sizes(paths)]
    ratio = math.exp(np.clip(np.median(ratios), -math.log(3), math.log(3)))
    width, height = (_stride(length, stride_px) for length in (size_px * ratio**0.5, size_px / ratio**0.5))
    return Input(width=width, height=height)


def picture_sizes(paths: Sequence[Path]) -> list[tuple[int, int]]:
    """Width and height of a few of the pictures; as `kenpin_models.tiling` takes them.

    Raises:
        ConfigError: if none can be read.
    """
    sizes = [(image.shape[1], image.shape[0]) for image in _readable(paths[: 4 * _PROBES])]
    if not sizes:
        raise ConfigError(
            "none of its pictures can be read",
            where=str(paths[0].parent),
            remedy="Save them again as JPEG or PNG.",
        )
    return sizes


def halved(image: Image, spec: Input) -> Image:
    """The picture, halved while it is four times as large as it will be scaled, or more: the first halvings of
    `prepare`, which goes on from here to the very same pixels. Keeps memory and synthetic defects cheap."""
    width, height = spec.picture_px
    while image.shape[0] >= 4 * height and image.shape[1] >= 4 * width:
        rows, columns = image.shape[0] // 2, image.shape[1] // 2
        half = cv2.resize(image[: 2 * rows, : 2 * columns], (columns, rows), interpolation=cv2.INTER_AREA)
        image = np.asarray(half, dtype=np.uint8)
    return image


class Eye:
    """An encoder at one input size; the shipped one if none is given."""

    def __init__(self, spec: Input, encoder: EncoderFile | None = None, threads: int = 2) -> None:
        self.spec = spec
        self.encoder = encoder or shipped_encoder()
        self._run = Encoder(self.encoder.file, spec, self.encoder.pooled, self.encoder.maps, threads=threads)

    def see(self, image: Image) -> Features:
        """What the agent's encoder sees in a picture that the agent's code prepared."""
        return self._run.encode(prepare(image, self.spec))


_PROBES = 16


def _readable(paths: Sequence[Path]) -> Iterator[Image]:
    found = 0
    for path in paths:
        try:
            yield read_picture(path)
        except PictureError:
            continue
        found += 1
        if found == _PROBES:
            return


def _stride(length_px: float, stride_px: int) -> int:
    return max(stride_px * 4, round(length_px / stride_px) * stride_px)
