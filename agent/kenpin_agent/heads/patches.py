"""Heads that look at each patch of the picture, and what pooled heads borrow from them to draw a heatmap."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import cv2
import numpy as np
import numpy.typing as npt

from kenpin_agent.encoder import Features
from kenpin_agent.heads import stored
from kenpin_agent.heads.assessment import Assessing, Assessment
from kenpin_agent.heads.stored import Arrays, Parameters
from kenpin_wire.manifest import HeadKind

Floats = npt.NDArray[np.float32]


def patch_embedding(features: Features, maps: Sequence[str]) -> Floats:
    """Each patch's description: the named maps, brought to the first one's grid and joined.

    Args:
        maps: The finest first; the others are enlarged bilinearly.

    Returns:
        Shape (h, w, d), float32: (h, w) of the first map, d the sum of all channels in the order of `maps`.
        A new array.
    """
    first = features.maps[maps[0]]
    others = [resized(features.maps[name], first.shape[:2]) for name in maps[1:]]
    return np.concatenate([first, *others], axis=2, dtype=np.float32)


def resized(patches: Floats, shape: tuple[int, ...]) -> Floats:
    """A map, or one score for each patch, on a grid of `shape`; bilinear."""
    if patches.shape[:2] == tuple(shape):
        return patches
    height, width = shape
    return np.asarray(cv2.resize(patches, (width, height), interpolation=cv2.INTER_LINEAR), dtype=np.float32)


def top_mean(patch_scores: npt.NDArray[np.floating[Any]], share: float) -> float:
    """The mean of the greatest `share` of the values, at least one: steadier than the maximum alone."""
    flat = patch_scores.ravel()
    n = max(1, round(share * flat.size))
    return float(np.partition(flat, flat.size - n)[flat.size - n :].mean())


def power_mean(distances: npt.NDArray[np.floating[Any]], exponent: float) -> float:
    """The generalised mean, (mean of distanceᵖ)^(1/p): between the mean (p = 1) and the maximum (p = ∞).

    One number for a small defect, which is far in few places, and for another part, which is a little off in many:
    a share of the greatest sees the one or the other.

    Args:
        distances: Not negative.
        exponent: p, at least 1.
    """
    flat = distances.ravel().astype(np.float64)
    greatest = float(flat.max())
    if greatest == 0:
        return 0.0
    share = float(np.mean((flat / greatest) ** exponent))
    return greatest * float(share ** (1 / exponent))


def picture_score(distances: npt.NDArray[np.floating[Any]], exponent: float, median_share: float) -> float:
    """The `power_mean`, less a share of the median: light or focus that make all of a picture a little odd are no
    defect of the part."""
    score = power_mean(distances, exponent)
    return score - median_share * float(np.median(distances)) if median_share else score


@dataclass(frozen=True, eq=False)
class Projection:
    """Each patch's description in fewer numbers: `(embedding − mean) @ matrix`.

    Enlarging a map and multiplying it commute, so each map is multiplied where it is small, and only the few
    numbers are enlarged: at 160 px a third of the work of joining first.

    Attributes:
        maps: As `patch_embedding` takes them.
        mean: Shape (d,), float32.
        matrix: Shape (d, r), float32.
    """

    maps: tuple[str, ...]
    mean: Floats
    matrix: Floats

    def __call__(self, features: Features) -> Floats:
        """Shape (h, w, r), float32: (h, w) of the first map."""
        shape = features.maps[self.maps[0]].shape[:2]
        total = np.zeros((*shape, self.matrix.shape[1]), np.float32)
        start = 0
        for name in self.maps:
            patches = features.maps[name]
            part = slice(start, start + patches.shape[2])
            start = part.stop
            few = (patches - self.mean[part]) @ self.matrix[part]
            total += resized(few.astype(np.float32, copy=False), shape)
        if start != len(self.mean):
            raise ValueError(f"the maps have {start} channels, the projection is of {len(self.mean)}")
        return total

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        return {
            "projection_maps": np.array(self.maps),
            "projection_mean": self.mean,
            "projection": self.matrix,
        }

    @classmethod
    def load(cls, arrays: Arrays) -> Projection:
        """Raises ValueError if an array is not what it should be."""
        mean = stored.floats(arrays, "projection_mean", None)
        matrix = stored.floats(arrays, "projection", len(mean), None)
        return cls(stored.names(arrays, "projection_maps"), mean, matrix)


@dataclass(frozen=True, eq=False)
class PatchGaussian:
    """A Gaussian for each place of the patch grid (PaDiM, Defard et al. 2020, arXiv 2011.08785).

    A patch's distance is its Mahalanobis distance divided by √d, so that it is about 1 on good parts whatever
    the number of channels.

    Attributes:
        maps: As `patch_embedding` takes them.
        mean: Shape (h, w, d), float32.
        whitening: Shape (h, w, d) for a diagonal covariance: 1 / standard deviation. Shape (h, w, d, d) for a
            full one: W with WᵀW = covariance⁻¹.
        projection: To the d numbers of a patch; None for its embedding itself. A full covariance costs d² a
            patch, so it takes principal components where the paper takes a random subset of the channels.
    """

    maps: tuple[str, ...]
    mean: Floats
    whitening: Floats
    projection: Projection | None = None

    def distances(self, features: Features) -> Floats:
        """Shape (h, w), float32."""
        z = self.projection(features) if self.projection else patch_embedding(features, self.maps)
        z -= self.mean  # in place: fetching fresh memory costs as much as the arithmetic
        if self.whitening.ndim == 3:
            z *= self.whitening
        else:
            z = np.matmul(self.whitening, z[..., np.newaxis])[..., 0]
        distances: Floats = np.sqrt(np.einsum("hwd,hwd->hw", z, z) / np.float32(z.shape[2]))
        return distances

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        own = {
            "patch_maps": np.array(self.maps),
            "patch_mean": self.mean,
            "patch_whitening": self.whitening,
        }
        return own | (self.projection.arrays() if self.projection else {})

    @classmethod
    def load(cls, arrays: Arrays) -> PatchGaussian:
        """Raises ValueError if an array is not what it should be."""
        maps = stored.names(arrays, "patch_maps")
        mean = stored.floats(arrays, "patch_mean", None, None, None)
        full = "patch_whitening" in arrays and arrays["patch_whitening"].ndim == 4
        shape = (*mean.shape, mean.shape[2]) if full else mean.shape
        whitening = stored.floats(arrays, "patch_whitening", *shape)
        projection = Projection.load(arrays) if "projection" in arrays else None
        if projection and projection.maps != maps:
            raise ValueError(f"the projection is of {projection.maps}, the Gaussians of {maps}")
        if projection and projection.matrix.shape[1] != mean.shape[2]:
            raise ValueError(f"projection gives {projection.matrix.shape[1]} numbers, not {mean.shape[2]}")
        return cls(maps, mean, whitening, projection)


@dataclass(frozen=True, eq=False)
class Padim(Assessing):
    """PaDiM: the score is the `picture_score` of the patches' distances."""

    kind: ClassVar[HeadKind] = "padim"

    gaussian: PatchGaussian
    exponent: float
    median_share: float

    @property
    def maps(self) -> tuple[str, ...]:
        return self.gaussian.maps

    @property
    def parameters(self) -> dict[str, float]:
        return {"exponent": self.exponent, "median_share": self.median_share}

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        return self.gaussian.arrays()

    def assess(self, features: Features) -> Assessment:
        distances = self.gaussian.distances(features)
        return Assessment(picture_score(distances, self.exponent, self.median_share), lambda: distances)

    @classmethod
    def load(cls, arrays: Arrays, parameters: Parameters) -> Padim:
        return cls(
            PatchGaussian.load(arrays),
            stored.number(parameters, "exponent", 1, 100),
            stored.number(parameters, "median_share", 0, 1),
        )


