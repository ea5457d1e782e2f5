"""From what a training made to its report's page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version as version_of

import numpy as np

from kenpin_agent.heads import Head
from kenpin_models.decoders import TrainedDecoder
from kenpin_models.encoder_file import EncoderFile
from kenpin_models.encoders.parity import Parity
from kenpin_models.explore import Explored
from kenpin_models.finetune.tune import FineTuned
from kenpin_models.report import Curve, Pictures, ReportData, render
from kenpin_models.report.adapt import decoder_curve, finetune_curve, parity_of, scores_of, tried_of
from kenpin_models.report.collect import collect, look_with, measure_cost
from kenpin_models.samples import Eye, Sample
from kenpin_models.wishes import Wishes
from kenpin_wire.manifest import Calibration, Heatmap
from kenpin_wire.messages import ReleaseName


@dataclass(frozen=True, slots=True)
class Int8:
    """An encoder brought to int8.

    Attributes:
        sizes: In bytes, of float32 and int8.
        aurocs: The rehearsal's, of float32 and int8.
    """

    encoder: EncoderFile
    parity: Parity
    sizes: tuple[int, int]
    aurocs: tuple[float, float]


@dataclass(frozen=True, slots=True, eq=False)
class Made:
    """All that a training made."""

    label: ReleaseName
    wishes: Wishes
    explored: Explored
    eye: Eye
    head: Head
    calibration: Calibration
    heatmap: Heatmap
    fitted: Sequence[Sample]
    held_out: Sequence[Sample]
    bad: Sequence[Sample]
    taught: FineTuned | None
    int8: Int8 | None
    decoder: TrainedDecoder | None
    warnings: tuple[str, ...]


def report_page(made: Made, rng: np.random.Generator) -> str:
    """The report as HTML.

    Args:
        rng: Decides which pictures defects are painted on, where no bad ones are labelled.
    """
    eye, head, chosen = made.eye, made.head, made.explored.chosen
    image, auto = made.fitted[0].image, made.wishes.head == "auto"
    decoder = made.decoder.open(eye, image) if made.decoder else None
    good = [(sample, head.score(eye.see(sample.image))) for sample in made.held_out]
    bad = [(sample, head.score(eye.see(sample.image))) for sample in made.bad]
    look = look_with(eye, head, made.heatmap, decoder)
    shown = good or [(sample, head.score(eye.see(sample.image))) for sample in made.fitted[:_SHOWN]]
    rehearsed = made.explored.rehearsed[chosen.recipe]
    return render(
        ReportData(
            release=str(made.label),
            created=datetime.now(UTC),
            method=made.wishes.method,
            head=str(chosen.recipe),
            input=eye.spec,
            calibration=made.calibration,
            pictures=Pictures(len(made.fitted), len(made.held_out), len(made.bad), len(made.warnings)),
            scores=scores_of(rehearsed, [score for _, score in good], [score for _, score in bad]),
            picture_px=(image.shape[1], image.shape[0]),
            examples=collect(look, shown, bad, rng),
            tried=tuple(
                tried_of(candidate, candidate.input, chosen=candidate is chosen, frame_ms=candidate.frame_ms)
                for candidate in made.explored.selection.candidates
            )
            if auto
            else (),
            cost=measure_cost(
                eye,
                head,
                made.heatmap,
                image,
                decoder=decoder,
                budget_ms=made.wishes.budget_ms if auto else None,
            ),
            curves=tuple(_curves(made)),
            parity=parity_of(
                made.int8.parity, len(made.fitted), size_bytes=made.int8.sizes, auroc=made.int8.aurocs
            )
            if made.int8
            else None,
            provenance=(
                ("encoder", eye.encoder.architecture),
                ("its weights", eye.encoder.provenance),
                ("precision", eye.encoder.precision),
                ("seed", str(made.wishes.seed)),
                ("kenpin", version_of("kenpin")),
            ),
            warnings=made.warnings,
        )
    )


_SHOWN = 40  # good pictures, where none were held out


def _curves(made: Made) -> list[Curve]:
    curves = []
    if made.taught:
        curves.append(finetune_curve(made.taught.taught.curves))
    if made.decoder:
        curves.append(decoder_curve(made.decoder.kind, made.decoder.curves))
    return curves
