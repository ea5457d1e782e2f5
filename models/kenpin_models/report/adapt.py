"""What the trainer's rooms give, as the report takes it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from kenpin_models.rehearse import Rehearsed
from kenpin_models.report.data import Curve, Line, Parity, Scores, Tried
from kenpin_models.select import Candidate
from kenpin_wire.manifest import Input

if TYPE_CHECKING:  # rooms that need torch when they work
    from kenpin_models.encoders.parity import Parity as OutputsParity
    from kenpin_models.finetune.curves import LearningCurves


def scores_of(rehearsed: Rehearsed, held_out: Sequence[float], bad: Sequence[float]) -> Scores:
    """Of the chosen head's rehearsal, and what the release's own head gave held-out and bad pictures."""
    defects = {(kind.value, size): scores for (kind, size), scores in rehearsed.defects.items()}
    return Scores(held_out, rehearsed.good, defects, bad)


def tried_of(candidate: Candidate, spec: Input, *, chosen: bool, frame_ms: float | None = None) -> Tried:
    """Of a candidate, at the input that it was tried with."""
    return Tried(
        head=str(candidate.recipe),
        input=spec,
        auroc=candidate.synthetic_auroc,
        found=candidate.synthetic_found,
        mark=candidate.mark,
        bad_auroc=candidate.bad_auroc,
        bad_found=candidate.bad_found,
        frame_ms=frame_ms,
        chosen=chosen,
    )


def finetune_curve(curves: LearningCurves) -> Curve:
    """Of a fine-tuning."""
    before, best = curves.rounds[0], min(curves.rounds, key=lambda r: r.held_out_loss)
    better = 1 - best.held_out_loss / before.held_out_loss if before.held_out_loss > 0 else 0.0
    learned = (
        f"On pictures kept aside its error fell by {better:.0%}".replace("%", " %")
        if better > 0
        else "On pictures kept aside it did not get better: the encoder is as it was"
    )
    ended = (
        "it stopped when they no longer gained"
        if curves.stopped_early
        else "it learned to the end of its time"
    )
    return Curve(
        title=f"Encoder, {curves.method}",
        meaning=f"{learned}; {ended}.",
        x_label="batches learnt from",
        y_label="error (loss)",
        lines=(
            Line("pictures learnt from", [(r.step, r.loss) for r in curves.rounds]),
            Line("pictures kept aside", [(r.step, r.held_out_loss) for r in curves.rounds]),
        ),
        kept=curves.best_step,
    )


def decoder_curve(kind: str, curves: Mapping[str, Sequence[float]]) -> Curve:
    """Of a decoder's teaching: `curves` as `TrainedDecoder` has them, a value an epoch."""
    lines = tuple(
        Line(name.replace("_", " "), list(enumerate(values, 1))) for name, values in curves.items() if values
    )
    return Curve(
        title=f"Decoder, {kind}",
        meaning=f"The {kind} decoder, which draws the heatmaps, learned for "
        f"{max((len(line.points) for line in lines), default=0)} epochs; a line that is level had no more to learn.",
        x_label="epoch",
        y_label="error (loss)",
        lines=lines,
    )


def parity_of(
    parity: OutputsParity,
    pictures: int,
    *,
    size_bytes: tuple[int, int] | None = None,
    auroc: tuple[float, float] | None = None,
    changed_verdicts: int | None = None,
) -> Parity:
    """Of an encoder brought to int8, beside itself in float32."""
    return Parity(pictures, parity.relative, parity.invoke_ms, size_bytes, auroc, changed_verdicts)
