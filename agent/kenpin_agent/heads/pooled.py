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
        references: Shape (n, d), float32.
        k_distances, densities: As `local_densities` gives them.
        neighbours: k.
    """

    kind: ClassVar[HeadKind] = "lof"

    references: Floats
    k_distances: Doubles
    densities: Doubles
    neighbours: int

    @property
    def parameters(self) -> dict[str, float]:
        return {"neighbours": self.neighbours}

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        own: dict[str, npt.NDArray[Any]] = {
            "references": self.references,
            "k_distances": self.k_distances,
            "densities": self.densities,
        }
        return own | self.localiser.arrays()

    def score(self, features: Features) -> float:
        ids, distances = self._index.nearest(features.pooled, self.neighbours)
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
        )


@dataclass(frozen=True, eq=False)
class Knn(_Pooled):
    """The mean distance to the k nearest references.

    Attributes:
        references: Shape (n, d), float32.
        neighbours: k.
    """

    kind: ClassVar[HeadKind] = "knn"

    references: Floats
    neighbours: int

    @property
    def parameters(self) -> dict[str, float]:
        return {"neighbours": self.neighbours}

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        return {"references": self.references} | self.localiser.arrays()

    def score(self, features: Features) -> float:
        return float(self._index.nearest(features.pooled, self.neighbours)[1].mean())

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
    """The Mahalanobis distance to the good parts' mean.

    Attributes:
        mean: Shape (d,), float32.
        whitening: Shape (r, d), float32: W with WᵀW = covariance⁻¹, or its r strongest rows.
    """

    kind: ClassVar[HeadKind] = "mahalanobis"

    mean: Floats
    whitening: Floats

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        return {"mean": self.mean, "whitening": self.whitening} | self.localiser.arrays()

    def score(self, features: Features) -> float:
        return float(np.linalg.norm(self.whitening @ (features.pooled - self.mean)))

    @classmethod
    def load(cls, arrays: Arrays, _parameters: Parameters) -> Mahalanobis:
        mean = stored.floats(arrays, "mean", None)
        whitening = stored.floats(arrays, "whitening", None, len(mean))
        return cls(PatchGaussian.load(arrays), mean, whitening)


_NO_ZERO = 1e-10  # scikit-learn's own, so that copies have a finite density
