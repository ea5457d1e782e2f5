"""Rehearsing heads and choosing among them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from kenpin_models import rehearse as r
from kenpin_models.fit import MIN_PICTURES
from kenpin_models.recipes import DEFAULTS, FUSION, PADIM, PATCH_KNN, Recipe
from kenpin_models.select import Candidate, found, rank, select
from kenpin_models.synthetic import SIZES, Kind
from kenpin_wire.manifest import Input
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


SMALL, LARGE = Input(width=160, height=160), Input(width=320, height=320)


def chosen(results: dict[Recipe, r.Rehearsed]) -> Recipe:
    return select(rank(results, SMALL)).chosen.recipe


def test_the_head_that_finds_smaller_defects_is_chosen() -> None:
    results = {LOF: rehearsed(GOOD, 1.5), PADIM: rehearsed(GOOD, 1.97)}
    selection = select(rank(results, SMALL))
    assert selection.chosen.recipe == PADIM
    assert [candidate.recipe for candidate in selection.candidates] == [PADIM, LOF]
    assert [row["chosen"] for row in selection.as_report()] == [True, False]


def test_of_equal_heads_the_first_is_chosen() -> None:
    assert chosen({KNN: rehearsed(GOOD, 3), LOF: rehearsed(GOOD, 3)}) == KNN


def test_enough_labelled_bad_pictures_overrule_synthetic_ones() -> None:
    results = {LOF: rehearsed(GOOD, 1.8, [3.0] * 20), PADIM: rehearsed(GOOD, 3.0, [1.2] * 20)}
    assert chosen(results) == LOF


def test_a_single_labelled_picture_does_not_overrule_everything() -> None:
    results = {LOF: rehearsed(GOOD, 1.2, [3.0]), PADIM: rehearsed(GOOD, 3.0, [1.8])}
    assert chosen(results) == PADIM


def candidate(spec: Input, mark: float, *, affordable: bool = True) -> Candidate:
    return Candidate(PADIM, spec, mark, mark, None, None, mark, affordable=affordable)


def test_a_size_far_from_the_usual_must_be_worth_it() -> None:
    usual = Input(width=224, height=224)
    assert select([candidate(usual, 0.5), candidate(LARGE, 0.53)]).chosen.input == usual
    assert select([candidate(usual, 0.5), candidate(LARGE, 0.6)]).chosen.input == LARGE
    assert select([candidate(usual, 0.5), candidate(SMALL, 0.53)]).chosen.input == usual


def test_of_heads_that_do_about_as_well_their_fusion_is_chosen() -> None:
    fusion = replace(candidate(SMALL, 0.5), recipe=FUSION)
    assert select([candidate(SMALL, 0.53), fusion]).chosen.recipe == FUSION
    assert select([candidate(SMALL, 0.6), fusion]).chosen.recipe == PADIM


def test_what_is_over_the_budget_is_shown_and_not_chosen() -> None:
    selection = select([candidate(SMALL, 0.5), candidate(LARGE, 0.9, affordable=False)])
    assert selection.chosen.input == SMALL
    assert [row["affordable"] for row in selection.as_report()] == [False, True]


def test_if_nothing_is_within_the_budget_the_cheapest_is_taken() -> None:
    tried = [candidate(SMALL, 0.5, affordable=False), candidate(LARGE, 0.9, affordable=False)]
    assert select(tried).chosen.input == SMALL


@given(
    st.lists(st.floats(-5, 5), min_size=2, max_size=30),
    st.lists(st.floats(-5, 5), min_size=1),
    st.floats(0, 5),
)
def test_a_defect_that_scores_higher_never_counts_less(
    good: list[float], bad: list[float], more: float
) -> None:
    assert found(good, [score + more for score in bad]) >= found(good, bad) - 1e-12


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
