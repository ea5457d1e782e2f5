"""Rehearsing heads and choosing among them."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from kenpin_models import rehearse as r
from kenpin_models.fit import MIN_PICTURES
from kenpin_models.recipes import DEFAULTS, FUSION, PADIM, PATCH_KNN, Recipe
from kenpin_models.select import select
from kenpin_models.synthetic import SIZES, Kind
from support.small_release import MAPS, good_features


@given(st.integers(3, 200), st.integers(0, 99))
def test_every_picture_is_left_out_once_and_enough_are_left(n: int, seed: int) -> None:
    folds = r.split_folds(n, seed)
    assert sorted(index for fold in folds for index in fold) == list(range(n))
    assert len(folds) <= max(r.FOLDS, 3)
    assert all(n - len(fold) >= MIN_PICTURES for fold in folds)


def test_no_head_has_seen_what_it_scores() -> None:
    # A head that has seen a picture finds it among its references: distance 0 to the nearest.
    seen = [r.Seen(features) for features in good_features()]
    r_knn = r.rehearse([DEFAULTS["knn"], PATCH_KNN], MAPS, seen, [])
    assert min(r_knn[DEFAULTS["knn"]].good) > 0
    assert min(r_knn[PATCH_KNN].limits) > 0


def rehearsed(good: list[float], defect: float, bad: list[float] | None = None) -> r.Rehearsed:
    cells = {(kind, size): [defect, defect] for kind in Kind for size in SIZES}
    return r.Rehearsed(good, good, good, cells, bad or [])


LOF, KNN = DEFAULTS["lof"], DEFAULTS["knn"]
GOOD = [float(score) for score in np.linspace(1, 2, 20)]


def test_the_head_that_finds_smaller_defects_is_chosen() -> None:
    results: dict[Recipe, r.Rehearsed] = {LOF: rehearsed(GOOD, 1.5), PADIM: rehearsed(GOOD, 1.97)}
    selection = select(results)
    assert selection.recipe == PADIM
    assert [candidate.recipe for candidate in selection.candidates] == [PADIM, LOF]
    assert len(selection.as_report()) == 2


def test_of_equal_heads_the_first_is_chosen() -> None:
    assert select({KNN: rehearsed(GOOD, 3), LOF: rehearsed(GOOD, 3)}).recipe == KNN


def test_enough_labelled_bad_pictures_overrule_synthetic_ones() -> None:
    results: dict[Recipe, r.Rehearsed] = {
        LOF: rehearsed(GOOD, 1.8, [3.0] * 20),
        PADIM: rehearsed(GOOD, 3.0, [1.2] * 20),
    }
    assert select(results).recipe == LOF


def test_a_single_labelled_picture_does_not_overrule_everything() -> None:
    results: dict[Recipe, r.Rehearsed] = {
        LOF: rehearsed(GOOD, 1.2, [3.0]),
        PADIM: rehearsed(GOOD, 3.0, [1.8]),
    }
    assert select(results).recipe == PADIM


def test_a_fusion_is_rehearsed_from_its_members_scores() -> None:
    seen = [r.Seen(features) for features in good_features()]
    results = r.rehearse([FUSION], MAPS, seen, [], bad=[seen[0].features])
    assert set(results) == {FUSION, *FUSION.members}
    standardised = [
        (np.array(results[member].good) - np.mean(results[member].good)) / np.std(results[member].good)
        for member in FUSION.members
    ]
    np.testing.assert_allclose(results[FUSION].good, np.mean(standardised, axis=0))
    assert len(results[FUSION].bad) == 1
