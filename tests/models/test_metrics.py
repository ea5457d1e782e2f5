"""The figures of an evaluation, against scikit-learn and by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from kenpin_models.metrics import aupro, auroc, pixel_auroc, share_above, tpr_at_fpr

scores = st.lists(st.integers(0, 20).map(float), min_size=1, max_size=40)  # integers: ties are common


@given(scores, scores)
def test_auroc_is_scikit_learns(good: list[float], bad: list[float]) -> None:
    truth = [0] * len(good) + [1] * len(bad)
    assert auroc(good, bad) == pytest.approx(roc_auc_score(truth, good + bad))


@given(scores, scores, st.floats(0, 0.5))
def test_tpr_keeps_the_false_positive_rate(good: list[float], bad: list[float], fpr: float) -> None:
    found = tpr_at_fpr(good, bad, fpr)
    best = max(share_above(bad, t) for t in [*good, *bad, -1.0] if share_above(good, t) <= fpr + 1e-9)
    assert found == pytest.approx(best)


def test_a_map_that_is_the_mask_is_perfect() -> None:
    mask = np.zeros((40, 40), np.uint8)
    mask[5:12, 5:12] = mask[20:24, 30:38] = 255
    exact = (mask / 255).astype(np.float32)
    clean, nothing = np.zeros((40, 40), np.float32), np.zeros((40, 40), np.uint8)
    assert pixel_auroc([exact, clean], [mask, nothing]) == 1.0
    assert aupro([exact, clean], [mask, nothing]) == pytest.approx(1.0)


def test_a_map_of_noise_is_worth_nothing() -> None:
    rng = np.random.default_rng(0)
    mask = np.zeros((100, 100), np.uint8)
    mask[20:60, 20:60] = 255
    noise = rng.random((100, 100)).astype(np.float32)
    assert pixel_auroc([noise], [mask]) == pytest.approx(0.5, abs=0.02)
    assert aupro([noise], [mask]) == pytest.approx(0.15, abs=0.02)  # the diagonal's share up to 30 %


def test_aupro_counts_a_small_region_as_much_as_a_large_one() -> None:
    mask = np.zeros((60, 60), np.uint8)
    mask[:40, :40] = 255
    mask[50:53, 50:53] = 255
    only_large = np.zeros((60, 60), np.float32)
    only_large[:40, :40] = 1
    only_large += np.random.default_rng(0).random((60, 60)).astype(np.float32) * 1e-3
    assert pixel_auroc([only_large], [mask]) > 0.99
    assert aupro([only_large], [mask]) < 0.65
