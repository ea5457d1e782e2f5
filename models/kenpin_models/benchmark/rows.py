"""Which rows the table has, and how much is measured of each."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, get_args

from kenpin_models.benchmark.protocol import N_REFERENCE
from kenpin_models.recipes import DEFAULTS
from kenpin_wire.manifest import HeadKind, Precision

PUBLISHED = "published design"
WIDE = "published, α 1.0"
PIXELS = "raw pixels"
BASELINES = (PUBLISHED, WIDE, PIXELS)
HEADS = tuple(DEFAULTS)
KINDS: tuple[str, ...] = get_args(HeadKind)
TAUGHT = ("doc", "arcface", "triplet")
FEW = 10


def slug(*facts: str | int | None) -> str:
    """A name for files and progress; what goes without saying is left out."""
    said = [str(fact) for fact in facts if fact not in (None, "float32")]
    return re.sub(r"[^a-z0-9_.]+", "-", " ".join(said).lower())


@dataclass(frozen=True, slots=True)
class Row:
    """A way to tell sneakers from boots.

    Attributes:
        method: How the encoder was taught, or a baseline's name.
        head: Its head; `auto` chooses.
        good: How many good pictures it learns from; all if None.
    """

    method: str
    head: str
    good: int | None = None
    precision: Precision = "float32"

    @property
    def name(self) -> str:
        return slug(self.method, self.head, self.good, self.precision)

    @property
    def is_baseline(self) -> bool:
        return self.method in BASELINES

    def facts(self) -> dict[str, Any]:
        return {"method": self.method, "head": self.head, "good": self.good, "precision": self.precision}


BASELINE_ROWS = (Row(PUBLISHED, "lof"), Row(PIXELS, "lof"), Row(PIXELS, "whitened knn"), Row(WIDE, "lof"))

DEFAULT = Row("frozen", "auto")
"""What a person gets who says nothing but `--size 96`."""


@dataclass(frozen=True, slots=True)
class Setting:
    """How much is run.

    Attributes:
        quick: Whether figures mean little: real parts and decoders are left to the full run.
        n_good, n_test: As `read_protocol` takes them.
        steps: Of fine-tuning; as many as each method takes by itself if None.
        n_part: Good pictures of each Fashion-MNIST class that a threshold is set from, and `n_unused` others that
            it is held against.
    """

    quick: bool
    seeds: tuple[int, ...]
    baselines: tuple[Row, ...] = BASELINE_ROWS
    heads: tuple[str, ...] = ("auto", *HEADS)
    few_heads: tuple[str, ...] = ("auto", *HEADS)
    taught: tuple[str, ...] = TAUGHT
    taught_heads: tuple[str, ...] = HEADS
    int8_heads: tuple[str, ...] = ("auto", *KINDS)
    n_reference: int = N_REFERENCE
    n_good: int | None = None
    n_test: int | None = None
    steps: int | None = None
    n_part: int = 300
    n_unused: int = 1000


FULL = Setting(quick=False, seeds=(0, 1, 2))
QUICK = Setting(
    quick=True,
    seeds=(0,),
    baselines=BASELINE_ROWS[1:3],
    heads=KINDS,
    few_heads=("padim",),
    taught=("doc",),
    taught_heads=("lof",),
    int8_heads=(),
    n_reference=160,
    n_good=240,
    n_test=150,
    steps=6,
)


def all_rows(setting: Setting) -> list[Row]:
    """The table's rows in their order."""
    return [
        *setting.baselines,
        *(Row("frozen", head) for head in setting.heads),
        *(Row(method, head) for method in setting.taught for head in setting.taught_heads),
        *(Row("frozen", head, good=FEW) for head in setting.few_heads),
        *(Row("frozen", head, precision="int8") for head in setting.int8_heads),
    ]
