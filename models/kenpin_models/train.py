"""Train a release: read, split, look, (rehearse, select,) fit, calibrate, bundle."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version as version_of
from pathlib import Path

import numpy as np
from pydantic import ValidationError
from rich.console import Console
from threadpoolctl import threadpool_limits

from kenpin_agent.encoder import Features
from kenpin_agent.pictures import list_pictures, shrink
from kenpin_agent.seams import Image
from kenpin_models.bundle import Content, write_release
from kenpin_models.calibrate import calibrate
from kenpin_models.fit import Fitter
from kenpin_models.progress import shown_on
from kenpin_models.recipes import AUTO, recipe_for
from kenpin_models.rehearse import MAX_PICTURES, all_features, paint, rehearse, see_good
from kenpin_models.samples import (
    DEFAULT_SIZE_PX,
    Eye,
    Progress,
    Sample,
    choose_input,
    read_samples,
)
from kenpin_models.select import Selection, select
from kenpin_models.synthetic import Kind, add_defect
from kenpin_wire.errors import ConfigError, PictureError
from kenpin_wire.manifest import Manifest
from kenpin_wire.messages import ReleaseName

MIN_GOOD = 3
"""Two to fit on, and one that they have not seen."""

FEW = 200
"""Up to as many pictures, heads are also fitted on nudged copies; more show the part's play themselves."""

COPIES = 3


@dataclass(frozen=True, slots=True)
class TrainResult:
    """A release and how it came about.

    Attributes:
        selection: The heads that were tried, best first; None if the head was given.
        warnings: A line for each picture that was left out, and what the calibration's note says.
    """

    file: Path
    manifest: Manifest
    selection: Selection | None
    warnings: tuple[str, ...]


def train(
    good: Path,
    out: Path,
    *,
    method: str = "frozen",
    head: str = "auto",
    size: int | None = None,
    bad: Path | None = None,
    false_rejects: float = 0.01,
    holdout: float = 0.4,
    seed: int = 0,
    name: str | None = None,
    version: str | None = None,
    console: Console | None = None,
) -> TrainResult:
    """Make a release from good pictures.

    Args:
        good: A folder of pictures of good parts.
        out: The release's file; one that is there is replaced once the new one is complete.
        method: How the encoder is taught; `frozen` takes it as it is.
        head: A head's name, or `auto` for the one that rehearses best.
        size: The encoder's input has as many pixels as a square of this, in the pictures' own proportions.
        bad: A folder of bad parts. They help to choose a head; nothing is fitted to them.
        false_rejects: The share of good parts that may be rejected.
        holdout: The share of good pictures that is not fitted on, for calibration and `evaluate`.
        seed: The same pictures and seed make the same release, but for its time.
        name, version: Of the release; by default as the file's name says, `NAME-VERSION.kenpin`, and where it
            says no version, the time.
        console: Where progress is shown.

    Raises:
        ConfigError: if an argument cannot be, a folder is missing, or too few pictures can be read.
    """
    _check(method, head, false_rejects, holdout)
    _check_place(out)
    label = release_name(out, name, version)
    paths = list_pictures(good)
    spec = choose_input(paths, DEFAULT_SIZE_PX if size is None else size)
    eye = Eye(spec)
    maps = eye.encoder.maps
    rng = np.random.default_rng(seed)
    # One thread: the products here are small, and handing them round costs more (34 s instead of 11, two busy
    # cores, measured).
    with shown_on(console) as progress, threadpool_limits(1, user_api="blas"):
        samples, warnings = read_samples(paths, spec, step="reading good pictures", progress=progress)
        _check_enough(samples, good)
        bad_features, more_warnings = _see_bad(bad, samples, eye, progress)
        fitted, held_out = _split(samples, holdout, rng)
        copies = COPIES if len(fitted) <= FEW else 0
        seen = see_good(fitted, eye, rng, copies=copies, progress=progress)
        held_out_seen = see_good(held_out, eye, rng, copies=0, progress=progress)

        chosen = np.sort(rng.permutation(len(fitted))[:MAX_PICTURES])
        rehearsed_on = [seen[i] for i in chosen]
        recipes = AUTO if head == "auto" else (recipe_for(head),)
        painted = paint([fitted[i] for i in chosen], eye, rng, progress=progress) if head == "auto" else []
        rehearsed = rehearse(recipes, maps, rehearsed_on, painted, bad_features, seed=seed, progress=progress)
        selection = select(rehearsed) if head == "auto" else None
        recipe = selection.recipe if selection else recipes[0]

        spreads = {member: rehearsed[member].spread for member in recipe.members}
        fitted_head = Fitter(all_features(seen), maps, seed).head(recipe, spreads)
        calibration, heatmap = calibrate(fitted_head, held_out_seen, rehearsed[recipe], false_rejects)
    warnings += more_warnings + ([calibration.note] if calibration.note else [])
    report = {
        "arguments": {
            "method": method,
            "head": head,
            "size": size,
            "false_rejects": false_rejects,
            "holdout": holdout,
            "seed": seed,
            "bad": len(bad_features),
        },
        "pictures": {"fitted": len(fitted), "held_out": len(held_out)},
        "candidates": selection.as_report() if selection else [],
        "warnings": warnings,
        "kenpin": version_of("kenpin"),
    }
    content = Content(
        name=label,
        head=fitted_head,
        calibration=calibration,
        heatmap=heatmap,
        golden=_golden(held_out or fitted, eye, rng),
        fitted_on=sorted(sample.id for sample in fitted),
        calibrated_on=sorted(sample.id for sample in held_out),
        report=report,
    )
    manifest = write_release(out, content, eye)
    return TrainResult(out, manifest, selection, tuple(warnings))


