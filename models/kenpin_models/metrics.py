"""How well scores tell bad from good: for pictures and for pixels. Plain numpy, higher scores mean bad."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from kenpin_agent.seams import Mask

Scores = Sequence[float] | npt.NDArray[np.floating[Any]]
Floats = npt.NDArray[np.float32]


def auroc(good: Scores, bad: Scores) -> float:
    """The chance that a bad one scores above a good one; ties count half."""
    ordered = np.sort(np.asarray(good, dtype=np.float64))
    scores = np.asarray(bad, dtype=np.float64)
    below = np.searchsorted(ordered, scores, side="left")
    upto = np.searchsorted(ordered, scores, side="right")
    return float((below + upto).mean() / (2 * ordered.size))


def share_above(scores: Scores, threshold: float) -> float:
    """The share of scores above a threshold, as the agent judges."""
    return float((np.asarray(scores) > threshold).mean())


def tpr_at_fpr(good: Scores, bad: Scores, fpr: float) -> float:
    """The share of bad ones above the lowest threshold that lets at most `fpr` of the good ones above it."""
    ordered = np.sort(np.asarray(good, dtype=np.float64))
    allowed = int(fpr * ordered.size + 1e-9)
    return share_above(bad, float(ordered[ordered.size - 1 - min(allowed, ordered.size - 1)]))


def pixel_auroc(maps: Sequence[Floats], masks: Sequence[Mask]) -> float:
    """AUROC over all pixels of all pictures, those of good ones counting as good (MVTec AD's convention).

    Args:
        maps: Scores of each picture, shape (h, w).
        masks: Of the same shapes; above 0 where the defect is.
    """
    good, bad = _split(maps, masks)
    return auroc(good, bad)


def aupro(maps: Sequence[Floats], masks: Sequence[Mask], fpr_limit: float = 0.3) -> float:
    """The area under the per-region overlap curve (Bergmann et al. 2021, MVTec AD), up to a false-positive rate,
    divided by it: 1 is perfect. Each connected region of a mask counts the same, whatever its size."""
    good, _ = _split(maps, masks)
    ordered = np.sort(good)
    rates = np.linspace(0, fpr_limit, 301)
    ranks = np.clip(np.ceil(ordered.size * (1 - rates)).astype(np.intp) - 1, 0, ordered.size - 1)
    thresholds = ordered[ranks]
    overlaps = [
        1 - np.searchsorted(np.sort(region), thresholds, side="right") / region.size
        for region in _regions(maps, masks)
    ]
    curve = np.mean(overlaps, axis=0)
    return float(((curve[1:] + curve[:-1]) / 2).mean())


def _split(maps: Sequence[Floats], masks: Sequence[Mask]) -> tuple[Floats, Floats]:
    scores = np.concatenate([scores.ravel() for scores in maps])
    defect = np.concatenate([mask.ravel() for mask in masks]) > 0
    return scores[~defect], scores[defect]


def _regions(maps: Sequence[Floats], masks: Sequence[Mask]) -> list[Floats]:
    regions = []
    for scores, mask in zip(maps, masks, strict=True):
        count, labels = cv2.connectedComponents((mask > 0).astype(np.uint8), connectivity=8)
        regions += [scores[labels == label] for label in range(1, count)]
    return regions
