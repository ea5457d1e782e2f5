"""What a candidate's shadow finds out: computed as the books say, bounded, and the same whatever the heads' scales."""

from __future__ import annotations

import itertools
import math
from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kenpin_agent.judge import FEW, false_reject_rates, false_reject_threshold
from kenpin_agent.shadow import evaluation
from kenpin_agent.shadow.budget import SHARE, Budget
from kenpin_agent.shadow.evaluation import Shadow, Word
from kenpin_agent.shadow.gallery import Gallery, Kept
from kenpin_agent.shadow.statistics import kolmogorov_smirnov, population_stability
from kenpin_wire.manifest import Manifest
from kenpin_wire.shadow import QUANTILES
from support.small_release import manifest_for, release_files

values = st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=60)


@cache
def _sound() -> Manifest:
    return manifest_for(release_files())


def manifest(good: list[float], version: str = "1", false_rejects: float = 0.01) -> Manifest:
    """A release whose held-out good pictures scored this."""
    sound = _sound()
    threshold = false_reject_threshold(good, false_rejects) if good else 1.0
    calibration = sound.calibration.model_copy(
        update={"scores": good, "threshold": threshold, "false_rejects": false_rejects}
    )
    release = sound.release.model_copy(update={"version": version})
    return sound.model_copy(update={"calibration": calibration, "release": release})


def shadowed(
    one: np.ndarray, other: np.ndarray, incumbent: Manifest, candidate: Manifest, wanted: int = 0
) -> Shadow:
    shadow = Shadow(incumbent, candidate, wanted=wanted or len(one))
    thresholds = incumbent.calibration.threshold, candidate.calibration.threshold
    for a, b in zip(one, other, strict=True):
        shadow.saw(Word(float(a), thresholds[0], 5.0), Word(float(b), thresholds[1], 7.0))
    return shadow


# The statistics ----------------------------------------------------------------------------------------------


@settings(deadline=None)
@given(values, values)
def test_the_kolmogorov_smirnov_statistic_is_scipys(one: list[float], other: list[float]) -> None:
    stats = pytest.importorskip("scipy.stats")
    found = kolmogorov_smirnov(np.array(one), np.array(other))
    assert found == pytest.approx(stats.ks_2samp(one, other).statistic, abs=1e-12)


@settings(deadline=None)
@given(values, values)
def test_the_stability_index_is_finite_never_negative_and_0_for_the_same_sample(
    one: list[float], other: list[float]
) -> None:
    found = population_stability(np.array(one), np.array(other))
    assert math.isfinite(found)
    assert found >= 0
    assert population_stability(np.array(one), np.array(one)) == 0


@pytest.mark.parametrize("frames", [30, 100, 300, 3000])
def test_the_stability_index_calls_no_two_samples_of_one_source_shifted(frames: int) -> None:
    rng = np.random.default_rng(1)
    found = [population_stability(rng.normal(size=frames), rng.normal(size=frames)) for _ in range(200)]
    assert np.mean(found) < 0.1
    assert population_stability(rng.normal(size=frames), rng.normal(1.5, size=frames)) > 0.25


# The common scale --------------------------------------------------------------------------------------------


@given(
    st.lists(st.floats(-1e3, 1e3, width=32), min_size=1, max_size=200),
    st.sampled_from([0.3, 0.05, 0.01, 1e-3, 1e-6]),
)
def test_a_thresholds_rate_is_never_more_than_the_rate_it_was_made_for(
    scores: list[float], target: float
) -> None:
    rate = float(false_reject_rates(scores, false_reject_threshold(scores, target)))
    if len(scores) >= FEW or np.ptp(scores) > 1e-6 * max(1.0, np.abs(scores).max()):
        assert rate <= target * 1.001


@given(st.lists(st.floats(-1e3, 1e3), min_size=1, max_size=200), values)
def test_a_higher_score_never_has_a_higher_rate(scores: list[float], found: list[float]) -> None:
    rates = false_reject_rates(scores, np.sort(found))
    assert (np.diff(rates) <= 1e-12).all()
    assert ((rates > 0) & (rates <= 1)).all()


