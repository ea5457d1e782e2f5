"""Fit heads to what the encoder saw in good pictures.

A `Fitter` returns the agent's own heads, so what is judged here is what will run. Whatever a release stores in
half precision is rounded before anything is computed from it: a head that was saved and loaded scores as the one
that was fitted.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from kenpin_agent.encoder import Features
from kenpin_agent.heads import (
    Cosine,
    Fusion,
    Head,
    Knn,
    Lof,
    Mahalanobis,
    Padim,
    PatchGaussian,
    PatchKnn,
    Projection,
    Whitening,
    local_densities,
    patch_embedding,
)
from kenpin_agent.heads.fusion import Member
from kenpin_models.recipes import Recipe
from kenpin_wire.errors import ConfigError

MIN_PICTURES = 2
"""Below this there is nothing to compare a part with."""

MAX_REFERENCES = 500
"""A query costs as many rows. On sneaker/boot 1,000, where the published LOF saturates, are no better once whitened
(`lof` 0.968 with 1,000 and 0.967 with 500, `knn` 0.968 and 0.967)."""

BANK_PATCHES = 512
"""Size of the `patch_knn` memory bank, which is searched for every patch. A greedy coreset of that size is no worse
than one of 768 (mean AUROC of ten sets 0.874 against 0.873 at 160 px, 0.896 against 0.892 at 224 px)."""

BANK_COMPONENTS = 96
"""Principal components that a patch of the bank is described by. With all 232 channels it costs twice as much and
is no better (aliens 0.992 against 0.992, cookie 0.992 against 0.987, 160 px, mean of 4 seeds); whitened components
are worse (0.986, 0.977)."""

WHITENING_COMPONENTS = 64
"""As many of the covariance's directions are kept apart; all 464 give the same (mean AUROC of `mahalanobis` on seven
sets 0.832 and 0.831)."""

Floats = npt.NDArray[np.float32]
Spread = tuple[float, float]
"""Mean and standard deviation of what good pictures score that a head was not fitted on."""


class Fitter:
    """Fits any number of heads to the same good pictures; what two heads share is worked out once.

    Args:
        features: One entry a picture, at least `MIN_PICTURES`.
        maps: The encoder's maps that patches are made of, the finest first.
        seed: Of the random subsets that large sets are cut down to.

    Raises:
        ConfigError: if there are too few pictures.
    """

    def __init__(self, features: Sequence[Features], maps: Sequence[str], seed: int = 0) -> None:
        if len(features) < MIN_PICTURES:
            raise ConfigError(
                f"{len(features)} good picture(s) to fit on",
                where="train",
                remedy=f"Give at least {MIN_PICTURES}; ten or more are better.",
            )
        self._features = features
        self._maps = tuple(maps)
        self._seed = seed

    def head(self, recipe: Recipe, spreads: Mapping[Recipe, Spread] | None = None) -> Head:
        """Fit a head.

        Args:
            spreads: Of a fusion's members, which set their weight.
        """
        if recipe.kind != "fusion":
            return self._member(recipe)
        known = [(spreads or {})[member] for member in recipe.members]
        # Pictures that are all alike must not make a member's least change decide alone.
        scales = [max(deviation, 0.01 * abs(mean), 1e-6) for mean, deviation in known]
        members = tuple(self._member(member) for member in recipe.members)
        return Fusion(members, np.array([mean for mean, _ in known]), np.array(scales))

    def _member(self, recipe: Recipe) -> Member:
        match recipe.kind:
            case "patch_knn":
                projection, bank = self._bank
                return PatchKnn(projection, bank, recipe.exponent, recipe.median_share)
            case "padim":
                full = recipe.covariance == "full"
                gaussian = self._full if full else self._diagonal
                return Padim(gaussian, recipe.exponent, recipe.median_share)
            case "mahalanobis":
                return Mahalanobis(self._localiser, self._whitening)
            case "cosine":
                return fit_cosine(self._pooled, self._localiser)
        rng = np.random.default_rng(self._seed)
        references = self._pooled[_subset(len(self._pooled), MAX_REFERENCES, rng)]
        whitening = self._whitening if recipe.whitened else None
        references = _half(whitening(references) if whitening else references)
        if recipe.kind == "knn":
            return Knn(self._localiser, references, min(5, len(references)), whitening)
        neighbours = lof_neighbours(len(references))
        densities = local_densities(references, neighbours)
        return Lof(self._localiser, references, *densities, neighbours, whitening)

    @cached_property
    def _whitening(self) -> Whitening:
        return fit_whitening(self._pooled)

    @cached_property
    def _pooled(self) -> Floats:
        return np.stack([entry.pooled for entry in self._features])

    @cached_property
    def _localiser(self) -> PatchGaussian:
        return fit_gaussian(self._features, self._maps)

    @cached_property
    def _diagonal(self) -> PatchGaussian:
        """Of the last map alone: a sixth of the work, and as good (sneaker/boot 0.977, all maps 0.975)."""
        return fit_gaussian(self._features, self._maps[-1:])

    @cached_property
    def _full(self) -> PatchGaussian:
        return fit_full_gaussian(self._features, self._maps[-1:], np.random.default_rng(self._seed))

    @cached_property
    def _bank(self) -> tuple[Projection, Floats]:
        return fit_bank(self._features, self._maps, np.random.default_rng(self._seed))


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


def fit_whitening(pooled: Floats) -> Whitening:
    """With the covariance shrunk as Ledoit and Wolf (2004) do: there are fewer pictures than dimensions.

    Args:
        pooled: Shape (n, d).
    """
    from sklearn.covariance import ledoit_wolf  # noqa: PLC0415 (takes a second, and only pooled heads need it)

    covariance, _ = ledoit_wolf(pooled.astype(np.float64))
    values, vectors = np.linalg.eigh(covariance)
    values = np.maximum(values[::-1], 1e-9)
    k = min(WHITENING_COMPONENTS, len(values))
    floor = float(np.sqrt(values[k:].mean() if k < len(values) else values[-1]))
    components = _half(vectors[:, ::-1][:, :k].T)
    shrinks = _half(floor / np.sqrt(values[:k]) - 1)
    return Whitening(pooled.mean(axis=0).astype(np.float32), components, shrinks, floor)


def fit_gaussian(features: Sequence[Features], maps: tuple[str, ...]) -> PatchGaussian:
    """A diagonal Gaussian for each place of the patch grid.

    A variance that a few pictures give is drawn towards its channel's mean over all places, which weighs as
    much as `_PRIOR_PICTURES` pictures do (aliens 0.974 instead of 0.930, 34 pictures); with many pictures it
    is its own.
    """
    n = len(features)
    mean = _mean_embedding(features, maps)
    variance = np.zeros_like(mean)
    for entry in features:
        variance += (patch_embedding(entry, maps) - mean) ** 2
    variance /= n
    of_channel = variance.mean(axis=(0, 1), keepdims=True)
    shrunk = (n * variance + _PRIOR_PICTURES * of_channel) / (n + _PRIOR_PICTURES)
    floor = 1e-3 * float(of_channel.mean()) + 1e-8  # a channel that never moved must not decide alone
    return PatchGaussian(maps, _half(mean), _half(1 / np.sqrt(shrunk + floor)))


def fit_full_gaussian(
    features: Sequence[Features], maps: tuple[str, ...], rng: np.random.Generator
) -> PatchGaussian:
    """A Gaussian with full covariance for each place of the patch grid, of whitened principal components.

    On the encoder's last map alone, which is small and says most about shape: aliens 0.990, cookie 0.981 (both
    diagonal on all maps: 0.971, 0.949), sneaker/boot as good as with all maps (0.977). A place's covariance is
    drawn towards that of all places, which weighs as much as `_PRIOR_PICTURES` pictures do.
    """
    n = len(features)
    mean = _mean_embedding(features, maps)
    height, width, depth = mean.shape
    share = -(-_CANDIDATES // n)
    residuals = np.concatenate(
        [_some((patch_embedding(entry, maps) - mean).reshape(-1, depth), share, rng) for entry in features]
    )
    covariance = residuals.T @ residuals / len(residuals) * n / max(1, n - 1)
    # Pictures that are all alike (black ones) have no residuals, and what they have nothing of must not be enlarged
    # until the halves' rounding is all there is: places differ by `mean.var` in any case.
    floor = max(1e-2 * float(np.trace(covariance)) / depth, 1e-6 * float(mean.var(axis=(0, 1)).mean()))
    covariance += np.eye(depth) * (floor + 1e-8)
    values, vectors = np.linalg.eigh(covariance)
    components = min(depth, int(np.clip((_FULL_NUMBERS / (height * width)) ** 0.5, 16, _FULL_COMPONENTS)))
    strongest = slice(None, -components - 1, -1)
    matrix = _half(vectors[:, strongest] / np.sqrt(values[strongest]))
    projection = Projection(maps, mean.mean(axis=(0, 1)).astype(np.float32), matrix)
    own_mean = np.zeros((height, width, components))
    own = np.zeros((height, width, components, components))
    for entry in features:
        own_mean += projection(entry)
    own_mean = _half(own_mean / n).astype(np.float64)
    for entry in features:
        z = projection(entry) - own_mean
        own += z[..., :, np.newaxis] * z[..., np.newaxis, :]
    shrunk = (own + _PRIOR_PICTURES * np.eye(components)) / (n + _PRIOR_PICTURES)
    whitening = np.swapaxes(np.linalg.cholesky(np.linalg.inv(shrunk)), -1, -2)
    return PatchGaussian(maps, _half(own_mean), _half(whitening), projection)


def fit_bank(
    features: Sequence[Features], maps: tuple[str, ...], rng: np.random.Generator
) -> tuple[Projection, Floats]:
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
    _, vectors = np.linalg.eigh(standard.T @ standard)
    matrix = _half(scale[:, np.newaxis] * vectors[:, : -BANK_COMPONENTS - 1 : -1])
    projected = ((candidates - shift) @ matrix).astype(np.float32)
    bank = _half(projected[greedy_coreset(projected, BANK_PATCHES, rng)])
    return Projection(maps, shift.astype(np.float32), matrix), bank


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
_FULL_COMPONENTS = 48  # with 64 a frame of 160 px costs 30 % more than the invoke, not 18, for 0.003 AUROC
_FULL_NUMBERS = 500_000  # of all whitening matrices: a megabyte of the release
_CANDIDATES = 8192  # patches that the coreset is chosen from: 0.7 s


def _mean_embedding(features: Sequence[Features], maps: tuple[str, ...]) -> npt.NDArray[np.float64]:
    """Shape (h, w, d). A picture at a time: all patches of a thousand pictures would be gigabytes."""
    total = np.zeros_like(patch_embedding(features[0], maps), dtype=np.float64)
    for entry in features:
        total += patch_embedding(entry, maps)
    return total / len(features)


def _half(values: npt.NDArray[np.floating[Any]]) -> Floats:
    """Rounded to what a float16 holds, clipped to its range."""
    limit = float(np.finfo(np.float16).max)
    rounded = np.clip(values, -limit, limit).astype(np.float16).astype(np.float32)
    return np.ascontiguousarray(rounded)  # as it will be loaded: another order rounds differently


def _subset(n: int, most: int, rng: np.random.Generator) -> npt.NDArray[np.intp]:
    return np.arange(n) if n <= most else np.sort(rng.choice(n, most, replace=False))


def _some(rows: npt.NDArray[Any], most: int, rng: np.random.Generator) -> npt.NDArray[Any]:
    return rows[_subset(len(rows), most, rng)]
