"""Rehearsing heads and choosing among them."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from kenpin_models import rehearse as r
from kenpin_models.fit import MIN_PICTURES
from kenpin_models.select import select
from kenpin_models.synthetic import SIZES, Kind
from kenpin_wire.manifest import HeadKind
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
    r_knn = r.rehearse(["knn", "patch_knn"], MAPS, seen, [])
    assert min(r_knn["knn"].good) > 0
    assert min(r_knn["patch_knn"].limits) > 0


def rehearsed(good: list[float], defect: float, bad: list[float] | None = None) -> r.Rehearsed:
    cells = {(kind, size): [defect, defect] for kind in Kind for size in SIZES}
    return r.Rehearsed(good, good, good, cells, bad or [])


GOOD = [float(score) for score in np.linspace(1, 2, 20)]


def test_the_head_that_finds_smaller_defects_is_chosen() -> None:
    results: dict[HeadKind, r.Rehearsed] = {"lof": rehearsed(GOOD, 1.5), "padim": rehearsed(GOOD, 1.97)}
    selection = select(results)
    assert selection.head == "padim"
    assert [candidate.head for candidate in selection.candidates] == ["padim", "lof"]
    assert len(selection.as_report()) == 2


def test_of_equal_heads_the_first_is_chosen() -> None:
    assert select({"knn": rehearsed(GOOD, 3), "lof": rehearsed(GOOD, 3)}).head == "knn"


def test_enough_labelled_bad_pictures_overrule_synthetic_ones() -> None:
    results: dict[HeadKind, r.Rehearsed] = {
        "lof": rehearsed(GOOD, 1.8, [3.0] * 20),
        "padim": rehearsed(GOOD, 3.0, [1.2] * 20),
    }
    assert select(results).head == "lof"


def test_a_single_labelled_picture_does_not_overrule_everything() -> None:
    results: dict[HeadKind, r.Rehearsed] = {
        "lof": rehearsed(GOOD, 1.2, [3.0]),
        "padim": rehearsed(GOOD, 3.0, [1.8]),
    }
    assert select(results).head == "padim"
