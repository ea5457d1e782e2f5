"""From scores to verdicts: smoothing over a window, and a threshold set as a score or a false-reject rate."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

from kenpin_wire.errors import ConfigError, ReleaseError
from kenpin_wire.manifest import Calibration
from kenpin_wire.messages import Threshold, Verdict

FEW = 99
"""Below so many scores a rate of 1 % cannot be promised, and thresholds are estimates."""
LOWEST_RATE = 1e-12
"""A lower false-reject rate is taken as this one: beyond it, 1 − rate is 1, and no threshold is finite."""


@dataclass(frozen=True, slots=True)
class Judge:
    """What is compared with what.

    Attributes:
        threshold: A smoothed score above it is an anomaly.
        window: How many scores are averaged: 1 for a triggered part; 10, as published, for a moving view.
    """

    threshold: float
    window: int = 1


@dataclass(frozen=True, slots=True)
class JudgeState:
    """The scores that the next one is averaged with.

    Start afresh, with `JudgeState()`, when the release changes: its scores are on another scale. A new
    threshold or window keeps them, and the operator sees the effect at once. Another named part starts the
    average anew: no part is judged by its neighbour's scores.
    """

    scores: tuple[float, ...] = ()
    part: str | None = None


@dataclass(frozen=True, slots=True)
class Judgement:
    """`score` is the smoothed one, which the verdict is about."""

    score: float
    verdict: Verdict


def judge(
    by: Judge, state: JudgeState, score: float, part: str | None = None
) -> tuple[JudgeState, Judgement]:
    """Judge a score.

    Raises:
        ReleaseError: if the score is not finite. Such a score says nothing, so it can be no verdict; least of
            all "normal", which comparing it with a threshold would give. The state stays as it was.
    """
    if not math.isfinite(score):
        raise ReleaseError(f"the head gave {score} as a score", remedy="Install another release.")
    before = state.scores if part == state.part else ()
    scores = (*before, score)[-by.window :]
    smoothed = math.fsum(scores) / len(scores)
    verdict = Verdict.ANOMALY if smoothed > by.threshold else Verdict.NORMAL
    return JudgeState(scores, part), Judgement(smoothed, verdict)


def threshold_for(calibration: Calibration, wish: Threshold | None) -> float:
    """The threshold as a score. That the wish names the calibration's own release is the caller's to check.

    Raises:
        ConfigError: if a false-reject rate is wished for and the release has no calibration scores.
    """
    if wish is None or (wish.value is None and wish.false_rejects is None):
        return calibration.threshold
    if wish.value is not None:
        return wish.value
    assert wish.false_rejects is not None
    if not calibration.scores:
        raise ConfigError(
            "the release has no calibration scores, so no threshold follows from a false-reject rate",
            where="threshold",
            remedy="Set the threshold as a score.",
        )
    return false_reject_threshold(calibration.scores, wish.false_rejects)


def false_reject_threshold(scores: Sequence[float], target: float) -> float:
    """The threshold above which a new good part comes with a chance of about `target`. Trainer and device both
    go by it, so that the same rate means the same threshold. A lower rate never lowers it.

    From `FEW` scores on it is a promise, by split conformal prediction (Vovk et al. 2005): of n + 1
    exchangeable scores the new one is as likely at any rank, so the ⌈(n + 1)(1 − target)⌉th of the n lies below
    it with a chance of at most `target`. When that rank is above n, the threshold goes past the greatest by an
    exponential tail, `scale · ln(1 / ((n + 1) target))`, its scale the mean excess over the median.

    With fewer scores nothing can promise 1 %, and going by the greatest of them lets most bad parts by when one
    good picture is odd. There the rate's quantile is estimated, by a normal distribution with the scores' mean
    and deviation (docs/measurements.md has what that costs and brings).

    Args:
        scores: Of good parts that the head was not fitted on, any order, at least one.
        target: Above 0, below 1.
    """
    target = max(target, LOWEST_RATE)
    ordered = np.sort(np.asarray(scores, dtype=np.float64))
    n = ordered.size
    if n < FEW:
        mean = float(ordered.mean())
        deviation = max(float(ordered.std()), 0.01 * abs(mean))  # for pictures that are all alike
        return mean + NormalDist().inv_cdf(1 - target) * deviation
    rank = math.ceil((n + 1) * (1 - target) - 1e-9)  # (n + 1)(1 − 0.1) must not become 9.000000000000002
    if rank <= n:
        return float(ordered[max(rank, 1) - 1])
    return float(ordered[-1]) + _tail(ordered) * math.log(1 / ((n + 1) * target))


def false_reject_rates(scores: Sequence[float], values: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """The inverse: for each of `values`, the false-reject rate that it would promise (or estimate) as a threshold.

    It puts different heads' scores on one scale: of good parts that are like the calibration's, whatever the head,
    a share of about r has a rate below r. Between two scores it is interpolated, so that it has no steps. It never
    rises with the value; below the least score it is 1, and never less than `LOWEST_RATE`.

    Args:
        scores: As for `false_reject_threshold`.
    """
    ordered = np.sort(np.asarray(scores, dtype=np.float64))
    found = np.asarray(values, dtype=np.float64)
    n = ordered.size
    if n < FEW:
        mean = float(ordered.mean())
        deviation = max(float(ordered.std()), 0.01 * abs(mean), _SMALLEST)
        half = ((found - mean) / (deviation * math.sqrt(2))).ravel()
        rates = np.array([0.5 * math.erfc(z) for z in half], dtype=np.float64).reshape(found.shape)
    else:
        steps, last = np.unique(ordered[::-1], return_index=True)  # the highest rank of equal scores
        rates = np.interp(found, steps, (last + 1) / (n + 1), left=1.0)
        beyond = np.maximum(found - ordered[-1], 0.0) / max(_tail(ordered), _SMALLEST)
        rates = rates * np.exp(-beyond)
    return np.maximum(rates, LOWEST_RATE)


_SMALLEST = 1e-300  # for divisions where all scores are 0


def _tail(ordered: npt.NDArray[np.float64]) -> float:
    """The exponential tail's scale beyond the greatest of ascending scores."""
    excess = ordered[ordered >= np.median(ordered)] - np.median(ordered)
    return max(float(excess.mean()), 0.02 * abs(float(ordered[-1])))
