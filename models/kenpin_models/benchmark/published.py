"""What Kenpin is measured against: the published design, and two that need no network at all.

The published design is a convolutional network's 1,280 features, scaled to 0 … 1 by the least and the greatest
that its references have, and scikit-learn's novelty LOF with five neighbours on 1,000 references (Perera & Patel,
arXiv 1801.05365, as it came to the Raspberry Pi; the network in its TFLite port is MobileNetV2, α 0.5).
"""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
from sklearn.covariance import ledoit_wolf
from sklearn.neighbors import LocalOutlierFactor, NearestNeighbors
from sklearn.preprocessing import MinMaxScaler

REFERENCES = 1000
NEIGHBOURS = 5

Vectors = npt.NDArray[np.floating[Any]]
"""Shape (n, d): a row a picture, features or pixels."""


class Baseline(Protocol):
    def scores(self, vectors: Vectors) -> npt.NDArray[np.float64]:
        """How unlike the references each row is, shape (n,); higher is more so."""


class ScaledLof:
    """Min-max scaling and LOF.

    Args:
        references: Shape (n, d); as many as are given are used.
    """

    def __init__(self, references: Vectors) -> None:
        self._scaler = MinMaxScaler().fit(references)
        self._lof = LocalOutlierFactor(n_neighbors=NEIGHBOURS, novelty=True)
        self._lof.fit(self._scaler.transform(references))

    def scores(self, vectors: Vectors) -> npt.NDArray[np.float64]:
        return np.asarray(-self._lof.score_samples(self._scaler.transform(vectors)), np.float64)


class WhitenedKnn:
    """The mean distance to the nearest references, where every direction of the good pictures' own play counts
    the same; the covariance is shrunk as Ledoit and Wolf (2004) do.

    Args:
        good: Shape (n, d): all good pictures, for the covariance.
        references: Those that distances are taken to.
    """

    def __init__(self, good: Vectors, references: Vectors) -> None:
        covariance, _ = ledoit_wolf(good)
        values, vectors = np.linalg.eigh(covariance)
        self._whitening = vectors / np.sqrt(np.maximum(values, 1e-9))
        self._nearest = NearestNeighbors(n_neighbors=NEIGHBOURS).fit(references @ self._whitening)

    def scores(self, vectors: Vectors) -> npt.NDArray[np.float64]:
        distances, _ = self._nearest.kneighbors(vectors @ self._whitening)
        return np.asarray(distances.mean(axis=1), np.float64)


def draw(n: int, seed: int) -> npt.NDArray[np.intp]:
    """Which `REFERENCES` of n good pictures are the references."""
    chosen = np.random.default_rng(seed).permutation(n)[:REFERENCES]
    return np.sort(chosen)


def pixels(pictures: npt.NDArray[np.uint8]) -> npt.NDArray[np.float64]:
    """Pictures (n, h, w) as rows of pixels, 0 to 1."""
    return pictures.reshape(len(pictures), -1) / 255.0
