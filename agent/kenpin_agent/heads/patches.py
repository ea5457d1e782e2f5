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
    height, width = first.shape[:2]
    others = [
        cv2.resize(features.maps[name], (width, height), interpolation=cv2.INTER_LINEAR) for name in maps[1:]
    ]
    return np.concatenate([first, *others], axis=2, dtype=np.float32)


def top_mean(patch_scores: npt.NDArray[np.floating[Any]], share: float) -> float:
    """The mean of the greatest `share` of the values, at least one: steadier than the maximum alone."""
    flat = patch_scores.ravel()
    n = max(1, round(share * flat.size))
    return float(np.partition(flat, flat.size - n)[flat.size - n :].mean())


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
        channels: Shape (d,): which of the embedding's channels are used; None for all. A full covariance
            costs d² a patch, so it takes a random subset, as the paper does.
    """

    maps: tuple[str, ...]
    mean: Floats
    whitening: Floats
    channels: npt.NDArray[np.intp] | None = None

    def distances(self, features: Features) -> Floats:
        """Shape (h, w), float32."""
        z = patch_embedding(features, self.maps)
        if self.channels is not None:
            z = z[..., self.channels]
        z -= self.mean  # in place: fetching fresh memory costs as much as the arithmetic
        if self.whitening.ndim == 3:
            z *= self.whitening
        else:
            z = np.matmul(self.whitening, z[..., np.newaxis])[..., 0]
        distances: Floats = np.sqrt(np.einsum("hwd,hwd->hw", z, z) / np.float32(z.shape[2]))
        return distances

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        saved: dict[str, npt.NDArray[Any]] = {"patch_mean": self.mean, "patch_whitening": self.whitening}
        if self.channels is not None:
            saved["patch_channels"] = self.channels.astype(np.int32)
        return saved

    @classmethod
    def load(cls, arrays: Arrays, maps: tuple[str, ...]) -> PatchGaussian:
        """Raises ValueError if an array is not what it should be."""
        mean = stored.floats(arrays, "patch_mean", None, None, None)
        full = "patch_whitening" in arrays and arrays["patch_whitening"].ndim == 4
        shape = (*mean.shape, mean.shape[2]) if full else mean.shape
        whitening = stored.floats(arrays, "patch_whitening", *shape)
        channels = stored.indices(arrays, "patch_channels") if "patch_channels" in arrays else None
        if channels is not None and channels.size != mean.shape[2]:
            raise ValueError(f"patch_channels names {channels.size} channels, patch_mean has {mean.shape[2]}")
        return cls(maps, mean, whitening, channels)


@dataclass(frozen=True, eq=False)
class Padim:
    """PaDiM: the score is the mean of the greatest `top_share` of the patches' distances."""

    kind: ClassVar[HeadKind] = "padim"

    gaussian: PatchGaussian
    top_share: float

    @property
    def maps(self) -> tuple[str, ...]:
        return self.gaussian.maps

    @property
    def parameters(self) -> dict[str, float]:
        return {"top_share": self.top_share}

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        return self.gaussian.arrays()

    def score(self, features: Features) -> float:
        return top_mean(self.gaussian.distances(features), self.top_share)

    def patch_scores(self, features: Features) -> Floats:
        return self.gaussian.distances(features)

    @classmethod
    def load(cls, arrays: Arrays, parameters: Parameters, maps: tuple[str, ...]) -> Padim:
        return cls(PatchGaussian.load(arrays, maps), stored.share(parameters, "top_share"))


@dataclass(frozen=True, eq=False)
class PatchKnn:
    """A memory bank of good patches, wherever in the picture they were (PatchCore, Roth et al. 2021,
    arXiv 2106.08265, without its reweighting): a patch's distance is that to its nearest in the bank.

    The bank is standardised, `(embedding − shift) × scale`, and distances are divided by √d, as
    `PatchGaussian`'s are.

    Attributes:
        maps: As `patch_embedding` takes them.
        bank: Shape (m, d), float32, standardised; a coreset.
        shift, scale: Shape (d,), float32: each channel's mean, and 1 / its standard deviation.
        top_share: The score is the mean of this greatest share of the distances.
    """

    kind: ClassVar[HeadKind] = "patch_knn"

    maps: tuple[str, ...]
    bank: Floats
    shift: Floats
    scale: Floats
    top_share: float

    @property
    def parameters(self) -> dict[str, float]:
        return {"top_share": self.top_share}

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        return {"bank": self.bank, "shift": self.shift, "scale": self.scale}

    def score(self, features: Features) -> float:
        return top_mean(self.patch_scores(features), self.top_share)

    def patch_scores(self, features: Features) -> Floats:
        embedding = patch_embedding(features, self.maps)
        height, width, depth = embedding.shape
        patches = ((embedding - self.shift) * self.scale).reshape(-1, depth)
        # Nearest by ‖b‖²/2 − b·p, which leaves out what is the same for all of a patch's distances.
        products = patches @ self._bank_transposed
        np.subtract(self._half_squares, products, out=products)
        squares = 2 * products.min(axis=1) + np.einsum("pd,pd->p", patches, patches)
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
    def load(cls, arrays: Arrays, parameters: Parameters, maps: tuple[str, ...]) -> PatchKnn:
        bank = stored.floats(arrays, "bank", None, None)
        depth = bank.shape[1]
        return cls(
            maps,
            bank,
            stored.floats(arrays, "shift", depth),
            stored.floats(arrays, "scale", depth),
            stored.share(parameters, "top_share"),
        )