def test_two_heads_on_different_scales_do_not_differ_on_frames_like_their_calibrations() -> None:
    rng = np.random.default_rng(2)
    good, frames = rng.gamma(4, size=400), rng.gamma(4, size=1000)
    cubed = manifest(
        sorted(1000 + good**3), "2"
    )  # the same head, on a scale that has nothing to do with the other's
    report = shadowed(frames, 1000 + frames**3, manifest(sorted(good)), cubed).report()
    assert report.ks < 0.05
    assert report.psi < 0.05
    assert report.agree > 0.99


def test_a_candidate_to_which_the_line_looks_strange_is_plainly_shifted() -> None:
    rng = np.random.default_rng(3)
    good = sorted(rng.gamma(4, size=400))
    frames = rng.gamma(4, size=500)
    report = shadowed(frames, frames + 5, manifest(good), manifest(good, "2")).report()
    assert report.ks > 0.4
    assert report.psi > 0.25
    assert report.candidate.reject_rate > report.incumbent.reject_rate + 0.1


def test_without_calibration_scores_only_the_verdicts_are_compared() -> None:
    frames = np.array([0.5] * 60 + [2.0] * 40)
    report = shadowed(frames, np.full(100, 0.5), manifest([]), manifest([], "2")).report()
    assert report.ks == pytest.approx(0.4)
    assert report.only_incumbent == 40


# The report --------------------------------------------------------------------------------------------------


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.floats(0, 10), st.floats(0, 10)), max_size=80), st.integers(1, 60))
def test_a_report_counts_every_frame_and_can_be_had_at_any_time(
    frames: list[tuple[float, float]], wanted: int
) -> None:
    good = [float(score) for score in np.linspace(0, 4, 120)]
    shadow = Shadow(manifest(good), manifest(good, "2"), wanted=wanted)
    for a, b in frames:
        shadow.saw(Word(a, 4.0, 1.0), Word(b, 5.0, 2.0))
    report = shadow.report()
    rejected = [(a > 4.0, b > 5.0) for a, b in frames]
    assert report.frames == len(frames)
    assert report.only_incumbent == rejected.count((True, False))
    assert report.only_candidate == rejected.count((False, True))
    if frames:
        assert report.agree == pytest.approx(sum(a == b for a, b in rejected) / len(frames))
        assert report.incumbent.reject_rate == pytest.approx(np.mean([a for a, _ in rejected]))
        assert len(report.candidate.quantiles) == len(QUANTILES)
        assert report.candidate.quantiles == sorted(report.candidate.quantiles)
        assert (report.incumbent.latency_ms, report.candidate.latency_p95_ms) == (1.0, 2.0)
    else:
        assert report.incumbent.quantiles == []


def test_a_long_shadow_keeps_an_even_sample(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evaluation, "MOST_KEPT", 500)
    frames = np.linspace(0, 1, 20_000)
    good = manifest([float(score) for score in np.linspace(0, 1, 200)])
    shadow = shadowed(frames, frames, good, good)
    assert shadow._kept.nbytes <= 500 * 4 * 8
    quantiles = shadow.report().candidate.quantiles
    assert quantiles == pytest.approx(QUANTILES, abs=0.07)


def test_the_proposed_threshold_holds_the_candidates_own_target_but_for_frames_that_both_reject() -> None:
    rng = np.random.default_rng(4)
    calibrated = sorted(rng.gamma(4, size=300))
    line = rng.gamma(4, size=2000) + 2  # the line gives higher scores than the pictures it was calibrated on
    bad = np.arange(0, 2000, 20)
    ours, theirs = line.copy(), line.copy()
    ours[bad] = theirs[bad] = 1000.0
    old, new = manifest(sorted(line), "1", false_rejects=1e-6), manifest(calibrated, "2", false_rejects=0.02)
    report = shadowed(ours, theirs, old, new).report()
    assert report.incumbent.reject_rate == 0.05
    good = np.delete(line, bad)
    assert report.proposed_false_rejects == 0.02
    assert report.proposed_threshold == pytest.approx(false_reject_threshold(good.tolist(), 0.02), rel=0.02)
    assert np.mean(good > report.proposed_threshold) <= 0.02
    assert np.mean(good > new.calibration.threshold) > 0.05


