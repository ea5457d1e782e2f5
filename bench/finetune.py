"""Fine-tuning on the published protocol: sneakers against boots, for each method, seed and head.

    python bench/finetune.py --data DATA [--seeds 0 1 2] [--methods doc arcface triplet] [--out FILE]

With `--leave-out CLASS`, as settings are chosen: boots are not looked at; a class of the reference set is taken out
of it and judged instead, against a tenth of the sneakers that is not learnt from.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from kenpin_agent.pictures import picture_id
from kenpin_agent.seams import Image
from kenpin_models.benchmark.protocol import (
    CLASS_NAMES,
    SIZE_PX,
    Labelled,
    Pictures,
    as_image,
    read_fashion,
    read_protocol,
    write_reference,
)
from kenpin_models.encoder_file import EncoderFile
from kenpin_models.encoders.plan import parse_plan
from kenpin_models.finetune.settings import DEFAULTS, METHODS
from kenpin_models.finetune.tune import fine_tune
from kenpin_models.fit import Fitter
from kenpin_models.metrics import auroc, tpr_at_fpr
from kenpin_models.recipes import Recipe
from kenpin_models.samples import Eye
from kenpin_wire.manifest import Input

HEADS = tuple(Recipe(kind) for kind in ("lof", "cosine", "knn", "mahalanobis"))
INPUT = Input(width=SIZE_PX, height=SIZE_PX)


@dataclass(frozen=True)
class Drawn:
    """A picture that is in memory."""

    id: str
    image: Image


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="the folder that holds fashion-mnist")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--methods", nargs="+", default=METHODS, choices=METHODS)
    parser.add_argument("--encoder", default="efficientnet-lite0")
    parser.add_argument("--leave-out", choices=CLASS_NAMES)
    parser.add_argument("--set", nargs="*", default=[], metavar="NAME=VALUE", help="of the settings")
    parser.add_argument("--out", type=Path, help="a line of JSON is added for each run")
    given = parser.parse_args()
    for seed in given.seeds:
        with tempfile.TemporaryDirectory(prefix="kenpin-") as scratch:
            reference, good, test_good, test_bad = pictures(
                given.data / "fashion-mnist", seed, given.leave_out
            )
            folder = write_reference(reference, Path(scratch) / "reference")
            for method in given.methods:
                row = run(given, method, seed, good, reference=folder, workdir=Path(scratch))
                row |= judge(row.pop("encoder"), seed, good, test_good, test_bad)
                print(json.dumps(row), flush=True)
                if given.out:
                    with given.out.open("a") as file:
                        file.write(json.dumps(row) + "\n")


def pictures(folder: Path, seed: int, left_out: str | None) -> tuple[Labelled, Pictures, Pictures, Pictures]:
    """Reference, good, and those to judge: good and bad."""
    protocol = read_protocol(folder, seed)
    if left_out is None:
        return protocol.reference, protocol.good, protocol.test_good, protocol.test_bad
    label = CLASS_NAMES.index(left_out)
    others = [c for c in range(len(CLASS_NAMES)) if c != label]
    order = np.random.default_rng(seed).permutation(len(protocol.good))
    bad = read_fashion(folder, "t10k").of(label).pictures
    return protocol.reference.of(*others), protocol.good[order[600:]], protocol.good[order[:600]], bad


def run(
    given: argparse.Namespace, method: Any, seed: int, good: Pictures, *, reference: Path, workdir: Path
) -> dict[str, Any]:
    words = dict(word.split("=", 1) for word in given.set)
    settings = replace(DEFAULTS[method], **{name: json.loads(value) for name, value in words.items()})
    images = [as_image(picture) for picture in good]
    target = [Drawn(picture_id(image), image) for image in images]
    cpu_s = time.process_time()
    tuned = fine_tune(
        method,
        parse_plan(given.encoder),
        target,
        reference,
        INPUT,
        workdir=workdir,
        seed=seed,
        settings=settings,
    )
    return {
        "method": method,
        "seed": seed,
        "leave_out": given.leave_out,
        "plan": given.encoder,
        "set": given.set,
        "seconds": round(tuned.taught.seconds, 1),
        "cpu_s": round(time.process_time() - cpu_s, 1),
        "best_step": tuned.taught.curves.best_step,
        "held_out_loss": [round(r.held_out_loss, 4) for r in tuned.taught.curves.rounds],
        "size_bytes": tuned.encoder.file.stat().st_size,
        "encoder": tuned.encoder,
    }


def judge(
    encoder: EncoderFile, seed: int, good: Pictures, test_good: Pictures, test_bad: Pictures
) -> dict[str, Any]:
    """AUROC, and TPR at 1 % FPR, of each head."""
    eye = Eye(INPUT, encoder, threads=1)
    seen, normal, odd = ([eye.see(as_image(p)) for p in many] for many in (good, test_good, test_bad))
    found = {}
    fitter = Fitter(seen, encoder.maps, seed)
    for recipe in HEADS:
        head = fitter.head(recipe)
        scores = [[head.score(features) for features in many] for many in (normal, odd)]
        found[recipe.kind] = [round(auroc(*scores), 4), round(tpr_at_fpr(*scores, 0.01), 3)]
    return found


if __name__ == "__main__":
    main()
