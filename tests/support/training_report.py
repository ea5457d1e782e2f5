"""A report of a small training: three heads, each fitted once, on rendered or real parts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from kenpin_agent.heads import Head, Mahalanobis, Padim
from kenpin_agent.judge import false_reject_threshold
from kenpin_agent.pictures import list_pictures
from kenpin_models.calibrate import honest_note
from kenpin_models.fit import fit_cosine, fit_gaussian, fit_whitening
from kenpin_models.metrics import auroc, tpr_at_fpr
from kenpin_models.report import Pictures, ReportData, Scores, Tried
from kenpin_models.report.collect import collect, look_with, measure_cost
from kenpin_models.samples import Eye, choose_input, read_samples
from kenpin_models.synthetic import SIZES, Kind, add_defect
from kenpin_wire.manifest import Calibration, Heatmap

EXPONENT = 16.0


def gather(
    good: Sequence[Path],
    bad: Path | None = None,
    *,
    size: int = 96,
    budget_ms: float = 50.0,
    release: str = "parts-1",
) -> ReportData:
    """Every second good picture is fitted on; the others are held out, and painted on."""
    spec = choose_input(good, size)
    eye, rng = Eye(spec), np.random.default_rng(0)
    samples, warnings = read_samples(good, spec, step="")
    fitted, held_out = samples[::2], samples[1::2]
    wrong = read_samples(list_pictures(bad), spec, step="")[0] if bad else []
    seen, held_out_seen, wrong_seen = (
        [eye.see(sample.image) for sample in part] for part in (fitted, held_out, wrong)
    )
    painted = {
        (kind.value, extent): [
            eye.see(add_defect(sample.image, kind, extent, rng).image) for sample in held_out[:5]
        ]
        for kind in Kind
        for extent in SIZES
    }
    localiser, pooled = fit_gaussian(seen, eye.encoder.maps), np.stack([features.pooled for features in seen])
    fits: dict[str, Head] = {
        "padim": Padim(localiser, EXPONENT, 0.5),
        "cosine": fit_cosine(pooled, localiser),
        "mahalanobis": Mahalanobis(localiser, fit_whitening(pooled)),
    }
    tried = []
    for kind, head in fits.items():
        scored = [head.score(features) for features in held_out_seen]
        defects = [head.score(features) for cell in painted.values() for features in cell]
        area, found = auroc(scored, defects), tpr_at_fpr(scored, defects, 0.05)
        tried.append(Tried(kind, spec, area, found, (area + found) / 2))
    tried.sort(key=lambda entry: -entry.mark)
    chosen = fits[tried[0].head]
    good_scores, bad_scores = (
        [chosen.score(features) for features in part] for part in (held_out_seen, wrong_seen)
    )
    odd = [chosen.patch_scores(features) for features in held_out_seen]
    scale = Heatmap(normal=float(np.median(odd)), limit=float(max(map(np.max, odd))))
    image = samples[0].image
    return ReportData(
        release=release,
        created=datetime(2026, 11, 22, 8, 30, tzinfo=UTC),
        method="frozen",
        head=tried[0].head,
        input=spec,
        calibration=Calibration(
            scores=sorted(good_scores),
            false_rejects=0.01,
            threshold=false_reject_threshold(good_scores, 0.01),
            method="held-out good pictures",
            note=honest_note(len(good_scores), 0.01),
        ),
        pictures=Pictures(len(fitted), len(held_out), len(wrong), len(warnings)),
        scores=Scores(
            held_out=good_scores,
            defects={cell: [chosen.score(f) for f in features] for cell, features in painted.items()},
            bad=bad_scores,
        ),
        picture_px=(image.shape[1], image.shape[0]),
        examples=collect(
            look_with(eye, chosen, scale),
            list(zip(held_out, good_scores, strict=True)),
            list(zip(wrong, bad_scores, strict=True)),
            rng,
        ),
        tried=(replace(tried[0], chosen=True), *tried[1:]),
        cost=measure_cost(eye, chosen, scale, image, budget_ms=budget_ms),
        provenance=(("Encoder", eye.encoder.provenance), ("Seed", "0")),
        warnings=tuple(warnings),
    )
