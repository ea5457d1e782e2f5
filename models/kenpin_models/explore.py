"""Explore: rehearse heads at one input or at several, within a frame's budget, and choose."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np

from kenpin_models.encoder_file import EncoderFile
from kenpin_models.fit import Fitter
from kenpin_models.recipes import Recipe
from kenpin_models.rehearse import (
    MAX_DEFECTS,
    MAX_PICTURES,
    Rehearsed,
    all_features,
    paint,
    rehearse,
    see_good,
)
from kenpin_models.samples import DEFAULT_SIZE_PX, Eye, Progress, Sample, choose_input, picture_sizes
from kenpin_models.select import Candidate, Selection, rank, select
from kenpin_models.tiling import candidate_inputs
from kenpin_wire.manifest import Input

BUDGET_MS = 66.0
"""What a frame may cost, where nobody says: the 15 frames a second that the published design reaches on a Pi."""

FEW = 200
"""Up to as many pictures, heads are also fitted on nudged copies; more show the part's play themselves."""

COPIES = 3

_LARGE_PX = 320 * 320
_LARGE_PICTURES = 60  # and no copies: what is seen of 1266 × 500 px takes 3 MB a picture
_CONTENDERS = 4  # heads that are tried at larger inputs too
_TIMED_RUNS = 7


@dataclass(frozen=True, slots=True)
class Explored:
    """What was chosen, and the chosen head's rehearsal (a fusion's members' too)."""

    selection: Selection
    rehearsed: dict[Recipe, Rehearsed]

    @property
    def chosen(self) -> Candidate:
        return self.selection.chosen


def inputs_for(paths: Sequence[Path], size_px: int | None, *, several: bool, stride_px: int) -> list[Input]:
    """The inputs to explore: the given size, or the default, or several from there up to the pictures' own scale, in
    tiles where they are large.

    Raises:
        ConfigError: as `choose_input`.
    """
    if size_px is not None or not several:
        return [choose_input(paths, size_px or DEFAULT_SIZE_PX, stride_px)]
    inputs = candidate_inputs(picture_sizes(paths), stride_px=stride_px)
    return [spec for spec in inputs if spec.encoded_px >= _LEAST_SHARE * DEFAULT_SIZE_PX**2] or inputs[-1:]


def affordable(inputs: Sequence[Input], encoder: EncoderFile, budget_ms: float) -> list[Input]:
    """Those of the inputs that the encoder alone looks at within the budget; the cheapest in any case.

    Asked before pictures are read: they are kept as large as the largest input wants them.
    """
    cheapest, *others = sorted(inputs, key=lambda spec: spec.encoded_px)
    kept = [cheapest]
    for spec in others:
        width, height = spec.picture_px
        grey = np.full((height, width, 3), 128, np.uint8)
        if _least_ms(partial(Eye(spec, encoder, threads=1).see, grey), runs=3) > budget_ms:
            break
        kept.append(spec)
    return kept


def explore(
    samples: Sequence[Sample],
    bad: Sequence[Sample],
    inputs: Sequence[Input],
    recipes: Sequence[Recipe],
    encoder: EncoderFile,
    *,
    budget_ms: float = BUDGET_MS,
    seed: int = 0,
    progress: Progress,
) -> Explored:
    """Rehearse heads at each input and choose.

    The cheapest input is tried with all heads, larger ones with the best of them.

    Args:
        samples: The good pictures to fit on, read for the largest of `inputs`.
        bad: Labelled bad ones, read likewise.
        budget_ms: From frame to verdict, one thread of this machine.
    """
    candidates: list[Candidate] = []
    results: dict[Input, dict[Recipe, Rehearsed]] = {}
    contenders = list(recipes)
    for spec in sorted(inputs, key=lambda spec: spec.encoded_px):
        timed = Eye(spec, encoder, threads=1)
        image = samples[0].image
        encode_ms = _least_ms(partial(timed.see, image))
        features = timed.see(image)
        results[spec], fitter = _rehearse_at(
            spec, samples, bad, contenders, encoder, seed=seed, progress=progress
        )
        ranked = rank(results[spec], spec)
        for candidate in ranked:
            spreads = {member: results[spec][member].spread for member in candidate.recipe.members}
            head = fitter.head(candidate.recipe, spreads)
            frame_ms = encode_ms + _least_ms(partial(head.assess, features))
            affordable = frame_ms <= budget_ms
            candidates.append(replace(candidate, frame_ms=frame_ms, affordable=affordable))
        contenders = [candidate.recipe for candidate in ranked[:_CONTENDERS]]
    selection = select(candidates)
    return Explored(selection, results[selection.chosen.input])


def copies_for(n_pictures: int, spec: Input) -> int:
    """How many nudged copies of each picture heads are fitted on."""
    return COPIES if n_pictures <= FEW and spec.encoded_px <= _LARGE_PX else 0


_LEAST_SHARE = 0.8  # of the default input's pixels: rounding to strides may take some


def _rehearse_at(
    spec: Input,
    samples: Sequence[Sample],
    bad: Sequence[Sample],
    recipes: Sequence[Recipe],
    encoder: EncoderFile,
    *,
    seed: int,
    progress: Progress,
) -> tuple[dict[Recipe, Rehearsed], Fitter]:
    eye = Eye(spec, encoder)

    def told(step: str, done: int, total: int) -> None:
        progress(f"{step}, {spec}", done, total)

    # The same pictures with the same defects at each input, so that what differs is the input.
    rng = np.random.default_rng(seed + 1)
    most = MAX_PICTURES if spec.encoded_px <= _LARGE_PX else _LARGE_PICTURES
    chosen = [samples[i] for i in np.sort(rng.permutation(len(samples))[:most])]
    copies = copies_for(len(samples), spec)
    seen = see_good(chosen, eye, np.random.default_rng(seed), copies=copies, progress=told)
    share = min(1.0, 2 * DEFAULT_SIZE_PX**2 / spec.encoded_px)
    n_defects = max(MAX_DEFECTS // 4, round(share * MAX_DEFECTS))
    painted = paint(chosen, eye, rng, most=n_defects, progress=told)
    wrong = [eye.see(sample.image) for sample in bad]
    rehearsed = rehearse(recipes, eye.encoder.maps, seen, painted, wrong, seed=seed, progress=told)
    return rehearsed, Fitter(all_features(seen), eye.encoder.maps, seed)


def _least_ms(work: Callable[[], object], runs: int = _TIMED_RUNS) -> float:
    """The fastest of a few runs in the thread's own time, so that a busy machine does not change what is chosen."""
    times = []
    for _ in range(runs):
        start = time.thread_time()
        work()
        times.append((time.thread_time() - start) * 1000)
    return min(times)
