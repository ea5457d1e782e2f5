"""The published protocol, exactly: Fashion-MNIST's sneakers against its ankle boots.

Perera & Patel's deep one-class classification (DOC, arXiv 1801.05365) as it came to the Raspberry Pi: 6,000
reference pictures of eight classes, without sneaker and boot; 6,000 sneakers to learn from; 1,000 other sneakers
and 1,000 boots to judge; everything scaled to 96 × 96. Only the reference pictures are drawn at random: of the
sneakers all are taken.

Nothing is scaled here. A picture stays 28 × 28, and the agent's own `prepare` makes the encoder's input of it.
"""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from kenpin_agent.seams import Image
from kenpin_wire.errors import ConfigError, PictureError
from kenpin_wire.manifest import Input

SNEAKER, BOOT = 7, 9
REFERENCE_CLASSES = (0, 1, 2, 3, 4, 5, 6, 8)
CLASS_NAMES = ("t-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "boot")

N_REFERENCE = 6000
PICTURE_PX = 28
SIZE_PX = 96
INPUT = Input(width=SIZE_PX, height=SIZE_PX)

Pictures = npt.NDArray[np.uint8]
"""Shape (n, 28, 28), grey: black ground, bright part."""


@dataclass(frozen=True, slots=True, eq=False)
class Labelled:
    """Pictures and what is on them.

    Attributes:
        labels: Shape (n,), 0 to 9, as `CLASS_NAMES` counts.
    """

    pictures: Pictures
    labels: npt.NDArray[np.uint8]

    def of(self, *classes: int) -> Labelled:
        """Those of some classes, in their order."""
        chosen = np.isin(self.labels, classes)
        return Labelled(self.pictures[chosen], self.labels[chosen])


@dataclass(frozen=True, slots=True, eq=False)
class Protocol:
    """What is learnt from, and what is judged.

    Attributes:
        reference: Pictures of other things, for fine-tuning.
        good: Sneakers to learn from.
        test_good, test_bad: Sneakers and boots, never learnt from.
    """

    reference: Labelled
    good: Pictures
    test_good: Pictures
    test_bad: Pictures


def read_protocol(
    folder: Path,
    seed: int = 0,
    *,
    n_reference: int = N_REFERENCE,
    n_good: int | None = None,
    n_test: int | None = None,
) -> Protocol:
    """The protocol's pictures.

    Args:
        folder: Where Fashion-MNIST's four `idx` files lie, packed with gzip or not.
        seed: Which reference pictures are drawn, and where sets are cut down, which of each.
        n_good, n_test: For a reduced run: so many sneakers to learn from, so many of each kind to judge; all
            6,000 and 1,000 if None, in the files' order.

    Raises:
        ConfigError: if a file is not there.
        PictureError: if one is damaged.
    """
    train, test = read_fashion(folder, "train"), read_fashion(folder, "t10k")
    rng = np.random.default_rng(seed)
    others = train.of(*REFERENCE_CLASSES)
    chosen = np.sort(rng.permutation(len(others.labels))[:n_reference])
    return Protocol(
        reference=Labelled(others.pictures[chosen], others.labels[chosen]),
        good=_some(train.of(SNEAKER).pictures, n_good, rng),
        test_good=_some(test.of(SNEAKER).pictures, n_test, rng),
        test_bad=_some(test.of(BOOT).pictures, n_test, rng),
    )


def read_fashion(folder: Path, part: str) -> Labelled:
    """One part of Fashion-MNIST, `train` (60,000) or `t10k` (10,000). Raises as `read_protocol`."""
    pictures = _read_idx(folder, f"{part}-images-idx3-ubyte", 3)
    labels = _read_idx(folder, f"{part}-labels-idx1-ubyte", 1)
    if len(pictures) != len(labels):
        raise PictureError(f"{len(pictures)} pictures and {len(labels)} labels", where=str(folder))
    return Labelled(pictures, labels)


def as_image(picture: Pictures) -> Image:
    """One grey picture, shape (28, 28), as a camera would give it: shape (28, 28, 3)."""
    return np.repeat(picture[..., np.newaxis], 3, axis=2)


def write_pictures(pictures: Pictures, folder: Path, indices: Sequence[int] | None = None) -> Path:
    """Write pictures as PNG files, `00000.png` and so on, for a command that wants a folder; returns the folder.

    Args:
        indices: Which of them; all if None. A file is called by its index.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for index in range(len(pictures)) if indices is None else indices:
        packed = cv2.imencode(".png", pictures[index])[1]
        (folder / f"{index:05}.png").write_bytes(packed.tobytes())
    return folder


def write_reference(reference: Labelled, folder: Path) -> Path:
    """Write a reference set as a folder tree, one folder a class; returns `folder`."""
    for label in np.unique(reference.labels).tolist():
        indices = np.flatnonzero(reference.labels == label).tolist()
        write_pictures(reference.pictures, folder / CLASS_NAMES[label], indices)
    return folder


_DAMAGE = (OSError, EOFError, zlib.error, ValueError)


def _some(pictures: Pictures, n: int | None, rng: np.random.Generator) -> Pictures:
    if n is None or n >= len(pictures):
        return pictures
    return pictures[np.sort(rng.permutation(len(pictures))[:n])]


def _read_idx(folder: Path, name: str, dimensions: int) -> Pictures:
    """Read an idx file (LeCun's format): two zero bytes, the type (8: bytes), the number of dimensions, each
    dimension as a big-endian 32-bit number, the values."""
    file = next((f for f in (folder / name, folder / f"{name}.gz") if f.is_file()), None)
    if file is None:
        raise ConfigError(
            f"there is no {name}.gz",
            where=str(folder),
            remedy="Give the folder with Fashion-MNIST's four idx files (Debian: dataset-fashion-mnist).",
        )
    try:
        data = gzip.decompress(file.read_bytes()) if file.suffix == ".gz" else file.read_bytes()
        if data[:4] != bytes([0, 0, 8, dimensions]):
            raise ValueError("another type or number of dimensions")
        shape = np.frombuffer(data, ">u4", dimensions, offset=4)
        return np.frombuffer(data, np.uint8, offset=4 + 4 * dimensions).reshape(shape)
    except _DAMAGE as error:
        raise PictureError(
            f"not a sound idx file ({error})", where=str(file), remedy="Fetch it again."
        ) from None