def test_of_too_few_frames_no_threshold_is_proposed() -> None:
    good = [float(score) for score in np.linspace(0, 1, 200)]
    report = shadowed(np.full(29, 0.5), np.full(29, 0.5), manifest(good), manifest(good)).report()
    assert report.proposed_threshold is None


def test_memory_and_heat_are_told_at_their_worst() -> None:
    good = [float(score) for score in np.linspace(0, 1, 200)]
    shadow = Shadow(manifest(good), manifest(good), wanted=10)
    assert shadow.report().peak_c is None
    for memory_mb, temperature_c in ((5.0, 60.0), (11.0, None), (7.0, 66.5), (0.0, 50.0)):
        shadow.felt(memory_mb=memory_mb, temperature_c=temperature_c)
    assert (shadow.report().memory_mb, shadow.report().peak_c) == (11.0, 66.5)


# The gallery -------------------------------------------------------------------------------------------------


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 1000)), max_size=80), st.integers(1, 12))
def test_the_gallery_keeps_the_strongest_of_both_kinds_and_some_of_the_weakest(
    found: list[tuple[bool, int]], size: int
) -> None:
    gallery: Gallery[int] = Gallery(size)
    for number, (only_candidate, strength) in enumerate(found):
        wanted = gallery.wants(only_candidate, strength)
        gallery.add(Kept(only_candidate, strength, number))
        assert wanted == (number in [kept.what for kept in gallery.all()])
    kept = gallery.all()
    assert len(kept) == min(size, len(found))
    counts = [sum(one.only_candidate is kind for one in kept) for kind in (False, True)]
    for kind in (False, True):
        mine = sorted((one.strength for one in kept if one.only_candidate is kind), reverse=True)
        every = sorted((strength for only, strength in found if only is kind), reverse=True)
        assert counts[kind] >= min(len(every), size // 2)  # neither kind crowds the other out
        strong = math.ceil(len(mine) * 2 / 3) if len(mine) < len(every) else len(mine)
        assert mine[:strong] == every[:strong]
        weak = len(mine) - strong
        assert mine[strong:] == (every[-weak:] if weak else [])


# The line's own time -----------------------------------------------------------------------------------------


def line(
    *, interval_s: float, ours_s: float, theirs_s: float, shadow: bool, seconds: float = 60.0
) -> tuple[int, int]:
    """A camera with a slot for the newest frame, and a loop with a shadow or none: frames judged by either."""
    budget, now_s, last, judged, followed = Budget(0.0), 0.0, -1, 0, 0
    while now_s < seconds:
        index = max(last + 1, math.floor(now_s / interval_s))
        now_s = max(now_s, index * interval_s) + ours_s
        last, judged = index, judged + 1
        budget.frame_came(index, index * interval_s)
        if shadow and budget.may_work(now_s):
            budget.worked(now_s, now_s + theirs_s)
            now_s, followed = now_s + theirs_s, followed + 1
    return judged, followed


@settings(max_examples=60, deadline=None)
@given(st.floats(0.005, 0.3), st.floats(0.002, 0.25), st.floats(0.002, 0.5))
def test_a_shadow_costs_the_line_a_tenth_of_its_rate_at_most_and_never_starves(
    interval_s: float, ours_s: float, theirs_s: float
) -> None:
    alone, _ = line(interval_s=interval_s, ours_s=ours_s, theirs_s=theirs_s, shadow=False)
    beside, followed = line(interval_s=interval_s, ours_s=ours_s, theirs_s=theirs_s, shadow=True)
    assert beside >= 0.9 * alone - 2
    assert followed >= min(beside, SHARE * 60 / (theirs_s + interval_s)) * 0.5


def test_where_the_line_leaves_time_every_frame_is_followed() -> None:
    judged, followed = line(interval_s=0.1, ours_s=0.03, theirs_s=0.05, shadow=True)
    assert followed == judged


def test_a_fast_line_loses_nothing_to_a_shadow_that_fits_in_between() -> None:
    for ours_s, theirs_s in itertools.product((0.005, 0.01), (0.01, 0.02)):
        alone, _ = line(interval_s=0.033, ours_s=ours_s, theirs_s=theirs_s, shadow=False)
        beside, followed = line(interval_s=0.033, ours_s=ours_s, theirs_s=theirs_s, shadow=True)
        assert followed == beside >= alone - 1  # the last one's turn is beyond the end
