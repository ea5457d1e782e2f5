"""The `lof` head beside scikit-learn's novelty LOF: `python bench/lof.py [--pictures DIR] [--json OUT]`.

A thousand references, one query at a time, as a line brings them. Features: random ones of 1,280 numbers, and
real ones that the encoder gives for rendered parts (or for the pictures of a folder, slightly turned and lit
until there are enough). The two take turns in blocks, so that what else the machine does strikes both alike, and
neither finds its references out of the cache or its cores taken by the other's threads.

Two times are shown for scikit-learn, since the type of its references decides it: float32, which is what an
encoder gives, and float64. `threads` is how many numpy's and scikit-learn's libraries may start: an agent allows
one (`kenpin_agent.threads`); `all` is what a program gets that asks for nothing.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

REFERENCES, QUERIES, WIDTH = 1000, 100, 1280
BLOCKS, BLOCK, WARM_UP = 6, 40, 10
_LIMITS = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "OPENCV_FOR_THREADS_NUM")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--pictures", type=Path, help="a folder of pictures for the real features")
    parser.add_argument("--json", type=Path, help="write the rows here too")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        print(json.dumps(measure(options.child, options.pictures)))
        return
    rows = [row for threads in ("1", "all") for row in _in_fresh_process(threads, sys.argv[1:])]
    print(f"{REFERENCES} references; medians of {BLOCKS * BLOCK} single queries, microseconds\n")
    print("features       width   k  threads  sklearn of   kenpin  sklearn   ratio   greatest difference")
    for row in rows:
        print(
            f"{row['features']:<13}{row['width']:>7}{row['k']:>4}{row['threads']:>9}  {row['references']:<10}"
            f"{row['kenpin_us']:>9.0f}{row['sklearn_us']:>9.0f}{row['ratio']:>8.1f}   {row['difference']:.1e}"
        )
    if options.json:
        options.json.write_text(json.dumps(rows, indent=2))


def measure(threads: str, pictures: Path | None) -> list[dict[str, object]]:
    """All rows of one setting of threads; the libraries read it when they are imported."""
    import numpy as np
    from sklearn.neighbors import LocalOutlierFactor

    from kenpin_agent.encoder import Features
    from kenpin_agent.heads import Lof, local_densities
    from kenpin_agent.heads.patches import PatchGaussian

    rng = np.random.default_rng(0)
    nowhere = PatchGaussian(("",), np.zeros((1, 1, 1), np.float32), np.ones((1, 1, 1), np.float32))
    rows: list[dict[str, object]] = []
    for name, features in (
        ("random", rng.standard_normal((REFERENCES + QUERIES, WIDTH)).astype(np.float32)),
        ("real", _real_features(pictures)),
    ):
        references, queries = features[:REFERENCES], features[REFERENCES:]
        seen = [Features(query, {}) for query in queries]
        for k in (5, 20):
            head = Lof(nowhere, references, *local_densities(references, k), k)
            for kind in (np.float32, np.float64):
                theirs = LocalOutlierFactor(n_neighbors=k, novelty=True).fit(references.astype(kind))
                asked = queries.astype(kind)
                difference = max(
                    abs(head.score(one) + theirs.score_samples(row[None])[0])
                    for one, row in zip(seen, asked, strict=True)
                )
                ours_us, theirs_us = _take_turns(
                    lambda i, head=head, seen=seen: head.score(seen[i]),
                    lambda i, theirs=theirs, asked=asked: theirs.score_samples(asked[i : i + 1]),
                )
                rows.append(
                    {
                        "features": name,
                        "width": references.shape[1],
                        "k": k,
                        "threads": threads,
                        "references": np.dtype(kind).name,
                        "kenpin_us": ours_us,
                        "sklearn_us": theirs_us,
                        "ratio": theirs_us / ours_us,
                        "difference": float(difference),
                    }
                )
    return rows


def _take_turns(ours: Callable[[int], object], theirs: Callable[[int], object]) -> tuple[float, float]:
    import numpy as np

    times: tuple[list[float], list[float]] = ([], [])
    for _ in range(BLOCKS):
        for action, kept in zip((ours, theirs), times, strict=True):
            time.sleep(0.2)  # for the other's threads to stop spinning
            for number in range(-WARM_UP, BLOCK):
                began_s = time.perf_counter()
                action(number % QUERIES)
                if number >= 0:
                    kept.append((time.perf_counter() - began_s) * 1e6)
    return float(np.median(times[0])), float(np.median(times[1]))


def _real_features(pictures: Path | None):  # type: ignore[no-untyped-def]  # numpy is imported late here
    import cv2
    import numpy as np

    from kenpin_agent.cameras.conveyor import render
    from kenpin_agent.pictures import list_pictures, read_picture
    from kenpin_models.samples import Eye
    from kenpin_wire.manifest import Input

    eye = Eye(Input(width=160, height=160))
    files = [read_picture(file) for file in list_pictures(pictures)] if pictures else []
    rng = np.random.default_rng(1)

    def picture(number: int) -> np.ndarray:
        if not files:
            return render(number, 0)[0]
        image = files[number % len(files)]
        height, width = image.shape[:2]
        turn = cv2.getRotationMatrix2D((width / 2, height / 2), rng.uniform(-3, 3), rng.uniform(0.97, 1.03))
        turned = cv2.warpAffine(image, turn, (width, height), borderMode=cv2.BORDER_REFLECT)
        return cv2.convertScaleAbs(turned, alpha=rng.uniform(0.93, 1.07))

    return np.stack([eye.see(picture(number)).pooled for number in range(REFERENCES + QUERIES)])


def _in_fresh_process(threads: str, arguments: list[str]) -> list[dict[str, object]]:
    environment = {name: value for name, value in os.environ.items() if name not in _LIMITS}
    if threads != "all":
        environment |= dict.fromkeys(_LIMITS, threads)
    done = subprocess.run(
        [sys.executable, __file__, *arguments, "--child", threads],
        env=environment, stdout=subprocess.PIPE, text=True, check=True,
    )  # fmt: skip
    return json.loads(done.stdout)


if __name__ == "__main__":
    main()
