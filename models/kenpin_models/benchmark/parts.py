"""Real parts, through `kenpin train` and `kenpin evaluate` as a person runs them, and thresholds held against good
pictures that nothing has ever seen."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from kenpin_agent.pictures import list_pictures
from kenpin_models.benchmark.accuracy import scores_of, training_code
from kenpin_models.benchmark.lab import Lab
from kenpin_models.benchmark.protocol import CLASS_NAMES, SIZE_PX, Pictures, read_fashion, write_pictures
from kenpin_models.benchmark.rows import FEW, KINDS, slug
from kenpin_models.benchmark.store import Result, code_hash
from kenpin_models.evaluate import evaluate
from kenpin_models.extras import need
from kenpin_models.metrics import share_above
from kenpin_models.train import train
from kenpin_models.wishes import Wishes
from kenpin_wire.manifest import Precision

SETS = ("aliens", "cookie")
FALSE_REJECTS = 0.01
FIGURES = (
    "image_auroc",
    "tpr_at_1pct_fpr",
    "fpr_at_threshold",
    "recall_at_threshold",
    "pixel_auroc",
    "aupro",
    "encoder_ms",
    "frame_ms",
    "size_bytes",
)
"""Of `kenpin evaluate`, those that are shown."""


@dataclass(frozen=True, slots=True)
class Trial:
    """One way to train on a set of real parts. Attributes as `rows.Row`'s."""

    set: str
    head: str
    good: int | None = None
    precision: Precision = "float32"

    @property
    def name(self) -> str:
        return slug(self.set, self.head, self.good, self.precision)


@dataclass(frozen=True, slots=True)
class Lot:
    """One class of Fashion-MNIST, taken for a part."""

    name: str


def all_lots() -> list[Lot]:
    return [Lot(name) for name in CLASS_NAMES]


def all_trials() -> list[Trial]:
    """Every head from most of the good pictures; what a person gets who names none also from a few, and in int8."""
    return [
        *(Trial(name, head) for name in SETS for head in ("auto", *KINDS)),
        *(Trial(name, "auto", good=FEW) for name in SETS),
        *(Trial(name, "auto", precision="int8") for name in SETS),
    ]


def measure(trial: Trial, seed: int, lab: Lab) -> Result:
    """What `kenpin evaluate` gives, and `head`: the one that was chosen. Pictures that were fitted on don't count,
    and are others with each seed."""
    folder = lab.data / trial.set
    files = [(file.name, file.stat().st_size) for file in list_pictures(folder / "good")]
    facts = asdict(trial) | {
        "seed": seed,
        "files": files,
        "code": training_code() + code_hash("kenpin_models.evaluate"),
    }
    return lab.store.result(f"part-{trial.name}-s{seed}", facts, lambda: _make(trial, seed, folder))


def measure_rejects(lot: Lot, seed: int, lab: Lab) -> Result:
    """`rejected`, the share of good pictures that were never used above the threshold; `n`, how many those are;
    `calibrated_on`; `head`; and `note`, what the tool says of its promise."""
    setting = lab.setting
    facts = {
        "class": lot.name,
        "seed": seed,
        "good": setting.n_part,
        "unused": setting.n_unused,
        "code": training_code(),
    }
    return lab.store.result(f"rejects-{lot.name}-s{seed}", facts, lambda: _make_rejects(lot.name, seed, lab))


def _make(trial: Trial, seed: int, folder: Path) -> Result:
    if trial.precision == "int8":
        need("ai_edge_quantizer", for_what="int8")
    masks = folder / "masks"
    with tempfile.TemporaryDirectory(prefix="kenpin-") as scratch:
        good, holdout = folder / "good", 0.4
        if trial.good:
            files = list_pictures(good)
            chosen = np.random.default_rng(seed).permutation(len(files))[: trial.good]
            good, holdout = _linked([files[i] for i in chosen], Path(scratch) / "good"), 0.0
        file = Path(scratch) / f"{trial.set}.kenpin"
        quantize = "int8" if trial.precision == "int8" else "none"
        wishes = Wishes(head=trial.head, holdout=holdout, seed=seed, quantize=quantize)
        result = train(good, file, wishes, version="1")
        found = evaluate(file, folder / "good", folder / "bad", masks if masks.is_dir() else None)
    figures = asdict(found)
    del figures["warnings"]
    return figures | {"head": result.manifest.head.kind}


def _make_rejects(name: str, seed: int, lab: Lab) -> Result:
    pictures = read_fashion(lab.data / "fashion-mnist", "train").of(CLASS_NAMES.index(name)).pictures
    order = np.random.default_rng(seed).permutation(len(pictures))
    n_part, n_unused = lab.setting.n_part, lab.setting.n_unused
    with tempfile.TemporaryDirectory(prefix="kenpin-") as scratch:
        good = write_pictures(pictures, Path(scratch) / "good", order[:n_part].tolist())
        file = Path(scratch) / f"{name}.kenpin"
        wishes = Wishes(size=SIZE_PX, false_rejects=FALSE_REJECTS, seed=seed)
        result = train(good, file, wishes, version="1")
        unused: Pictures = pictures[order[n_part : n_part + n_unused]]
        scores = scores_of(file, unused)
    calibration = result.manifest.calibration
    return {
        "rejected": share_above(scores, calibration.threshold),
        "n": len(unused),
        "calibrated_on": len(calibration.scores),
        "head": result.manifest.head.kind,
        "note": calibration.note,
    }


def _linked(files: Sequence[Path], folder: Path) -> Path:
    folder.mkdir()
    for file in files:
        (folder / file.name).symlink_to(file.resolve())
    return folder
