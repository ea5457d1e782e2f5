"""Grad-CAM (Selvaraju et al. 2017, arXiv 1610.02391) on a pooled head, for comparison only.

It was tried for this before and failed, because it wants outputs that compete, and a one-class score has no rival
to tell apart from (see field notes). No release carries it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from kenpin_agent.encoder import Features

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class GradCam:
    """The class whose evidence is drawn is "not like the good ones": the distance of the last map's mean over the
    picture to that of good pictures, each channel by its own standard deviation.

    Attributes:
        name: The map.
        mean, deviation: Of its mean over the picture, on good pictures; shape (c,).
    """

    name: str
    mean: Floats
    deviation: Floats

    def patch_scores(self, features: Features) -> Floats:
        """Where the evidence is, shape (h, w): the channels weighted by the distance's gradient, what is below 0
        left out."""
        values = features.maps[self.name]
        away = (values.mean(axis=(0, 1)) - self.mean) / self.deviation
        distance = max(float(np.linalg.norm(away)), 1e-12)
        # The gradient by a place's value is the same at every place, so it is its own mean over them.
        weights = away / (self.deviation * distance * values.shape[0] * values.shape[1])
        evidence: Floats = np.maximum(values @ weights, 0)
        return evidence


def fit_gradcam(features: Sequence[Features], name: str) -> GradCam:
    """Fit it to what the encoder saw in good pictures; at least two."""
    means = np.stack([entry.maps[name].mean(axis=(0, 1)) for entry in features])
    return GradCam(name, means.mean(axis=0), means.std(axis=0) + np.float32(1e-3))
