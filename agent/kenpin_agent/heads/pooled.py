"""Heads that judge by the pooled vector. Each carries a diagonal `PatchGaussian` to say where."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from kenpin_agent.encoder import Features
from kenpin_agent.heads import stored
from kenpin_agent.heads.assessment import Assessment
from kenpin_agent.heads.neighbours import Neighbours
from kenpin_agent.heads.patches import PatchGaussian
from kenpin_agent.heads.stored import Arrays, Parameters
from kenpin_wire.manifest import HeadKind

Floats = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]


def local_densities(references: Floats, neighbours: int) -> tuple[Doubles, Doubles]:
    """What LOF knows of its references: the distance to each one's kth neighbour, and its local reachability
    density (Breunig et al. 2000), both of shape (n,), float64.

    Args:
        references: Shape (n, d), float32, n > `neighbours`.
    """
    index = Neighbours(references)
    n = len(references)
    ids = np.empty((n, neighbours), dtype=np.intp)
    distances = np.empty((n, neighbours))
    for row, vector in enumerate(references):
        found, far = index.nearest(vector, neighbours + 1)
        # Itself is no neighbour. Among more than k copies it may not be found; then any copy stands for it.
        others = found != row
        if others.all():
            others[-1] = False
        ids[row], distances[row] = found[others], far[others]
    k_distances = distances[:, -1].copy()
    reach = np.maximum(distances, k_distances[ids])
    return k_distances, 1 / (reach.mean(axis=1) + _NO_ZERO)


@dataclass(frozen=True, eq=False)
class Whitening:
    """Makes good parts' pooled vectors alike in all directions: where they hardly vary, a difference counts more.

    The covariance is taken as a multiple of the identity but for its k strongest directions (probabilistic PCA,
    Tipping & Bishop 1999), so that it costs 2·k·d instead of d².

    Attributes:
        mean: Shape (d,), float32.
        components: Shape (k, d), float32: orthonormal rows.
        shrinks: Shape (k,), float32: by how much each is shortened further than the others, σ₀/σᵢ − 1.
        floor: σ₀, the standard deviation in all other directions.
    """

    mean: Floats
    components: Floats
    shrinks: Floats
    floor: float

    def __call__(self, vector: Floats) -> Floats:
        """Shape (..., d), float32."""
        centred = (vector - self.mean) * np.float32(1 / self.floor)
        white = centred + (self.shrinks * (centred @ self.components.T)) @ self.components
        return np.asarray(white, dtype=np.float32)

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        return {
            "whitening_mean": self.mean,
            "whitening_components": self.components,
            "whitening_shrinks": self.shrinks,
            "whitening_floor": np.array([self.floor]),
        }

    @classmethod
    def load(cls, arrays: Arrays) -> Whitening:
        """Raises ValueError if an array is not what it should be."""
        mean = stored.floats(arrays, "whitening_mean", None)
        components = stored.floats(arrays, "whitening_components", None, len(mean))
        shrinks = stored.floats(arrays, "whitening_shrinks", len(components))
        floor = float(stored.doubles(arrays, "whitening_floor", 1)[0])
        if floor <= 0:
            raise ValueError(f"whitening_floor is {floor:g}, not above 0")
        return cls(mean, components, shrinks, floor)


@dataclass(frozen=True, eq=False)
class _Pooled:
    """What all pooled heads share: where to look."""

    localiser: PatchGaussian

    @property
    def maps(self) -> tuple[str, ...]:
        return self.localiser.maps

    @property
    def parameters(self) -> dict[str, float]:
        return {}

    def score(self, features: Features) -> float:
        raise NotImplementedError

    def assess(self, features: Features) -> Assessment:
        return Assessment(self.score(features), lambda: self.patch_scores(features))

    def patch_scores(self, features: Features) -> Floats:
        return self.localiser.distances(features)


@dataclass(frozen=True, eq=False)
class Lof(_Pooled):
    """Novelty local outlier factor (Breunig et al. 2000), equal to minus scikit-learn's
    `LocalOutlierFactor(novelty=True).score_samples`.

    Attributes:
        references: Shape (n, d), float32; whitened, if there is a `whitening`.
        k_distances, densities: As `local_densities` gives them.
        neighbours: k.
        whitening: What vectors are put through first; None to take them as they are.
    """

    kind: ClassVar[HeadKind] = "lof"

    references: Floats
    k_distances: Doubles
    densities: Doubles
    neighbours: int
    whitening: Whitening | None = None

    @property
    def parameters(self) -> dict[str, float]:
        return {"neighbours": self.neighbours}

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        own: dict[str, npt.NDArray[Any]] = {
            "references": self.references,
            "k_distances": self.k_distances,
            "densities": self.densities,
        }
        return own | self.localiser.arrays() | _arrays_of(self.whitening)

    def score(self, features: Features) -> float:
        ids, distances = self._index.nearest(_whitened(features, self.whitening), self.neighbours)
        # Plain sums: `mean` itself takes longer than adding up a handful of numbers.
        reach = np.maximum(distances, self.k_distances.take(ids)).sum() / self.neighbours + _NO_ZERO
        return float(self.densities.take(ids).sum() / self.neighbours * reach)

    @cached_property
    def _index(self) -> Neighbours:
        return Neighbours(self.references)

    @classmethod
    def load(cls, arrays: Arrays, parameters: Parameters) -> Lof:
        references = stored.floats(arrays, "references", None, None)
        n = len(references)
        return cls(
            PatchGaussian.load(arrays),
            references,
            stored.doubles(arrays, "k_distances", n),
            stored.doubles(arrays, "densities", n),
            stored.count(parameters, "neighbours", n),
            _whitening_in(arrays),
        )


@dataclass(frozen=True, eq=False)
class Knn(_Pooled):
    """The mean distance to the k nearest references.

    Attributes:
        references: Shape (n, d), float32; whitened, if there is a `whitening`.
        neighbours: k.
        whitening: What vectors are put through first; None to take them as they are.
    """

    kind: ClassVar[HeadKind] = "knn"

    references: Floats
    neighbours: int
    whitening: Whitening | None = None

    @property
    def parameters(self) -> dict[str, float]:
        return {"neighbours": self.neighbours}

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        return {"references": self.references} | self.localiser.arrays() | _arrays_of(self.whitening)

    def score(self, features: Features) -> float:
        vector = _whitened(features, self.whitening)
        return float(self._index.nearest(vector, self.neighbours)[1].mean())

    @cached_property
    def _index(self) -> Neighbours:
        return Neighbours(self.references)

    @classmethod
    def load(cls, arrays: Arrays, parameters: Parameters) -> Knn:
        references = stored.floats(arrays, "references", None, None)
        return cls(
            PatchGaussian.load(arrays),
            references,
            stored.count(parameters, "neighbours", len(references)),
            _whitening_in(arrays),
        )


@dataclass(frozen=True, eq=False)
class Cosine(_Pooled):
    """1 − cosine to the good parts' mean direction: 0 is the same direction, 1 at a right angle to it.

    Attributes:
        direction: Shape (d,), float32; its length does not matter.
    """

    kind: ClassVar[HeadKind] = "cosine"

    direction: Floats

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        return {"direction": self.direction} | self.localiser.arrays()

    def score(self, features: Features) -> float:
        vector = features.pooled.astype(np.float64)
        norm = float(np.linalg.norm(vector))
        if norm == 0:
            return 1.0
        return 1 - float(vector @ self._unit) / norm

    @cached_property
    def _unit(self) -> Doubles:
        direction = self.direction.astype(np.float64)
        return direction / np.linalg.norm(direction)

    @classmethod
    def load(cls, arrays: Arrays, _parameters: Parameters) -> Cosine:
        direction = stored.floats(arrays, "direction", None)
        if not direction.any():
            raise ValueError("direction is zero")
        return cls(PatchGaussian.load(arrays), direction)


@dataclass(frozen=True, eq=False)
class Mahalanobis(_Pooled):
    """The Mahalanobis distance to the good parts' mean: the length of the whitened vector."""

    kind: ClassVar[HeadKind] = "mahalanobis"

    whitening: Whitening

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        return self.whitening.arrays() | self.localiser.arrays()

    def score(self, features: Features) -> float:
        return float(np.linalg.norm(self.whitening(features.pooled)))

    @classmethod
    def load(cls, arrays: Arrays, _parameters: Parameters) -> Mahalanobis:
        return cls(PatchGaussian.load(arrays), Whitening.load(arrays))


def _whitened(features: Features, whitening: Whitening | None) -> Floats:
    return features.pooled if whitening is None else whitening(features.pooled)


def _arrays_of(whitening: Whitening | None) -> dict[str, npt.NDArray[Any]]:
    return {} if whitening is None else whitening.arrays()


def _whitening_in(arrays: Arrays) -> Whitening | None:
    return Whitening.load(arrays) if "whitening_mean" in arrays else None


_NO_ZERO = 1e-10  # scikit-learn's own, so that copies have a finite density
