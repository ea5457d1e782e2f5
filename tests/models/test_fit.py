"""Fitted heads: sound, saved without loss, and fitted as their papers say."""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.covariance import LedoitWolf

from kenpin_agent.encoder import Features
from kenpin_agent.heads import Head, load_head
from kenpin_models.bundle import _head_bytes
from kenpin_models.fit import Fitter, fit_whitening, greedy_coreset, lof_neighbours
from kenpin_models.recipes import AUTO, DEFAULTS, FUSION, PADIM_BROAD, Recipe
from kenpin_wire.errors import ConfigError
from kenpin_wire.manifest import HeadKind
from support.small_release import MAPS, good_features


def random_features(n: int, seed: int = 0) -> list[Features]:
    rng = np.random.default_rng(seed)
    return [
        Features(
            (5 + rng.normal(size=12)).astype(np.float32),
            {
                "block4": rng.normal(size=(4, 6, 3)).astype(np.float32),
                "block7": rng.random((2, 3, 5), np.float32),
            },
        )
        for _ in range(n)
    ]


def fitted(recipe: Recipe, features: Sequence[Features], maps: Sequence[str] = MAPS) -> Head:
    return Fitter(features, maps).head(recipe, dict.fromkeys(recipe.members, (1.0, 0.5)))


@pytest.mark.parametrize("recipe", AUTO, ids=str)
@pytest.mark.parametrize("n", [2, 7])
def test_a_head_scores_the_same_once_saved_and_loaded(recipe: Recipe, n: int) -> None:
    head = fitted(recipe, good_features()[:n])
    with np.load(io.BytesIO(_head_bytes(head))) as arrays:
        loaded = load_head(head.kind, dict(arrays), head.parameters)
    for features in good_features():
        assert loaded.score(features) == head.score(features)
        assert (loaded.patch_scores(features) == head.patch_scores(features)).all()


@pytest.mark.parametrize("recipe", AUTO, ids=str)
def test_what_was_never_seen_scores_higher(recipe: Recipe) -> None:
    head = fitted(recipe, random_features(30))
    odd = Features(
        np.array([15, -5] * 6, np.float32), {name: m + 4 for name, m in random_features(1, 9)[0].maps.items()}
    )
    assert head.score(odd) > max(head.score(features) for features in random_features(20, 1))


@pytest.mark.parametrize("recipe", AUTO, ids=str)
def test_equal_pictures_make_a_head_all_the_same(recipe: Recipe) -> None:
    head = fitted(recipe, random_features(1) * 6)
    assert np.isfinite(head.score(random_features(1, 5)[0]))


@pytest.mark.parametrize("recipe", AUTO, ids=str)
def test_one_picture_is_refused(recipe: Recipe) -> None:
    with pytest.raises(ConfigError, match="1 good picture"):
        fitted(recipe, random_features(1))


def test_cosine_is_fitted_to_all_pictures_whatever_their_length() -> None:
    dim = Features(np.array([1, 0], np.float32), {"m": np.ones((1, 1, 1), np.float32)})
    bright = Features(np.array([0, 1000], np.float32), dim.maps)
    head = fitted(DEFAULTS["cosine"], [dim, bright], ["m"])
    assert head.score(dim) == pytest.approx(head.score(bright))


def test_mahalanobis_is_that_of_ledoit_and_wolf() -> None:
    features = random_features(40)
    head = fitted(DEFAULTS["mahalanobis"], features)
    reference = LedoitWolf().fit(np.stack([f.pooled for f in features]).astype(np.float64))
    for probe in random_features(5, 3):
        expected = float(reference.mahalanobis(probe.pooled[np.newaxis])[0]) ** 0.5
        assert head.score(probe) == pytest.approx(expected, rel=2e-3)  # stored in half precision


def test_whitening_makes_good_parts_vary_alike_in_all_directions() -> None:
    rng = np.random.default_rng(0)
    pooled = (
        rng.normal(size=(4000, 6)) * [9, 5, 2, 1, 1, 1] @ np.linalg.qr(rng.normal(size=(6, 6)))[0]
    ).astype(np.float32)
    white = fit_whitening(pooled)(pooled)
    np.testing.assert_allclose(np.cov(white.T), np.eye(6), atol=0.05)


@pytest.mark.parametrize("kind", ["lof", "knn"])
def test_whitened_or_not_is_the_recipes_to_say(kind: HeadKind) -> None:
    plain, white = (
        fitted(Recipe(kind, whitened=whitened), random_features(20)) for whitened in (False, True)
    )
    assert "whitening_mean" not in plain.arrays()
    assert "whitening_mean" in white.arrays()


def test_the_exponent_is_in_the_head() -> None:
    assert fitted(PADIM_BROAD, random_features(4)).parameters["exponent"] == 4


def test_the_fewer_pictures_the_less_of_the_median_is_taken_off() -> None:
    ten, many = FUSION.for_pictures(10), FUSION.for_pictures(1000)
    assert [member.median_share for member in ten.members] == [0.2, 0.2]
    assert many == FUSION
    assert PADIM_BROAD.for_pictures(10).median_share == 0


@given(st.integers(2, 5000))
def test_lof_never_asks_for_more_neighbours_than_there_are(n: int) -> None:
    assert 1 <= lof_neighbours(n) <= min(n - 1, 30)


@given(st.integers(1, 60), st.integers(1, 60), st.integers(0, 99))
def test_a_coreset_is_distinct_and_twice_as_good_as_the_best_at_worst(n: int, size: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    points = rng.normal(size=(n, 3)).astype(np.float32)
    chosen = greedy_coreset(points, size, rng)
    assert len(set(chosen.tolist())) == len(chosen) == min(n, size)
    distances = np.linalg.norm(points[:, None] - points[chosen], axis=2)
    radius = distances.min(axis=1).max()
    between = np.linalg.norm(points[chosen][:, None] - points[chosen], axis=2) + 1e9 * np.eye(len(chosen))
    assert radius <= between.min() + 1e-3  # Gonzalez' bound: every point is nearer than the chosen lie apart
