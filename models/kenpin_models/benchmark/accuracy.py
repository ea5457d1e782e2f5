"""How well a row tells sneakers from boots: a result for each row and seed.

A row with a head of its own is fitted to what the encoder saw once for all rows, and bundled as a release; `auto`
and the rows of a few pictures go through `kenpin_models.train.train`, as a person would. Either way the scores
are what the agent's own classes give.
"""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from kenpin_agent.release import load_release, unpack_release
from kenpin_models.benchmark.lab import CALIBRATED, Lab
from kenpin_models.benchmark.model_file import parameters
from kenpin_models.benchmark.protocol import INPUT, SIZE_PX, Pictures, as_image, write_pictures
from kenpin_models.benchmark.published import Baseline, ScaledLof, WhitenedKnn, draw, pixels
from kenpin_models.benchmark.rows import PIXELS, Row
from kenpin_models.benchmark.store import Result, code_hash
from kenpin_models.benchmark.taught import encoder_facts, find_encoder
from kenpin_models.bundle import Content, write_release
from kenpin_models.calibrate import calibrate
from kenpin_models.encoders.resolve import SHIPPED
from kenpin_models.extras import need
from kenpin_models.fit import Fitter
from kenpin_models.recipes import recipe_for
from kenpin_models.rehearse import MAX_PICTURES, Rehearsed, Seen, rehearse
from kenpin_models.samples import Eye
from kenpin_models.train import train
from kenpin_models.wishes import Wishes
from kenpin_wire.messages import ReleaseName

Scores = npt.NDArray[np.float64]


def measure(row: Row, seed: int, lab: Lab) -> Result:
    """A row's result: `good` and `bad` (the scores of the test pictures), `threshold`, `head` (as chosen),
    `parameters` (of the network) and `size_bytes` (of all that a device must have).

    Raises:
        ConfigError: if it cannot be measured here, for want of a package.
    """
    return lab.store.result(f"row-{row.name}-s{seed}", facts(row, seed, lab), lambda: _make(row, seed, lab))


def release_file(row: Row, seed: int, lab: Lab) -> Path:
    """Where the release that a row was measured with is kept; for a baseline, its references."""
    suffix = ".npz" if row.is_baseline else ".kenpin"
    return lab.store.file(f"row-{row.name}-s{seed}", facts(row, seed, lab), suffix)


def facts(row: Row, seed: int, lab: Lab) -> Result:
    """What the result follows from."""
    own = row.facts() | lab.facts(seed)
    if row.method == PIXELS:
        return own | {"code": code_hash("kenpin_models.benchmark.published")}
    own |= encoder_facts(replace(row, precision="float32") if _by_train(row) else row, seed, lab)
    if row.is_baseline:
        return own | {"code": code_hash("kenpin_models.benchmark.published")}
    if _by_train(row):
        return own | {"code": training_code()}
    # Recipes are among the facts; no defects are painted and no copies nudged.
    unused = ("recipes", "samples", "synthetic", "augment")
    code = code_hash(
        "kenpin_models.rehearse",
        "kenpin_agent.prepare",
        without=tuple(f"kenpin_models.{name}" for name in unused),
    )
    return own | {"code": code, "recipe": repr(recipe_for(row.head))}


def training_code() -> str:
    """Of `train`, but for what is not used here, or changes no score."""
    return code_hash(
        "kenpin_models.train",
        without=(
            "kenpin_models.decoders",
            "kenpin_models.encoders.build",
            "kenpin_models.encoders.export",
            "kenpin_models.finetune.tune",
            "kenpin_models.train_report",
        ),
    )


def _make(row: Row, seed: int, lab: Lab) -> Result:
    if row.method == PIXELS:
        return _measure_pixels(row, seed, lab)
    if row.is_baseline:
        return _measure_published(row, seed, lab)
    return _measure_trained(row, seed, lab) if _by_train(row) else _measure_fitted(row, seed, lab)


def _by_train(row: Row) -> bool:
    return row.head == "auto" or row.good is not None


def _measure_pixels(row: Row, seed: int, lab: Lab) -> Result:
    protocol = lab.protocol(seed)
    good = pixels(protocol.good)
    references = good[draw(len(good), seed)]
    judge: Baseline = ScaledLof(references) if row.head == "lof" else WhitenedKnn(good, references)
    file = release_file(row, seed, lab)
    np.savez(file, references=references.astype(np.float16))
    return {
        "good": _rounded(judge.scores(pixels(protocol.test_good))),
        "bad": _rounded(judge.scores(pixels(protocol.test_bad))),
        "head": row.head,
        "parameters": 0,
        "size_bytes": file.stat().st_size,
    }


