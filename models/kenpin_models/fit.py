"""Fit heads to what the encoder saw in good pictures.

Each `fit_*` returns one of the agent's own heads, so what is judged here is what will run. Whatever a release
stores in half precision is rounded before anything is computed from it: a head that was saved and loaded
scores as the one that was fitted.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, get_args

import numpy as np
import numpy.typing as npt

from kenpin_agent.encoder import Features
from kenpin_agent.heads import (
    Cosine,
    Head,
    Knn,
    Lof,
    Mahalanobis,
    Padim,
    PatchGaussian,
    PatchKnn,
    local_densities,
    patch_embedding,
)
from kenpin_wire.errors import ConfigError
from kenpin_wire.manifest import HeadKind

HEADS: tuple[HeadKind, ...] = tuple(kind for kind in get_args(HeadKind) if kind != "fusion")
MIN_PICTURES = 2
"""Below this there is nothing to compare a part with."""

MAX_REFERENCES = 1000
"""LOF's AUC saturates there (Perera & Patel; see field notes), and a query costs as many rows."""

BANK_PATCHES = 768
"""Size of the `patch_knn` memory bank. A greedy coreset of 500 patches is as good as 4,000 random ones (aliens
0.992 against 0.992, cookie 1.000 against 1.000, 160 px, mean of 3 seeds), and it is searched for every patch."""

TOP_SHARE = 0.01
"""Of a picture's patches, the share whose mean is its score: four of 400. Less is as good and less steady, more
loses what is small (cookie 0.983 at 0.01, 0.974 at 0.03, 0.966 at 0.1, mean of 6 seeds; aliens alike)."""

Floats = npt.NDArray[np.float32]


def fit_head(
    kind: HeadKind,
    features: Sequence[Features],
    maps: Sequence[str],
    seed: int = 0,
    localiser: PatchGaussian | None = None,
) -> Head:
    """Fit a head to good pictures.

    Args:
        features: One entry a picture, at least `MIN_PICTURES`.
        maps: The encoder's maps that patches are made of, the finest first.
        seed: Of the random subsets that large sets are cut down to.
        localiser: What `fit_gaussian` makes of the same pictures, where it is there already.

    Raises:
        ConfigError: if there are too few pictures.
    """
    if len(features) < MIN_PICTURES:
        raise ConfigError(
            f"{len(features)} good picture(s) to fit on",
            where=kind,
            remedy=f"Give at least {MIN_PICTURES}; ten or more are better.",
        )
    rng = np.random.default_rng(seed)
    names = tuple(maps)
    if kind == "patch_knn":
        return fit_patch_knn(features, names, rng)
    localiser = localiser or fit_gaussian(features, names)
    if kind == "padim":
        return Padim(localiser, TOP_SHARE)
    pooled = np.stack([entry.pooled for entry in features])
    if kind == "mahalanobis":
        return fit_mahalanobis(pooled, localiser)
    if kind == "cosine":
        return fit_cosine(pooled, localiser)
    references = _half(pooled[_subset(len(pooled), MAX_REFERENCES, rng)])
    if kind == "knn":
        return Knn(localiser, references, min(5, len(references)))
    neighbours = lof_neighbours(len(references))
    return Lof(localiser, references, *local_densities(references, neighbours), neighbours)


def lof_neighbours(n: int) -> int:
    """LOF's k for n references: √n, from 5 to 30, and less than n.

    With 30 good pictures 5 is better than 20 (aliens 0.98 against 0.96); with 1,000, 20 to 50 are better
    than 5 by 0.02 to 0.05 (sneaker/boot).
    """
    return max(1, min(n - 1, int(np.clip(round(n**0.5), 5, 30))))


def fit_cosine(pooled: Floats, localiser: PatchGaussian) -> Cosine:
    """The mean of *all* pictures' directions, each of length 1, so that no bright picture counts more."""
    norms = np.linalg.norm(pooled, axis=1, keepdims=True)
    return Cosine(localiser, (pooled / np.maximum(norms, 1e-12)).mean(axis=0).astype(np.float32))


def fit_mahalanobis(pooled: Floats, localiser: PatchGaussian) -> Mahalanobis:
    """With the covariance shrunk as Ledoit and Wolf (2004) do: there are fewer pictures than dimensions."""
    from sklearn.covariance import ledoit_wolf  # noqa: PLC0415 (takes a second, and only this head needs it)

    covariance, _ = ledoit_wolf(pooled.astype(np.float64))
    values, vectors = np.linalg.eigh(covariance)
    whitening = (vectors / np.sqrt(np.maximum(values, 1e-9))).T
    return Mahalanobis(localiser, pooled.mean(axis=0), _half(whitening))


