"""What int8 costs: `python bench/int8.py SET_DIR ... [--encoder shipped] [--size 160] [--seeds 3]`.

Each SET_DIR has `good` and `bad`. Of the good pictures 60 % are fitted on, and the encoder is brought to int8 with
those; the others and the bad ones are scored. The same split, heads and pictures with both encoders; the mean of
the seeds. Prints a Markdown table.
"""

from __future__ import annotations

import argparse
import tempfile
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from kenpin_agent.encoder import Features
from kenpin_agent.pictures import list_pictures
from kenpin_agent.prepare import prepare
from kenpin_models.encoder_file import EncoderFile
from kenpin_models.encoders.parity import Floats, open_encoder
from kenpin_models.encoders.quantize import quantize
from kenpin_models.encoders.resolve import resolve
from kenpin_models.fit import Fitter
from kenpin_models.metrics import auroc
from kenpin_models.recipes import Recipe
from kenpin_models.samples import choose_input, read_samples
from kenpin_wire.manifest import HeadKind

HEADS: tuple[HeadKind, ...] = ("lof", "knn", "cosine", "mahalanobis", "padim", "patch_knn")
FITTED = 0.6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("sets", nargs="+", type=Path)
    parser.add_argument("--encoder", default="shipped")
    parser.add_argument("--size", type=int, default=160)
    parser.add_argument("--seeds", type=int, default=3)
    arguments = parser.parse_args()
    print("| set | head | float32 | int8 | difference |\n|---|---|---|---|---|")
    costs = []
    with tempfile.TemporaryDirectory(prefix="kenpin-") as folder:
        encoder = resolve(arguments.encoder, Path(folder))
        for each in arguments.sets:
            costs.append(compare_set(each, encoder, arguments.size, arguments.seeds, Path(folder)))
    print(
        "\n| set | invoke float32, ms | int8, ms | worst output's relative error | size |\n|---|---|---|---|---|"
    )
    print("\n".join(costs))


def compare_set(folder: Path, encoder: EncoderFile, size_px: int, seeds: int, workdir: Path) -> str:
    """Print a row for each head; return the row of what it costs."""
    good_paths = list_pictures(folder / "good")
    spec = choose_input(good_paths, size_px, encoder.stride_px)
    good, bad = (
        [
            prepare(sample.image, spec)
            for sample in read_samples(list_pictures(folder / kind), spec, step="")[0]
        ]
        for kind in ("good", "bad")
    )
    found = defaultdict(list)
    errors, times = [], []
    for seed in range(seeds):
        order = np.random.default_rng(seed).permutation(len(good))
        count = round(FITTED * len(good))
        fitted, held_out = order[:count], order[count:]
        small, parity = quantize(encoder, (good[i] for i in fitted), workdir / f"{folder.name}-{seed}.tflite")
        errors.append(parity.relative)
        times.append(parity.invoke_ms)
        for precision, file in (("float32", encoder), ("int8", small)):
            seen_good, seen_bad = see(file, good), see(file, bad)
            fitter = Fitter([seen_good[i] for i in fitted], file.maps, seed)
            for kind in HEADS:
                head = fitter.head(Recipe(kind))
                scores = [head.score(seen_good[i]) for i in held_out]
                found[kind, precision].append(auroc(scores, [head.score(features) for features in seen_bad]))
    for kind in HEADS:
        exact, rounded = (float(np.mean(found[kind, precision])) for precision in ("float32", "int8"))
        print(
            f"| {folder.name} | {kind} | {exact:.4f} | {rounded:.4f} | {rounded - exact:+.4f} |", flush=True
        )
    before, after = np.median(times, axis=0)
    sizes = f"{encoder.file.stat().st_size / 1e6:.2f} → {small.file.stat().st_size / 1e6:.2f} MB"
    return f"| {folder.name} | {before:.2f} | {after:.2f} | {np.mean(errors):.3f} | {sizes} |"


def see(encoder: EncoderFile, tensors: Sequence[Floats]) -> list[Features]:
    run = open_encoder(encoder, tensors[0].shape)
    return [run.encode(tensor) for tensor in tensors]


if __name__ == "__main__":
    main()
