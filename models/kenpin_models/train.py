"""Train a release: read, split, (teach an encoder,) explore, fit, calibrate, (teach a decoder,) report, bundle."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version as version_of
from pathlib import Path
from typing import cast

import numpy as np
import numpy.typing as npt
from rich.console import Console
from threadpoolctl import threadpool_limits

from kenpin_agent.heads import Head
from kenpin_agent.pictures import list_pictures
from kenpin_agent.prepare import prepare
from kenpin_agent.seams import Image
from kenpin_agent.tiles import tiles_of
from kenpin_models.bundle import Content, write_release
from kenpin_models.calibrate import calibrate
from kenpin_models.classifier_file import read_classifier
from kenpin_models.decoders import TrainedDecoder, heatmap_scale, train_decoder
from kenpin_models.encoder_file import EncoderFile
from kenpin_models.encoders.plan import EncoderPlan, parse_plan
from kenpin_models.encoders.quantize import quantize
from kenpin_models.encoders.resolve import SHIPPED, resolve
from kenpin_models.explore import Explored, affordable, copies_for, explore, inputs_for
from kenpin_models.finetune.settings import method_named
from kenpin_models.finetune.tune import FineTuned, fine_tune
from kenpin_models.fit import Fitter
from kenpin_models.naming import release_name
from kenpin_models.progress import shown_on
from kenpin_models.recipes import AUTO, Recipe, recipe_for
from kenpin_models.rehearse import all_features, see_good
from kenpin_models.samples import Eye, Progress, Sample, read_samples
from kenpin_models.select import Selection
from kenpin_models.synthetic import Kind, add_defect
from kenpin_models.train_report import Int8, Made, report_page
from kenpin_models.wishes import FROZEN, Wishes
from kenpin_wire.errors import ConfigError, PictureError
from kenpin_wire.manifest import DecoderKind, Heatmap, Input, Manifest

MIN_GOOD = 3
"""Two to fit on, and one that they have not seen."""

_SEEN = 8  # grey levels between a picture's darkest and its brightest place


@dataclass(frozen=True, slots=True)
class TrainResult:
    """A release and how it came about.

    Attributes:
        selection: What was tried, best first; None if head and input were given.
        warnings: A line for each picture that was left out, and what the calibration's note says.
    """

    file: Path
    manifest: Manifest
    selection: Selection | None
    warnings: tuple[str, ...]


def train(
    good: Path,
    out: Path,
    wishes: Wishes | None = None,
    *,
    name: str | None = None,
    version: str | None = None,
    workdir: Path | None = None,
    console: Console | None = None,
) -> TrainResult:
    """Make a release from good pictures.

    Args:
        good: A folder of pictures of good parts.
        out: The release's file; one that is there is replaced once the new one is complete.
        wishes: What is asked for; the defaults if None.
        name, version: Of the release; by default as the file's name says, `NAME-VERSION.kenpin`, and where it
            says no version, the time.
        workdir: Where fine-tuning keeps its checkpoints, so that a killed training goes on; by default they are not
            kept.
        console: Where progress is shown.

    Raises:
        ConfigError: if a wish cannot be, a folder is missing, too few pictures can be read, or what it takes is not
            installed.
    """
    wishes = wishes or Wishes()
    wishes.check()
    _check_place(out)
    label = release_name(out, name, version)
    second = (
        read_classifier(wishes.classifier, wishes.labels) if wishes.classifier and wishes.labels else None
    )
    rng = np.random.default_rng(wishes.seed)
    # One thread: the products here are small, and handing them round costs more (34 s instead of 11, two busy
    # cores, measured).
    with _workdir(workdir) as work, shown_on(console) as progress, threadpool_limits(1, user_api="blas"):
        bench = _Bench(wishes, work, progress)
        paths = list_pictures(good)
        bad_paths = list_pictures(wishes.bad) if wishes.bad else []
        if wishes.reference:
            list_pictures(wishes.reference, recursive=True)  # that it is there; it is read much later
        base = resolve(wishes.encoder, work) if wishes.method == FROZEN else None
        inputs = inputs_for(
            paths,
            wishes.size,
            several=wishes.head == "auto" and wishes.method == FROZEN,
            stride_px=base.stride_px if base else 16,
        )
        if base is not None and len(inputs) > 1:
            inputs = affordable(inputs, base, wishes.budget_ms)
        largest = max(inputs, key=lambda spec: spec.encoded_px)
        samples, warnings = read_samples(paths, largest, step="reading good pictures", progress=progress)
        _check_enough(samples, good)
        if all(np.ptp(sample.image) < _SEEN for sample in samples[:MIN_GOOD]):
            warnings.append(
                f"{good}: nothing is to be seen in these pictures. Is the lens covered, or the light off?"
            )
        bad, more = _read_bad(bad_paths, samples, largest, progress)
        fitted, held_out = _split(samples, wishes.holdout, rng)

        taught = None
        if base is None:
            taught = bench.teach(fitted, held_out, inputs[0])
            base = taught.encoder
        wanted = AUTO if wishes.head == "auto" else (recipe_for(wishes.head),)
        recipes = [recipe.for_pictures(len(fitted)) for recipe in wanted]
        explored = bench.explore(fitted, bad, inputs, recipes, base)
        int8 = None
        if wishes.quantize == "int8":
            int8, explored = bench.to_int8(base, fitted, bad, explored)
            base = int8.encoder
        recipe = explored.chosen.recipe
        eye = Eye(explored.chosen.input, base)
        head = bench.fit(fitted, explored, eye)
        held_out_seen = see_good(held_out, eye, rng, copies=0, progress=progress)
        calibration, heatmap = calibrate(
            head, held_out_seen, None if taught else explored.rehearsed[recipe], wishes.false_rejects
        )
        decoder = None
        if wishes.decoder != "none":
            decoder, heatmap = bench.decoder(eye, fitted, held_out)
        made = Made(
            label=label,
            wishes=wishes,
            explored=explored,
            eye=eye,
            head=head,
            calibration=calibration,
            heatmap=heatmap,
            fitted=fitted,
            held_out=held_out,
            bad=bad,
            taught=taught,
            int8=int8,
            decoder=decoder,
            warnings=(*warnings, *more, *(taught.taught.warnings if taught else ())),
        )
        progress("writing the report", 0, 1)
        page = report_page(made, rng)
        progress("writing the report", 1, 1)
        notes = [*made.warnings, *([calibration.note] if calibration.note else [])]
        content = Content(
            name=label,
            head=head,
            calibration=calibration,
            heatmap=heatmap,
            golden=_golden(held_out or fitted, np.random.default_rng(wishes.seed)),
            fitted_on=sorted(sample.id for sample in fitted),
            calibrated_on=sorted(sample.id for sample in held_out),
            report={
                "arguments": wishes.as_report(),
                "pictures": {"fitted": len(fitted), "held_out": len(held_out), "bad": len(bad)},
                "head": str(recipe),
                "candidates": explored.selection.as_report() if wishes.head == "auto" else [],
                "int8": int8.parity.as_report() if int8 else None,
                "warnings": notes,
                "kenpin": version_of("kenpin"),
            },
            classifier=second,
            decoder=decoder,
            report_page=page,
        )
        manifest = write_release(out, content, eye)
    return TrainResult(out, manifest, explored.selection if wishes.head == "auto" else None, tuple(notes))


@dataclass(frozen=True, slots=True)
class _Bench:
    """Where the steps are done: what all of them need."""

    wishes: Wishes
    work: Path
    progress: Progress

    def teach(self, fitted: Sequence[Sample], held_out: Sequence[Sample], spec: Input) -> FineTuned:
        wishes = self.wishes
        assert wishes.reference is not None  # `Wishes.check`
        return fine_tune(
            method_named(wishes.method),
            EncoderPlan() if wishes.encoder == SHIPPED else parse_plan(wishes.encoder),
            fitted,
            wishes.reference,
            spec,
            workdir=self.work,
            seed=wishes.seed,
            never=[sample.id for sample in held_out],
            progress=self.progress,
        )

    def explore(
        self,
        fitted: Sequence[Sample],
        bad: Sequence[Sample],
        inputs: Sequence[Input],
        recipes: Sequence[Recipe],
        encoder: EncoderFile,
    ) -> Explored:
        return explore(
            fitted,
            bad,
            inputs,
            recipes,
            encoder,
            budget_ms=self.wishes.budget_ms,
            seed=self.wishes.seed,
            progress=self.progress,
        )

    def to_int8(
        self, encoder: EncoderFile, fitted: Sequence[Sample], bad: Sequence[Sample], explored: Explored
    ) -> tuple[Int8, Explored]:
        """The encoder in int8, and the chosen head's rehearsal with it: thresholds are of the encoder that will
        run."""
        chosen = explored.chosen
        spec = chosen.input

        def tensors() -> Iterator[npt.NDArray[np.float32]]:
            for sample in fitted:
                picture = prepare(sample.image, spec)
                for tile in tiles_of(spec):
                    yield picture[:, tile.y : tile.y + spec.height, tile.x : tile.x + spec.width]

        made, parity = quantize(encoder, tensors(), self.work / "int8.tflite", self.progress)
        again = self.explore(fitted, bad, [spec], [chosen.recipe], made)
        before, after = (
            c.synthetic_auroc if c.bad_auroc is None else c.bad_auroc for c in (chosen, again.chosen)
        )
        sizes = (encoder.file.stat().st_size, made.file.stat().st_size)
        return Int8(made, parity, sizes, (before, after)), Explored(explored.selection, again.rehearsed)

    def fit(self, fitted: Sequence[Sample], explored: Explored, eye: Eye) -> Head:
        seed, recipe = self.wishes.seed, explored.chosen.recipe
        copies = copies_for(len(fitted), eye.spec)
        seen = see_good(fitted, eye, np.random.default_rng(seed), copies=copies, progress=self.progress)
        spreads = {member: explored.rehearsed[member].spread for member in recipe.members}
        return Fitter(all_features(seen), eye.encoder.maps, seed).head(recipe, spreads)

    def decoder(
        self, eye: Eye, fitted: Sequence[Sample], held_out: Sequence[Sample]
    ) -> tuple[TrainedDecoder, Heatmap]:
        wishes = self.wishes
        kind = cast(DecoderKind, wishes.decoder)  # `Wishes.check`
        made = train_decoder(kind, eye, fitted, seed=wishes.seed, progress=self.progress)
        opened = made.open(eye, fitted[0].image)
        return made, heatmap_scale(opened, eye, held_out or fitted, wishes.false_rejects)


def _check_place(out: Path) -> None:
    """Before the work, not after it."""
    if out.is_dir() or not out.parent.is_dir():
        what = "is a folder" if out.is_dir() else f"there is no folder {out.parent}"
        raise ConfigError(what, where=str(out), remedy="Give a file in a folder that exists.")
    if out.suffix != ".kenpin":
        raise ConfigError("no name of a release", where=str(out), remedy="Let it end in .kenpin.")
    if not os.access(out.parent, os.W_OK):
        raise ConfigError(
            "its folder cannot be written", where=str(out), remedy="Give a file in a folder that can be."
        )


@contextmanager
def _workdir(given: Path | None) -> Iterator[Path]:
    if given is None:
        with tempfile.TemporaryDirectory(prefix="kenpin-") as folder:
            yield Path(folder)
        return
    try:
        given.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError.from_os(error, where=str(given)) from None
    yield given


def _check_enough(samples: Sequence[Sample], folder: Path) -> None:
    if len(samples) < MIN_GOOD:
        raise ConfigError(
            f"only {len(samples)} different good picture(s) that can be read",
            where=str(folder),
            remedy=f"At least {MIN_GOOD} are needed; ten or more are better.",
        )


def _read_bad(
    paths: Sequence[Path], good: Sequence[Sample], spec: Input, progress: Progress
) -> tuple[list[Sample], list[str]]:
    samples, warnings = read_samples(paths, spec, step="reading bad pictures", progress=progress)
    both = {sample.id for sample in good}
    warnings += [
        f"left out: {PictureError('it is among the good ones too', where=str(sample.path))}"
        for sample in samples
        if sample.id in both
    ]
    return [sample for sample in samples if sample.id not in both], warnings


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


def _golden(samples: Sequence[Sample], rng: np.random.Generator) -> list[Image]:
    """Three good pictures and a defect, so that a head that gives everything one score is found out."""
    images = [samples[i].image for i in rng.permutation(len(samples))[:3]]
    return [*images, add_defect(images[0], Kind.CUT_PASTE, 0.16, rng).image]