def fit_gaussian(features: Sequence[Features], maps: tuple[str, ...]) -> PatchGaussian:
    """A diagonal Gaussian for each place of the patch grid.

    A variance that a few pictures give is drawn towards its channel's mean over all places, which weighs as
    much as `_PRIOR_PICTURES` pictures do (aliens 0.974 instead of 0.930, 34 pictures); with many pictures it
    is its own.
    """
    n = len(features)
    # Two passes, a picture at a time: all patches of a thousand pictures would be gigabytes.
    mean = np.zeros_like(patch_embedding(features[0], maps), dtype=np.float64)
    for entry in features:
        mean += patch_embedding(entry, maps)
    mean /= n
    variance = np.zeros_like(mean)
    for entry in features:
        variance += (patch_embedding(entry, maps) - mean) ** 2
    variance /= n
    of_channel = variance.mean(axis=(0, 1), keepdims=True)
    shrunk = (n * variance + _PRIOR_PICTURES * of_channel) / (n + _PRIOR_PICTURES)
    floor = 1e-3 * float(of_channel.mean()) + 1e-8  # a channel that never moved must not decide alone
    return PatchGaussian(maps, _half(mean), _half(1 / np.sqrt(shrunk + floor)))


def fit_patch_knn(features: Sequence[Features], maps: tuple[str, ...], rng: np.random.Generator) -> PatchKnn:
    """A memory bank: the greedy k-centre coreset (as PatchCore's) of the good pictures' patches."""
    share = -(-_CANDIDATES // len(features))
    embeddings = (patch_embedding(entry, maps) for entry in features)
    candidates = np.concatenate([_some(e.reshape(-1, e.shape[2]), share, rng) for e in embeddings])
    candidates = _some(candidates, _CANDIDATES, rng)
    shift = candidates.mean(axis=0)
    variance = candidates.var(axis=0)
    # Half the channel's own variance, half all channels': a channel that hardly moves must not count as much as
    # one that does (aliens 0.995 against 0.993, cookie 0.980 against 0.976, 160 px, mean of 6 seeds).
    scale = 1 / np.sqrt((variance + variance.mean()) / 2 + 1e-8)
    standard = ((candidates - shift) * scale).astype(np.float32)
    bank = _half(standard[greedy_coreset(standard, BANK_PATCHES, rng)])
    return PatchKnn(maps, bank, shift.astype(np.float32), scale.astype(np.float32), TOP_SHARE)


def greedy_coreset(points: Floats, size: int, rng: np.random.Generator) -> npt.NDArray[np.intp]:
    """Indices of `size` points, each in turn the one farthest from those chosen before (k-centre greedy,
    Sener & Savarese 2018); all of them if there are no more.

    Args:
        points: Shape (n, d), float32.
    """
    n = len(points)
    if size >= n:
        return np.arange(n)
    squares = np.einsum("nd,nd->n", points, points)
    chosen = np.empty(size, dtype=np.intp)
    chosen[0] = rng.integers(n)
    nearest = np.full(n, np.inf, dtype=np.float32)
    for i in range(1, size):
        last = chosen[i - 1]
        np.minimum(nearest, squares - 2 * (points @ points[last]) + squares[last], out=nearest)
        chosen[i] = int(nearest.argmax())
    return chosen


_PRIOR_PICTURES = 30
_CANDIDATES = 8192  # patches that the coreset is chosen from: 0.7 s


def _half(values: npt.NDArray[np.floating[Any]]) -> Floats:
    """Rounded to what a float16 holds, clipped to its range."""
    limit = float(np.finfo(np.float16).max)
    rounded = np.clip(values, -limit, limit).astype(np.float16).astype(np.float32)
    return np.ascontiguousarray(rounded)  # as it will be loaded: another order rounds differently


def _subset(n: int, most: int, rng: np.random.Generator) -> npt.NDArray[np.intp]:
    return np.arange(n) if n <= most else np.sort(rng.choice(n, most, replace=False))


def _some(rows: Floats, most: int, rng: np.random.Generator) -> Floats:
    return rows[_subset(len(rows), most, rng)]
