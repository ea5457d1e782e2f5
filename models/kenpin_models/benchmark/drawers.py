"""What draws a heatmap, side by side: the published decoders, Kenpin's own, the heads' patches and Grad-CAM."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path

from kenpin_agent.pictures import list_pictures
from kenpin_models.benchmark.lab import Lab
from kenpin_models.benchmark.protocol import SIZE_PX
from kenpin_models.benchmark.rows import slug
from kenpin_models.benchmark.store import Result, code_hash
from kenpin_models.decoders.compare import NAMES, compare_decoders

PARTS = "cookie"
"""The set that has masks."""


@dataclass(frozen=True, slots=True)
class Drawer:
    """Attributes:
    kind: Of `decoders.compare.NAMES`.
    size_px: The encoder's input, as `kenpin train --size`; here as published.
    """

    kind: str
    size_px: int = SIZE_PX

    @property
    def name(self) -> str:
        return slug("decoder", self.kind, self.size_px)


def all_drawers() -> list[Drawer]:
    return [Drawer(kind) for kind in NAMES]


def measure(drawer: Drawer, seed: int, lab: Lab) -> Result:
    """A `DecoderRow` of one seed."""
    folder: Path = lab.data / PARTS
    facts = asdict(drawer) | {
        "seed": seed,
        "files": [(file.name, file.stat().st_size) for file in list_pictures(folder / "good")],
        "code": code_hash("kenpin_models.fit")
        if drawer.kind == "patch"
        else code_hash(
            "kenpin_models.decoders",
            without=("kenpin_models.rehearse", "kenpin_agent.release", "kenpin_agent.heads"),
        ),
    }

    def make() -> Result:
        (row,) = compare_decoders(
            folder, names=[drawer.kind], size_px=drawer.size_px, seeds=[seed], progress=lab.progress
        )
        return asdict(row)

    return lab.store.result(f"{drawer.name}-s{seed}", facts, make)
