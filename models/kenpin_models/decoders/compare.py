"""Compare what draws a heatmap, on pictures whose defects are known: the decoders, the patches, Grad-CAM.

`python -m kenpin_models.decoders.compare FOLDER` does so for a folder with `good`, `bad` and `masks`.
"""

# ruff: noqa: T201 (this is a command, it prints)

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean, median

import cv2
import numpy as np
from rich.console import Console

from kenpin_agent.encoder import Encoder, Features
from kenpin_agent.heatmap import upsample
from kenpin_agent.pictures import list_pictures, read_picture
from kenpin_agent.prepare import Tensor, prepare
from kenpin_agent.seams import Image, Mask
from kenpin_models.decoders import KINDS, train_decoder
from kenpin_models.decoders.gradcam import fit_gradcam
from kenpin_models.encoder_file import EncoderFile, shipped_encoder
from kenpin_models.encoders.resolve import resolve
from kenpin_models.evaluate import PIXELS_LONG_SIDE, TIMED_RUNS
from kenpin_models.explore import COPIES
from kenpin_models.fit import Fitter
from kenpin_models.metrics import Floats, aupro, pixel_auroc
from kenpin_models.progress import shown_on
from kenpin_models.recipes import PATCH_KNN
from kenpin_models.rehearse import all_features, see_good
from kenpin_models.samples import DEFAULT_SIZE_PX, Eye, Progress, Sample, choose_input, read_samples, silent

HELD_OUT = 0.4

NAMES = (*KINDS, "patch", "grad_cam")
"""What is compared, if not told otherwise: the decoders, the `patch_knn` head, and Grad-CAM on a pooled one."""


@dataclass(frozen=True, slots=True)
class DecoderRow:
    """What draws a heatmap, measured; the mean over the seeds.

    Attributes:
        pixel_auroc, aupro: Of the held-out good pictures and the bad ones that have a mask, as `evaluate` has them.
        ms: What it adds to a frame, from features to map; the median, one thread.
        encoder_ms: The encoder's bare invoke, measured in turns with it.
        parameters: Weights; for the patches, the numbers of its bank. None for Grad-CAM, which has none.
        size_bytes: Of the decoder's file, or the head's arrays in half precision.
        reconstruction_error: Mean squared error on held-out good pictures, colours 0 to 1; None if it draws none.
        train_s: What teaching took, on one machine or another.
        seeds: Pixel AUROC of each seed.
    """

    name: str
    pixel_auroc: float
    aupro: float
    ms: float
    encoder_ms: float
    parameters: int | None
    size_bytes: int | None
    reconstruction_error: float | None
    train_s: float
    seeds: tuple[float, ...]


def compare_decoders(
    folder: Path,
    *,
    names: Sequence[str] = NAMES,
    size_px: int = DEFAULT_SIZE_PX,
    seeds: Sequence[int] = (0, 1, 2),
    encoder: EncoderFile | None = None,
    progress: Progress = silent,
) -> list[DecoderRow]:
    """Compare on one set of pictures. Each seed splits the good ones anew, and everything is taught on its 60 %.

    Args:
        folder: With `good`, `bad` and `masks`, as `kenpin evaluate` takes them.
        names: Of `NAMES`.
        size_px: Of the encoder's input, as `kenpin train --size`.
        encoder: What all of them read; the shipped one if none is given.

    Raises:
        ConfigError: if a folder is missing or empty, or `kenpin[train]` is not installed.
    """
    good_paths = list_pictures(folder / "good")
    encoder = encoder or shipped_encoder()
    eye = Eye(choose_input(good_paths, size_px, encoder.stride_px), encoder, threads=1)
    good, _ = read_samples(good_paths, eye.spec, step="reading good pictures", progress=progress)
    bad = _bad(folder, eye)
    found: dict[str, list[_Found]] = {name: [] for name in names}
    for seed in seeds:
        order = np.random.default_rng(seed).permutation(len(good))
        count = round(HELD_OUT * len(good))
        held_out = [_Shown.of(good[index].image, None, eye) for index in order[:count]]
        fitted = [good[index] for index in order[count:]]
        for name in names:
            start = time.perf_counter()
            drawer = _drawer(name, eye, fitted, seed, progress)
            train_s = time.perf_counter() - start
            found[name].append(_measure(drawer, eye, held_out, bad, train_s))
    return [_row(name, runs) for name, runs in found.items() if runs]


@dataclass(frozen=True, slots=True)
class _Shown:
    """A picture, and where its defects are, at the size maps are compared at."""

    tensor: Tensor
    features: Features
    mask: Mask

    @classmethod
    def of(cls, image: Image, mask: Mask | None, eye: Eye) -> _Shown:
        scale = PIXELS_LONG_SIDE / max(image.shape)
        height, width = (max(1, round(length * scale)) for length in image.shape[:2])
        small = np.zeros((height, width), np.uint8)
        if mask is not None:
            small = np.asarray(cv2.resize(mask, (width, height), interpolation=cv2.INTER_NEAREST), np.uint8)
        return cls(prepare(image, eye.spec), eye.see(image), small)


