"""Verdicts: smoothed, bounded in their false rejects, and never "normal" by accident."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kenpin_agent.judge import Judge, JudgeState, false_reject_threshold, judge, threshold_for
from kenpin_wire.errors import ConfigError, ReleaseError
from kenpin_wire.manifest import Calibration
from kenpin_wire.messages import Threshold, Verdict

scores = st.floats(-1e6, 1e6)


def run(by: Judge, values: list[float], part: str | None = None) -> list[tuple[float, Verdict]]:
    state, out = JudgeState(), []
    for value in values:
        state, judgement = judge(by, state, value, part)
        out.append((judgement.score, judgement.verdict))
    return out


def test_a_score_at_the_threshold_is_normal_and_above_it_an_anomaly() -> None:
    assert run(Judge(2.0), [2.0, 2.0000001]) == [(2.0, Verdict.NORMAL), (2.0000001, Verdict.ANOMALY)]


@given(st.lists(scores, min_size=1, max_size=40), st.integers(1, 12))
def test_the_smoothed_score_is_the_mean_of_the_last_window(values: list[float], window: int) -> None:
    for end, (smoothed, _) in enumerate(run(Judge(0, window), values), start=1):
        assert smoothed == pytest.approx(np.mean(values[max(0, end - window) : end]), abs=1e-6)


@given(st.lists(scores, min_size=1, max_size=20), scores, scores)
def test_a_higher_threshold_never_rejects_more(values: list[float], one: float, other: float) -> None:
    strict, lax = (run(Judge(t, 3), values) for t in sorted((one, other)))
    for (_, by_strict), (_, by_lax) in zip(strict, lax, strict=True):
        assert by_lax is Verdict.NORMAL or by_strict is Verdict.ANOMALY


def test_no_part_is_judged_by_its_neighbours_scores() -> None:
    by, state = Judge(1.0, window=10), JudgeState()
    for _ in range(10):
        state, _ = judge(by, state, 100.0, "bad part")
    _, judgement = judge(by, state, 0.5, "next part")
    assert judgement.score == 0.5
    assert judgement.verdict is Verdict.NORMAL


def test_a_new_threshold_takes_effect_at_once_and_a_shorter_window_too() -> None:
    state = JudgeState((1.0, 2.0, 3.0))
    assert judge(Judge(1.9, 4), state, 2.0)[1].verdict is Verdict.ANOMALY
    assert judge(Judge(2.1, 4), state, 2.0)[1].verdict is Verdict.NORMAL
    assert judge(Judge(2.1, 1), state, 9.0)[1].score == 9.0


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_score_that_is_not_finite_is_no_verdict_and_spoils_none(value: float) -> None:
    state = JudgeState((1.0,))
    with pytest.raises(ReleaseError, match="as a score"):
        judge(Judge(5.0, 10), state, value)
    assert judge(Judge(5.0, 10), state, 2.0)[1].score == 1.5


def calibration(values: list[float], threshold: float = 7.0) -> Calibration:
    return Calibration(scores=values, false_rejects=0.01, threshold=threshold)


def test_the_threshold_is_the_wish_or_the_releases_own() -> None:
    of = calibration([1.0, 2.0])
    assert threshold_for(of, None) == 7.0
    assert threshold_for(of, Threshold(release="r")) == 7.0
    assert threshold_for(of, Threshold(release="r", value=3.5)) == 3.5


def test_a_rate_without_calibration_scores_is_refused() -> None:
    with pytest.raises(ConfigError, match="no calibration scores"):
        threshold_for(calibration([]), Threshold(release="r", false_rejects=0.1))


def test_the_rank_is_that_of_split_conformal_prediction() -> None:
    of = calibration([float(n) for n in range(1, 100)])  # 99 scores
    assert threshold_for(of, Threshold(release="r", false_rejects=0.01)) == 99
    assert threshold_for(of, Threshold(release="r", false_rejects=0.05)) == 95
    assert threshold_for(of, Threshold(release="r", false_rejects=0.5)) == 50


@pytest.mark.parametrize(("n", "target"), [(99, 0.1), (120, 0.05), (200, 0.01)])
def test_no_more_good_parts_are_rejected_than_was_promised(n: int, target: float) -> None:
    rng = np.random.default_rng(n)
    drawn = rng.lognormal(size=(4000, n + 1))
    rejected = np.mean([row[-1] > false_reject_threshold(row[:-1].tolist(), target) for row in drawn])
    assert rejected <= target + 3 * math.sqrt(target * (1 - target) / 4000)


@given(st.lists(st.floats(0, 1e3), min_size=1, max_size=150), st.floats(1e-4, 0.99), st.floats(1e-4, 0.99))
def test_fewer_false_rejects_never_lower_the_threshold(values: list[float], one: float, other: float) -> None:
    rare, often = sorted((one, other))
    assert false_reject_threshold(values, rare) >= false_reject_threshold(values, often)


def test_a_few_scores_stay_near_the_rate_though_they_cannot_promise_it() -> None:
    rng = np.random.default_rng(0)
    rejected = [
        (rng.normal(1, 0.1, 500) > false_reject_threshold(rng.normal(1, 0.1, 30).tolist(), 0.01)).mean()
        for _ in range(400)
    ]
    assert 0.005 < np.mean(rejected) < 0.03


def test_good_parts_that_are_all_alike_leave_some_room() -> None:
    assert false_reject_threshold([2.0], 0.01) > 2.0
    assert false_reject_threshold([2.0] * 10, 0.01) > 2.0


@pytest.mark.parametrize("count", [5, 200])
@pytest.mark.parametrize("rate", [1e-12, 1e-17, 5e-324])
def test_a_rate_however_low_gives_a_threshold_that_can_be_said(count: int, rate: float) -> None:
    found = threshold_for(calibration(list(range(count))), Threshold(release="r", false_rejects=rate))
    assert math.isfinite(found)
    assert found > count - 1
