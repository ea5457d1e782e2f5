"""Heads: from an encoder's features to one score, and to a score for each patch of the picture.

A head is a frozen bundle of numpy arrays; how it is fitted is the trainer's business (`kenpin_models`). Every
head, pooled ones too, says where a picture is odd, for the heatmap.

| kind          | looks at      | score                                                          |
|---------------|---------------|----------------------------------------------------------------|
| `lof`         | pooled vector | local outlier factor against the references (1 is normal)      |
| `knn`         | pooled vector | mean distance to the k nearest references                      |
| `cosine`      | pooled vector | 1 − cosine to the mean direction                               |
| `mahalanobis` | pooled vector | Mahalanobis distance                                           |
| `padim`       | patches       | power mean of the distances to each place's Gaussian           |
| `patch_knn`   | patches       | power mean of the distances to the memory bank                 |
| `fusion`      | both          | mean of several heads' standardised scores                     |
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from kenpin_agent.encoder import Features
from kenpin_agent.heads.assessment import Assessment
from kenpin_agent.heads.fusion import MEMBERS, Fusion
from kenpin_agent.heads.patches import (
    Padim,
    PatchGaussian,
    PatchKnn,
    Projection,
    patch_embedding,
    power_mean,
    resized,
    top_mean,
)
from kenpin_agent.heads.pooled import Cosine, Knn, Lof, Mahalanobis, Whitening, local_densities
from kenpin_wire.errors import ReleaseError
from kenpin_wire.manifest import HeadKind

__all__ = [
    "Assessment",
    "Cosine",
    "Fusion",
    "Head",
    "Knn",
    "Lof",
    "Mahalanobis",
    "Padim",
    "PatchGaussian",
    "PatchKnn",
    "Projection",
    "Whitening",
    "load_head",
    "local_densities",
    "patch_embedding",
    "power_mean",
    "resized",
    "top_mean",
]


class Head(Protocol):
    """What turns features into a score."""

    @property
    def kind(self) -> HeadKind: ...

    @property
    def maps(self) -> tuple[str, ...]:
        """The encoder's maps that it, or its heatmap, is made from; the first is the finest."""

    @property
    def parameters(self) -> dict[str, float]:
        """For the manifest; with `arrays`, all that `load_head` needs to make it again."""

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        """For `head.npz`."""

    def assess(self, features: Features) -> Assessment:
        """The score, and the patches' when they are asked for."""

    def score(self, features: Features) -> float:
        """How unlike the good parts, higher is more so."""

    def patch_scores(self, features: Features) -> npt.NDArray[np.float32]:
        """The same for each patch, shape (h, w) of the finest map, float32."""


_KINDS = {**MEMBERS, Fusion.kind: Fusion}


def load_head(
    kind: str,
    arrays: Mapping[str, npt.NDArray[Any]],
    parameters: Mapping[str, float],
    *,
    where: str = "head.npz",
) -> Head:
    """Make a head from what a release stores of it.

    Args:
        where: Named in errors.

    Raises:
        ReleaseError: if the kind is unknown, or an array or a parameter is missing, of the wrong shape or
            type, out of range or not finite.
    """
    if kind not in _KINDS:
        raise ReleaseError(f"a head of unknown kind {kind}", where=where, remedy="Update the program.")
    try:
        return _KINDS[kind].load(arrays, parameters)
    except ValueError as error:
        raise ReleaseError(
            f"the {kind} head is damaged ({error})",
            where=where,
            remedy="Make the release again with `kenpin train`, or fetch it again.",
        ) from None
