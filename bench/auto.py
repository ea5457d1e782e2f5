"""What `kenpin train` makes of sets of pictures: `python bench/auto.py SET_DIR... [--heads auto,padim] [--seeds 3]`.

A SET_DIR has the folders good, bad and, for the pixels' figures, masks. Each set is trained on and evaluated in this
process, once for each head and seed, and a Markdown table is printed with the means over the seeds.

    python bench/auto.py $KENPIN_DATA/aliens $KENPIN_DATA/cookie             what `auto` reaches
    python bench/auto.py SET_DIR --few 10                                    from ten good pictures
    python bench/auto.py SET_DIR --unseen 0.4                                false rejects of pictures never used
    python bench/auto.py SET_DIR --heads auto,padim --sizes 160,320          what `auto` could have chosen

`evaluate` counts the held-out good pictures, and those have set the threshold. With `--few` or `--unseen` only
good pictures count that training was never shown.
"""

from __future__ import annotations

import os

os.environ.setdefault(
    "OMP_NUM_THREADS", "1"
)  # before numpy: the work is small, and other cores have their own

import argparse
import json
import sys
import tempfile
import time
from collections import Counter
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import numpy as np

from kenpin_agent.pictures import list_pictures
from kenpin_models.evaluate import evaluate
from kenpin_models.train import train
from kenpin_models.wishes import Wishes
from kenpin_wire.manifest import Input


@dataclass(frozen=True)
class Run:
    """One training and what it reached."""

    set: str
    asked: str
    seed: int
    head: str
    input: str
    trained_on: int
    n_good: int
    n_bad: int
    image_auroc: float
    tpr_at_1pct_fpr: float
    fpr_at_threshold: float
    recall_at_threshold: float
    pixel_auroc: float | None
    aupro: float | None
    encoder_ms: float
    frame_ms: float
    size_mb: float
    train_s: float


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("sets", type=Path, nargs="+", metavar="SET_DIR")
    parser.add_argument("--heads", default="auto", help="names with commas between; default auto")
    parser.add_argument("--sizes", default="", help="`--size` of the training, alike; default its own")
    parser.add_argument("--seeds", type=int, default=3, help="how many; default 3")
    parser.add_argument("--few", type=int, default=0, help="train on so many of the good pictures")
    parser.add_argument(
        "--unseen", type=float, default=0, help="a share of the good pictures to judge by alone"
    )
    parser.add_argument("--false-rejects", type=float, default=0.01)
    parser.add_argument("--json", type=Path, help="write each run here too")
    options = parser.parse_args()
    sizes = [int(size) for size in options.sizes.split(",") if size] or [None]
    runs: list[Run] = []
    print(_HEADING, flush=True)
    for folder in options.sets:
        for head in options.heads.split(","):
            for size in sizes:
                of_row = [_run(folder, head, size, seed, options) for seed in range(options.seeds)]
                print(_row(of_row), flush=True)
                runs += of_row
                if options.json:
                    options.json.write_text(json.dumps([asdict(run) for run in runs], indent=1))


def _run(folder: Path, head: str, size: int | None, seed: int, options: argparse.Namespace) -> Run:
    masks = folder / "masks"
    with tempfile.TemporaryDirectory(prefix="kenpin-auto-") as place:
        shown, judged = _parts(folder / "good", Path(place), options.few, options.unseen, seed)
        file = Path(place) / "release-1.kenpin"
        start = time.perf_counter()
        result = train(
            shown, file, Wishes(head=head, size=size, false_rejects=options.false_rejects, seed=seed)
        )
        train_s = time.perf_counter() - start
        found = evaluate(file, judged, folder / "bad", masks if masks.is_dir() else None)
        trained_on = len(list_pictures(shown))
    known = {field.name for field in fields(Run)}
    return Run(
        set=folder.name,
        asked=head if size is None else f"{head} {size}",
        seed=seed,
        head=result.manifest.head.kind,
        input=_told(result.manifest.input),
        trained_on=trained_on,
        size_mb=found.size_bytes / 1e6,
        train_s=train_s,
        **{key: value for key, value in asdict(found).items() if key in known},
    )


def _parts(good: Path, place: Path, few: int, unseen: float, seed: int) -> tuple[Path, Path]:
    """A folder to train on and one to judge by: the same one, unless some pictures shall be kept apart."""
    if not few and not unseen:
        return good, good
    paths = list_pictures(good)
    count = few or len(paths) - round(unseen * len(paths))
    if not 0 < count < len(paths):
        sys.exit(
            f"{good}: {count} of its {len(paths)} pictures cannot be trained on and some left to judge by"
        )
    chosen = set(np.random.default_rng([seed, 1]).permutation(len(paths))[:count].tolist())
    for name in ("shown", "judged"):
        (place / name).mkdir()
    for index, path in enumerate(paths):
        (place / ("shown" if index in chosen else "judged") / path.name).symlink_to(path.resolve())
    return place / "shown", place / "judged"


def _told(spec: Input) -> str:
    tiles = f", {spec.tiles.columns} × {spec.tiles.rows} tiles" if spec.tiles else ""
    return f"{spec.width} × {spec.height}{tiles}"


_HEADING = (
    "| set | good, bad | asked | head, input | AUROC (least) | TPR at 1 % FPR | false rejects | recall "
    "| pixel AUROC | AUPRO | frame ms (encoder) | training s |\n" + "|---" * 12 + "|"
)


def _row(runs: list[Run]) -> str:
    def mean(name: str, form: str = ".3f") -> str:
        values = [getattr(run, name) for run in runs]
        return "–" if None in values else format(float(np.mean(values)), form)

    chosen = Counter(f"{run.head} at {run.input}" for run in runs).most_common()
    cells = (
        runs[0].set,
        f"{runs[0].trained_on}, {runs[0].n_bad}",
        runs[0].asked,
        "; ".join(words if len(chosen) == 1 else f"{times}: {words}" for words, times in chosen),
        f"{mean('image_auroc')} ({min(run.image_auroc for run in runs):.3f})",
        mean("tpr_at_1pct_fpr"),
        mean("fpr_at_threshold", ".2%"),
        mean("recall_at_threshold"),
        mean("pixel_auroc"),
        mean("aupro"),
        f"{mean('frame_ms', '.1f')} ({mean('encoder_ms', '.1f')})",
        mean("train_s", ".0f"),
    )
    return "| " + " | ".join(cells) + " |"


if __name__ == "__main__":
    main()