def slug(words: str) -> str:
    """A release's name from any words: what can be none of it becomes `-`."""
    return re.sub(r"[^a-z0-9]+", "-", words.lower()).strip("-")[:48].strip("-") or "release"


def _check(method: str, head: str, false_rejects: float, holdout: float) -> None:
    if method != "frozen":
        later = method in ("doc", "arcface", "triplet")
        raise ConfigError(
            f"no method {method!r}" + (" in this version" if later else ""),
            where="--method",
            remedy="Use frozen. Fine-tuning comes with a later version, as kenpin[train]."
            if later
            else "Use frozen.",
        )
    if head != "auto":
        recipe_for(head)
    if not 0 < false_rejects < 1:
        raise ConfigError(
            f"a rate of {false_rejects:g}", where="--false-rejects", remedy="Use a share, such as 0.01."
        )
    if not 0 <= holdout < 1:
        raise ConfigError(f"a share of {holdout:g}", where="--holdout", remedy="Use 0 to 0.9, such as 0.4.")


def _check_place(out: Path) -> None:
    """Before the work, not after it."""
    if out.is_dir() or not out.parent.is_dir():
        what = "is a folder" if out.is_dir() else f"there is no folder {out.parent}"
        raise ConfigError(what, where=str(out), remedy="Give a file in a folder that exists.")
    if not os.access(out.parent, os.W_OK):
        raise ConfigError(
            "its folder cannot be written", where=str(out), remedy="Give a file in a folder that can be."
        )


def release_name(out: Path, name: str | None = None, version: str | None = None) -> ReleaseName:
    """What the release is called; the file's name, `NAME-VERSION.kenpin` or `NAME.kenpin`, fills in."""
    parts = re.fullmatch(r"(?P<name>.+?)-(?P<version>\d[0-9A-Za-z.+-]{0,31})", out.stem)
    if name is None:
        name = slug(parts["name"] if parts else out.stem)
    if version is None:
        version = parts["version"] if parts else datetime.now(UTC).strftime("%Y%m%d.%H%M%S")
    try:
        return ReleaseName(name=name, version=version)
    except ValidationError:
        raise ConfigError(
            f"a release cannot be called {name!r}, version {version!r}",
            where=str(out),
            remedy="Use a-z, 0-9 and '-' for the name, and also '.' and '+' for the version.",
        ) from None


def _check_enough(samples: Sequence[Sample], folder: Path) -> None:
    if len(samples) < MIN_GOOD:
        raise ConfigError(
            f"only {len(samples)} different good picture(s) that can be read",
            where=str(folder),
            remedy=f"At least {MIN_GOOD} are needed; ten or more are better.",
        )


def _see_bad(
    folder: Path | None, good: Sequence[Sample], eye: Eye, progress: Progress
) -> tuple[list[Features], list[str]]:
    if folder is None:
        return [], []
    samples, warnings = read_samples(
        list_pictures(folder), eye.spec, step="reading bad pictures", progress=progress
    )
    both = {sample.id for sample in good}
    warnings += [
        f"left out: {PictureError('it is among the good ones too', where=str(sample.path))}"
        for sample in samples
        if sample.id in both
    ]
    return [eye.see(sample.image) for sample in samples if sample.id not in both], warnings


def _split(
    samples: Sequence[Sample], holdout: float, rng: np.random.Generator
) -> tuple[list[Sample], list[Sample]]:
    """Fitted and held out: of each run of neighbours, in the order of their names, one at random is held out.

    Pictures are numbered as they were taken. Spread so, neither part misses what the light or the part was like
    for a while, as a plain shuffle of thirty pictures often does.
    """
    count = min(round(holdout * len(samples)), len(samples) - MIN_GOOD)
    runs = np.array_split(np.arange(len(samples)), count) if count > 0 else []
    held_out = {int(rng.choice(run)) for run in runs}
    return (
        [sample for index, sample in enumerate(samples) if index not in held_out],
        [samples[index] for index in sorted(held_out)],
    )


def _golden(samples: Sequence[Sample], eye: Eye, rng: np.random.Generator) -> list[Image]:
    """Three good pictures and a defect, so that a head that gives everything one score is found out."""
    side_px = 2 * max(eye.spec.width, eye.spec.height)
    images = [shrink(samples[i].image, side_px) for i in rng.permutation(len(samples))[:3]]
    return [*images, add_defect(images[0], Kind.CUT_PASTE, 0.16, rng).image]
