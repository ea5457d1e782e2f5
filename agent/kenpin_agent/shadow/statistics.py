"""How far apart two samples are. Pure."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

MOST_BINS = 10
FRAMES_A_BIN = 30
"""Two samples without any shift differ by about 2 · (bins − 1) / frames in `psi`; so it stays below 0.07."""

Sample = npt.NDArray[np.float64]


def kolmogorov_smirnov(one: Sample, other: Sample) -> float:
    """The greatest distance between the two samples' empirical distributions, 0 to 1; 0 if either is empty."""
    if not one.size or not other.size:
        return 0.0
    one, other = np.sort(one), np.sort(other)
    at = np.concatenate((one, other))
    below_one = np.searchsorted(one, at, side="right") / one.size
    below_other = np.searchsorted(other, at, side="right") / other.size
    return float(np.abs(below_one - below_other).max())


def population_stability(expected: Sample, found: Sample) -> float:
    """The population-stability index of `found` against `expected`, 0 or more.

    Bins hold equal shares of `expected`: ten, or fewer where there are fewer than 300 values. An empty bin counts as
    half a value, so that the index stays finite.
    """
    if not expected.size or not found.size:
        return 0.0
    smaller = min(expected.size, found.size)
    bins = max(2, min(MOST_BINS, smaller // FRAMES_A_BIN))
    edges = np.unique(np.quantile(expected, np.linspace(0, 1, bins + 1)[1:-1]))
    shares = [_shares(sample, edges) for sample in (expected, found)]
    return float(np.sum((shares[1] - shares[0]) * np.log(shares[1] / shares[0])))


def _shares(sample: Sample, edges: Sample) -> Sample:
    """Of the values up to each edge, and beyond the last. An edge's own values count to the bin below it."""
    counts = np.bincount(np.searchsorted(edges, sample, side="left"), minlength=edges.size + 1)
    counted: Sample = np.maximum(counts, 0.5) / sample.size
    return counted