def _measure_published(row: Row, seed: int, lab: Lab) -> Result:
    encoder = find_encoder(row, seed, lab)
    looked = lab.looked(encoder, seed)
    good, test_good, test_bad = (
        np.stack([features.pooled for features in seen]).astype(np.float64)
        for seen in (looked.good, looked.test_good, looked.test_bad)
    )
    references = good[draw(len(good), seed)]
    judge = ScaledLof(references)
    file = release_file(row, seed, lab)
    np.savez(file, references=references.astype(np.float32))
    return {
        "good": _rounded(judge.scores(test_good)),
        "bad": _rounded(judge.scores(test_bad)),
        "head": row.head,
        "parameters": parameters(encoder.file),
        "size_bytes": encoder.file.stat().st_size + file.stat().st_size,
    }


def _measure_fitted(row: Row, seed: int, lab: Lab) -> Result:
    encoder = find_encoder(row, seed, lab)
    looked = lab.looked(encoder, seed)
    learnt, held_out = lab.split(seed)
    recipe = recipe_for(row.head)
    some = [Seen(looked.good[i]) for i in learnt[:MAX_PICTURES]]
    rehearsed = rehearse(recipe.members, encoder.maps, some, [], seed=seed)
    spreads = {member: rehearsed[member].spread for member in recipe.members}
    head = Fitter([looked.good[i] for i in learnt], encoder.maps, seed).head(recipe, spreads)
    calibration, heatmap = calibrate(head, [Seen(looked.good[i]) for i in held_out], Rehearsed(), 0.01)
    file = release_file(row, seed, lab)
    content = Content(
        name=ReleaseName(name="sneaker", version="1"),
        head=head,
        calibration=calibration,
        heatmap=heatmap,
        golden=[as_image(lab.protocol(seed).good[0])],
        fitted_on=[],
        calibrated_on=[],
        report={},
    )
    write_release(file, content, Eye(INPUT, encoder, threads=1))
    return {
        "good": _rounded(np.array([head.score(seen) for seen in looked.test_good])),
        "bad": _rounded(np.array([head.score(seen) for seen in looked.test_bad])),
        "threshold": calibration.threshold,
        "head": row.head,
        "parameters": parameters(encoder.file),
        "size_bytes": file.stat().st_size,
    }


def _measure_trained(row: Row, seed: int, lab: Lab) -> Result:
    protocol, encoder = lab.protocol(seed), find_encoder(replace(row, precision="float32"), seed, lab)
    if row.precision == "int8":
        need("ai_edge_quantizer", for_what="int8")
    file = release_file(row, seed, lab)
    order = np.random.default_rng(seed).permutation(len(protocol.good))
    chosen = order[: row.good].tolist()
    # Of ten, all are learnt from, and the threshold comes from those that each fold left out.
    holdout = 0.0 if row.good else min(CALIBRATED / len(order), 0.2)
    with tempfile.TemporaryDirectory(prefix="kenpin-") as scratch:
        good = write_pictures(protocol.good, Path(scratch) / "good", chosen)
        wishes = Wishes(
            head=row.head, size=SIZE_PX, holdout=holdout, seed=seed,
            encoder=SHIPPED if row.method == "frozen" else str(encoder.file),
            quantize="int8" if row.precision == "int8" else "none",
        )  # fmt: skip
        result = train(good, file, wishes, version="1")
    return {
        "good": _rounded(scores_of(file, protocol.test_good)),
        "bad": _rounded(scores_of(file, protocol.test_bad)),
        "threshold": result.manifest.calibration.threshold,
        "head": result.manifest.head.kind,
        "parameters": parameters(encoder.file),
        "size_bytes": file.stat().st_size,
    }


def scores_of(release: Path, pictures: Pictures) -> Scores:
    """What a release's file gives for pictures, loaded as an agent loads it; shape (n,)."""
    with tempfile.TemporaryDirectory(prefix="kenpin-") as scratch:
        unpack_release(release, Path(scratch) / "release")
        loaded = load_release(Path(scratch) / "release")
        return np.array([loaded.score(as_image(picture)) for picture in pictures])


def _rounded(scores: Scores) -> list[float]:
    """Six digits are more than float32 has."""
    return [float(f"{score:.6g}") for score in scores]
