"""Evaluate a release on pictures whose truth is known, with the agent's own code and the release as it is."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from rich.console import Console
from threadpoolctl import threadpool_limits

from kenpin_agent.heatmap import upsample
from kenpin_agent.judge import Judge, JudgeState, judge
from kenpin_agent.pictures import list_pictures, picture_id, read_picture
from kenpin_agent.prepare import prepare
from kenpin_agent.release import Release, check_golden, load_release, unpack_release
from kenpin_agent.seams import Image, Mask
from kenpin_models.metrics import Floats, aupro, auroc, pixel_auroc, share_above, tpr_at_fpr
from kenpin_models.progress import shown_on
from kenpin_models.samples import Progress
from kenpin_wire.errors import ConfigError, PictureError, ReleaseError, os_words

PIXELS_LONG_SIDE = 256
"""Masks and maps are compared at this size, as is usual (anomalib's default); a map is 24 patches wide."""

TIMED_RUNS = 30


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What was found. None where it could not be measured.

    Attributes:
        image_auroc: The chance that a bad picture scores above a good one.
        tpr_at_1pct_fpr: The share of bad ones found where 1 % of the good ones are rejected.
        fpr_at_threshold, recall_at_threshold: Good ones rejected, bad ones found at the release's own threshold.
        pixel_auroc, aupro: Over all pixels of the good pictures and of the bad ones that have a mask; AUPRO up
            to 30 % false positives.
        encoder_ms: The encoder's bare invoke; the median of 30, one thread.
        frame_ms: From a frame in memory to its verdict, alike.
        size_bytes: Of the release's file.
        n_good, n_bad: Pictures that count; `n_masks` of the bad ones have a mask.
        n_fitted_excluded: Good pictures left out because the release was fitted on them.
        n_calibrated: Of the good ones that count, those that the threshold was set with.
        warnings: A line for each picture that could not be read.
    """

    image_auroc: float
    tpr_at_1pct_fpr: float
    fpr_at_threshold: float
    recall_at_threshold: float
    pixel_auroc: float | None
    aupro: float | None
    encoder_ms: float
    frame_ms: float
    size_bytes: int
    n_good: int
    n_bad: int
    n_masks: int
    n_fitted_excluded: int
    n_calibrated: int
    warnings: tuple[str, ...] = ()


def evaluate(
    file: Path, good: Path, bad: Path, masks: Path | None = None, *, console: Console | None = None
) -> Evaluation:
    """Evaluate a release. Pictures that it was fitted on are known by their pixels and never counted.

    Args:
        masks: A folder of pictures named as the bad ones (but for the suffix), above 0 where the defect is. A bad
            picture without one does not count for pixels.

    Raises:
        ConfigError: if a folder is missing or empty, or no good picture is left.
        ReleaseError: if the file is no sound release, or does not give its golden scores here.
        PictureError: if a mask cannot be read or is of another shape than its picture.
    """
    if not file.is_file():
        raise ConfigError("no such file", where=str(file), remedy="Give a release made by `kenpin train`.")
    good_paths, bad_paths = list_pictures(good), list_pictures(bad)
    mask_paths = {path.stem: path for path in list_pictures(masks)} if masks else {}
    with tempfile.TemporaryDirectory(prefix="kenpin-") as folder:
        release = _open(file, Path(folder) / "release")
        check_golden(release)
    with shown_on(console) as progress:
        fitted = frozenset(release.manifest.fitted_on)
        good_shown, good_warnings = _show(release, good_paths, "scoring good pictures", fitted, progress)
        bad_shown, bad_warnings = _show(release, bad_paths, "scoring bad pictures", fitted, progress)
        n_excluded = len(good_paths) - len(good_shown) - len(good_warnings)
        _check_left(good_shown, good, n_excluded)
        _check_left(bad_shown, bad, len(bad_paths) - len(bad_shown) - len(bad_warnings))
        with threadpool_limits(1, user_api="blas"):
            encoder_ms, frame_ms = _time(release, read_picture(bad_shown[0].path))
    good_scores, bad_scores = [s.score for s in good_shown], [s.score for s in bad_shown]
    pixels = _pixels(good_shown, bad_shown, mask_paths) if mask_paths else None
    threshold = release.manifest.calibration.threshold
    calibrated = frozenset(release.manifest.calibrated_on)
    return Evaluation(
        image_auroc=auroc(good_scores, bad_scores),
        tpr_at_1pct_fpr=tpr_at_fpr(good_scores, bad_scores, 0.01),
        fpr_at_threshold=share_above(good_scores, threshold),
        recall_at_threshold=share_above(bad_scores, threshold),
        pixel_auroc=pixel_auroc(pixels.maps, pixels.masks) if pixels else None,
        aupro=aupro(pixels.maps, pixels.masks) if pixels else None,
        encoder_ms=encoder_ms,
        frame_ms=frame_ms,
        size_bytes=file.stat().st_size,
        n_good=len(good_shown),
        n_bad=len(bad_shown),
        n_masks=pixels.count if pixels else 0,
        n_fitted_excluded=n_excluded,
        n_calibrated=sum(shown.id in calibrated for shown in good_shown),
        warnings=(*good_warnings, *bad_warnings),
    )


@dataclass(frozen=True, slots=True)
class _Shown:
    path: Path
    id: str
    shape: tuple[int, int]
    score: float
    patch_scores: Floats


@dataclass(frozen=True, slots=True)
class _Pixels:
    maps: list[Floats]
    masks: list[Mask]
    count: int


def _open(file: Path, folder: Path) -> Release:
    try:
        unpack_release(file, folder)
    except OSError as error:
        raise ReleaseError(
            f"cannot be unpacked ({os_words(error)})", where=str(file), remedy="Check the file and the disk."
        ) from None
    return load_release(folder)


def _show(
    release: Release, paths: Sequence[Path], step: str, fitted: frozenset[str], progress: Progress
) -> tuple[list[_Shown], list[str]]:
    shown, warnings = [], []
    for done, path in enumerate(paths):
        progress(step, done, len(paths))
        try:
            image = read_picture(path)
        except PictureError as error:
            warnings.append(f"left out: {error}")
            continue
        identity = picture_id(image)
        if identity in fitted:
            continue
        picture = prepare(image, release.manifest.input)
        features = release.encoder.encode(picture)
        found = release.head.assess(features)
        patches = release.patch_scores(picture, features, found)
        shown.append(_Shown(path, identity, (image.shape[0], image.shape[1]), found.score, patches))
    progress(step, len(paths), len(paths))
    return shown, warnings


def _check_left(shown: Sequence[_Shown], folder: Path, excluded: int) -> None:
    if shown:
        return
    if excluded:
        raise ConfigError(
            f"the release was fitted on all {excluded} of its pictures",
            where=str(folder),
            remedy="Give pictures that it has not seen, or train with `--holdout 0.4`.",
        )
    raise ConfigError(
        "none of its pictures can be read", where=str(folder), remedy="Save them again as JPEG or PNG."
    )


def _pixels(good: Sequence[_Shown], bad: Sequence[_Shown], mask_paths: dict[str, Path]) -> _Pixels:
    """Maps and masks at the size they are compared at."""
    maps, masks, count = [], [], 0
    for shown in (*good, *bad):
        scale = PIXELS_LONG_SIDE / max(shown.shape)
        height, width = (max(1, round(length * scale)) for length in shown.shape)
        mask = np.zeros((height, width), np.uint8)
        if shown in bad:
            if shown.path.stem not in mask_paths:
                continue
            full = _read_mask(mask_paths[shown.path.stem], shown)
            mask = np.asarray(cv2.resize(full, (width, height), interpolation=cv2.INTER_NEAREST), np.uint8)
            count += 1
        maps.append(upsample(shown.patch_scores, height, width))
        masks.append(mask)
    if not any(mask.any() for mask in masks):
        where = str(next(iter(mask_paths.values())).parent)
        raise ConfigError(
            "no mask has the name of a bad picture, or all are empty",
            where=where,
            remedy="Name a mask as its picture, and draw the defect in white.",
        )
    return _Pixels(maps, masks, count)


def _read_mask(path: Path, shown: _Shown) -> Mask:
    mask = read_picture(path).max(axis=2)
    if mask.shape != shown.shape:
        raise PictureError(
            f"a mask of {mask.shape[1]} × {mask.shape[0]} for a picture of {shown.shape[1]} × {shown.shape[0]}",
            where=str(path),
            remedy=f"Draw it at the size of {shown.path.name}.",
        )
    return np.asarray(mask, dtype=np.uint8)


def _time(release: Release, image: Image) -> tuple[float, float]:
    """Milliseconds of the encoder's invoke, and from frame to verdict."""
    by = Judge(release.manifest.calibration.threshold)

    def frame() -> None:
        features = release.encoder.encode(prepare(image, release.manifest.input))
        judge(by, JudgeState(), release.head.score(features))

    # In turns, so that whatever else the machine does strikes both alike.
    runs = [(_ms(release.encoder.invoke), _ms(frame)) for _ in range(TIMED_RUNS)]
    encoder_ms, frame_ms = np.median(runs, axis=0)
    return float(encoder_ms), float(frame_ms)


def _ms(action: Callable[[], None]) -> float:
    """In the processor's time of this one thread: what others take of a busy machine does not count."""
    start = time.thread_time()
    action()
    return (time.thread_time() - start) * 1000