@dataclass(frozen=True, slots=True)
class _Drawer:
    draw: Callable[[Features, Tensor], Floats]
    rebuild: Callable[[Features], Floats] | None
    parameters: int | None
    size_bytes: int | None


@dataclass(frozen=True, slots=True)
class _Found:
    drawer: _Drawer
    pixel_auroc: float
    aupro: float
    ms: float
    encoder_ms: float
    error: float | None
    train_s: float


def _bad(folder: Path, eye: Eye) -> list[_Shown]:
    masks = {path.stem: path for path in list_pictures(folder / "masks")}
    return [
        _Shown.of(read_picture(path), read_picture(masks[path.stem]).max(axis=2), eye)
        for path in list_pictures(folder / "bad")
        if path.stem in masks
    ]


def _drawer(name: str, eye: Eye, fitted: Sequence[Sample], seed: int, progress: Progress) -> _Drawer:
    kind = next((kind for kind in KINDS if kind == name), None)
    if kind is not None:
        trained = train_decoder(kind, eye, fitted, seed=seed, progress=progress)
        decoder = trained.open(eye, fitted[0].image)
        rebuild = decoder.picture if trained.gives == "picture" else None
        return _Drawer(decoder.patch_scores, rebuild, trained.parameters, len(trained.content))
    seen = see_good(fitted, eye, np.random.default_rng(seed), copies=COPIES, progress=progress)
    features = all_features(seen)
    if name == "grad_cam":
        cam = fit_gradcam(features, eye.encoder.maps[-1])
        return _Drawer(lambda found, _: cam.patch_scores(found), None, None, None)
    head = Fitter(features, eye.encoder.maps, seed).head(PATCH_KNN)
    numbers = sum(array.size for array in head.arrays().values())
    return _Drawer(lambda found, _: head.patch_scores(found), None, numbers, 2 * numbers)


def _measure(
    drawer: _Drawer, eye: Eye, held_out: Sequence[_Shown], bad: Sequence[_Shown], train_s: float
) -> _Found:
    shown = [*held_out, *bad]
    maps = [upsample(drawer.draw(one.features, one.tensor), *one.mask.shape) for one in shown]
    masks = [one.mask for one in shown]
    first = shown[0]
    encoder = Encoder(eye.encoder.file, eye.spec, eye.encoder.pooled, eye.encoder.maps)
    ms, encoder_ms = _in_turns(lambda: drawer.draw(first.features, first.tensor), encoder.invoke)
    error = None
    if drawer.rebuild is not None:
        rebuild = drawer.rebuild
        error = fmean(
            float(np.square((rebuild(one.features) - one.tensor[0]) / 255).mean()) for one in held_out
        )
    return _Found(drawer, pixel_auroc(maps, masks), aupro(maps, masks), ms, encoder_ms, error, train_s)


def _in_turns(*actions: Callable[[], object]) -> list[float]:
    """The median milliseconds of each, of this one thread: in turns, so that what else the machine does falls on all
    of them."""
    times: list[list[float]] = [[] for _ in actions]
    for _ in range(TIMED_RUNS):
        for action, spent in zip(actions, times, strict=True):
            start = time.thread_time()
            action()
            spent.append((time.thread_time() - start) * 1000)
    return [median(spent) for spent in times]


def _row(name: str, runs: Sequence[_Found]) -> DecoderRow:
    errors = [run.error for run in runs if run.error is not None]
    return DecoderRow(
        name,
        pixel_auroc=fmean(run.pixel_auroc for run in runs),
        aupro=fmean(run.aupro for run in runs),
        ms=median(run.ms for run in runs),
        encoder_ms=median(run.encoder_ms for run in runs),
        parameters=runs[0].drawer.parameters,
        size_bytes=runs[0].drawer.size_bytes,
        reconstruction_error=fmean(errors) if errors else None,
        train_s=fmean(run.train_s for run in runs),
        seeds=tuple(run.pixel_auroc for run in runs),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--size", type=int, default=DEFAULT_SIZE_PX, help="of the encoder's input")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--names", nargs="+", default=list(NAMES), choices=NAMES)
    parser.add_argument("--encoder", default="shipped", help="a name, as `kenpin train --encoder` takes it")
    given = parser.parse_args()
    with shown_on(Console(stderr=True)) as progress, tempfile.TemporaryDirectory(prefix="kenpin-") as workdir:
        rows = compare_decoders(
            given.folder,
            names=given.names,
            size_px=given.size,
            seeds=given.seeds,
            encoder=resolve(given.encoder, Path(workdir)),
            progress=progress,
        )
    print(json.dumps([asdict(row) for row in rows], indent=1))


if __name__ == "__main__":
    main()