@dataclass(frozen=True, eq=False)
class PatchKnn(Assessing):
    """A memory bank of good patches, wherever in the picture they were (PatchCore, Roth et al. 2021,
    arXiv 2106.08265, without its reweighting): a patch's distance is that to its nearest in the bank, divided by
    √r.

    Attributes:
        projection: To the r numbers of a patch.
        bank: Shape (m, r), float32, projected; a coreset.
        exponent, median_share: The score is the `picture_score` of the distances.
    """

    kind: ClassVar[HeadKind] = "patch_knn"

    projection: Projection
    bank: Floats
    exponent: float
    median_share: float

    @property
    def maps(self) -> tuple[str, ...]:
        return self.projection.maps

    @property
    def parameters(self) -> dict[str, float]:
        return {"exponent": self.exponent, "median_share": self.median_share}

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        return {"bank": self.bank} | self.projection.arrays()

    def assess(self, features: Features) -> Assessment:
        distances = self._distances(features)
        return Assessment(picture_score(distances, self.exponent, self.median_share), lambda: distances)

    def _distances(self, features: Features) -> Floats:
        projected = self.projection(features)
        height, width, depth = projected.shape
        patches = projected.reshape(-1, depth)
        # Nearest by ‖b‖²/2 − b·p, which leaves out what is the same for all of a patch's distances. Some patches
        # at a time: of a picture in tiles, all of them at once hold 30 MB more, and take a little longer.
        nearest = np.empty(len(patches), dtype=np.float32)
        for start in range(0, len(patches), _PATCHES_AT_A_TIME):
            some = slice(start, start + _PATCHES_AT_A_TIME)
            products = patches[some] @ self._bank_transposed
            np.subtract(self._half_squares, products, out=products)
            products.min(axis=1, out=nearest[some])
        squares = 2 * nearest + np.einsum("pd,pd->p", patches, patches)
        # Rounding can take the square of a distance near nothing below it; NaN must stay NaN.
        distances: Floats = np.sqrt(np.maximum(squares, 0) / np.float32(depth))
        return distances.reshape(height, width)

    @cached_property
    def _bank_transposed(self) -> Floats:
        return np.ascontiguousarray(self.bank.T)

    @cached_property
    def _half_squares(self) -> Floats:
        squares = np.einsum("md,md->m", self.bank, self.bank, dtype=np.float64)
        halves: Floats = (squares / 2).astype(np.float32)
        return halves

    @classmethod
    def load(cls, arrays: Arrays, parameters: Parameters) -> PatchKnn:
        projection = Projection.load(arrays)
        bank = stored.floats(arrays, "bank", None, projection.matrix.shape[1])
        return cls(
            projection,
            bank,
            stored.number(parameters, "exponent", 1, 100),
            stored.number(parameters, "median_share", 0, 1),
        )


_PATCHES_AT_A_TIME = 512
