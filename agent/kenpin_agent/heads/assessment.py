"""What a head finds in one picture."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from kenpin_agent.encoder import Features


@dataclass(frozen=True, slots=True)
class Assessment:
    """A score, and where it comes from.

    Attributes:
        score: How unlike the good parts, higher is more so.
        patch_scores: The same for each patch of the picture, shape (h, w), float32, worked out when called. What
            scoring had to compute anyway is not computed again.
    """

    score: float
    patch_scores: Callable[[], npt.NDArray[np.float32]]


class Assessing:
    """A head that says all it has to say in `assess`."""

    def assess(self, features: Features) -> Assessment:
        raise NotImplementedError

    def score(self, features: Features) -> float:
        return self.assess(features).score

    def patch_scores(self, features: Features) -> npt.NDArray[np.float32]:
        return self.assess(features).patch_scores()
