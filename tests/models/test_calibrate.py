"""From scores to thresholds: promises where there are enough pictures, honest estimates where not."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from kenpin_models.calibrate import honest_note, promised_from, threshold_from

few = st.lists(st.floats(0.1, 10), min_size=1, max_size=50)
rates = st.floats(0.001, 0.5)


@given(few, st.tuples(rates, rates))
def test_a_lower_rate_never_lowers_the_threshold_while_both_are_estimates(
    scores: list[float], pair: tuple[float, float]
) -> None:
    low, high = sorted(pair)
    if len(scores) < promised_from(high):
        assert threshold_from(scores, low) >= threshold_from(scores, high)


@given(few, st.floats(0.001, 0.2))
def test_a_threshold_is_never_below_most_of_the_good_pictures(scores: list[float], rate: float) -> None:
    assert threshold_from(scores, rate) >= np.median(scores) - 1e-9


def test_good_pictures_that_are_all_alike_leave_some_room() -> None:
    assert threshold_from([2.0] * 10, 0.01) > 2.0


def test_enough_pictures_keep_the_promise_on_average() -> None:
    rng = np.random.default_rng(0)
    rejected = []
    for _ in range(400):
        threshold = threshold_from(rng.gamma(2, size=120).tolist(), 0.05)
        rejected.append((rng.gamma(2, size=500) > threshold).mean())
    assert 0.03 < np.mean(rejected) <= 0.05


def test_a_few_pictures_stay_near_the_rate_though_they_cannot_promise_it() -> None:
    rng = np.random.default_rng(0)
    rejected = [
        (rng.normal(1, 0.1, 500) > threshold_from(rng.normal(1, 0.1, 30).tolist(), 0.01)).mean()
        for _ in range(400)
    ]
    assert np.mean(rejected) < 0.03


def test_the_note_says_what_cannot_be_promised_and_what_it_takes() -> None:
    assert promised_from(0.01) == 99
    assert honest_note(99, 0.01) == ""
    note = honest_note(24, 0.01)
    assert "24 good pictures" in note
    assert "4.0%" in note
    assert "99" in note
