"""The pictures of a run in their order: the part's, with copies where there are few, then those of other things."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np

from kenpin_agent.pictures import picture_id, read_picture
from kenpin_agent.prepare import Tensor, prepare
from kenpin_agent.seams import Image
from kenpin_agent.tiles import tiles_of
from kenpin_models.augment import nudge
from kenpin_models.finetune.reference import Reference
from kenpin_models.finetune.settings import FineTuneSettings
from kenpin_wire.errors import PictureError
from kenpin_wire.manifest import Input

MOST_COPIES = 15


class Picture(Protocol):
    """A picture that is read when it is its turn; `samples.Sample` is one."""

    @property
    def id(self) -> str: ...

    @property
    def image(self) -> Image: ...


class Shown(NamedTuple):
    """A picture, or a tile of one, as it is fed.

    Attributes:
        tensor: As `prepare` makes it.
        label: 0 for the part, the reference classes from 1.
        held_out: Whether it is not to be learnt from.
    """

    tensor: Tensor
    label: int
    held_out: bool


@dataclass(frozen=True, slots=True)
class Lesson:
    """What is learnt from.

    Attributes:
        never: `picture_id` of pictures that must not be learnt from.
        warnings: A line for each reference picture that was left out; filled as pictures are shown.
    """

    target: Sequence[Picture]
    reference: Reference
    spec: Input
    settings: FineTuneSettings
    seed: int
    never: frozenset[str]
    warnings: list[str] = field(default_factory=list)

    @property
    def copies(self) -> int:
        """Nudged copies of each of the part's pictures."""
        rows = len(self.target) * len(tiles_of(self.spec))
        return min(MOST_COPIES, max(0, -(-self.settings.copies_to // rows) - 1))

    @property
    def most(self) -> int:
        """No more rows than this are shown."""
        return len(self.target) * len(tiles_of(self.spec)) * (1 + self.copies) + len(self.reference.paths)

    def facts(self) -> dict[str, Any]:
        """What the rows follow from, besides the encoder."""
        return {
            "target": [picture.id for picture in self.target],
            "reference": [
                (path.name, label, _size(path))
                for path, label in zip(self.reference.paths, self.reference.labels, strict=True)
            ],
            "spec": self.spec.model_dump(),
            "held_out": self.settings.held_out,
            "copies": self.copies,
            "seed": self.seed,
            "never": sorted(self.never),
        }

    def shown(self) -> Iterator[Shown]:
        """Every row, read and prepared as it is asked for."""
        yield from self._part()
        yield from self._others()

    def _part(self) -> Iterator[Shown]:
        held_out = self._held_out(len(self.target), 0)
        for index, picture in enumerate(self.target):
            rng = np.random.default_rng((self.seed, index))
            image = picture.image
            copies = 0 if held_out[index] else self.copies
            for shown in (image, *(nudge(image, rng) for _ in range(copies))):
                for tile in _tiles(prepare(shown, self.spec), self.spec):
                    yield Shown(tile, 0, bool(held_out[index]))

    def _others(self) -> Iterator[Shown]:
        whole = self.spec.model_copy(update={"tiles": None})
        part = {picture.id for picture in self.target} | self.never
        held_out = self._held_out(len(self.reference.paths), 1)
        for path, label, apart in zip(self.reference.paths, self.reference.labels, held_out, strict=True):
            try:
                image = read_picture(path)
                if picture_id(image) in part:
                    raise PictureError("it shows the part, not another thing", where=str(path))
            except PictureError as error:
                self.warnings.append(f"left out: {error}")
                continue
            yield Shown(prepare(image, whole), label + 1, bool(apart))

    def _held_out(self, n: int, stream: int) -> Any:
        """Shape (n,), bool: the held-out ones, at least one, and never all."""
        order = np.random.default_rng((self.seed, stream, n)).permutation(n)
        return order < min(n - 1, max(1, round(self.settings.held_out * n)))


def _size(path: Path) -> int:
    """In bytes; −1 if the file went away, which reading it will tell."""
    try:
        return path.stat().st_size
    except OSError:
        return -1


def _tiles(tensor: Tensor, spec: Input) -> Iterator[Tensor]:
    for tile in tiles_of(spec):
        yield tensor[:, tile.y : tile.y + spec.height, tile.x : tile.x + spec.width]
