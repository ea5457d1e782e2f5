"""Choose a head: the one whose rehearsal told defects from good pictures best.

The area under the ROC curve saturates at 1 for what anybody would see, so the rehearsal's defects go down to
sizes that no head finds, and each kind and size counts the same: what is averaged is how far down a head still
sees. Half of a head's mark is the share it catches at few false rejects, which is what a line lives with.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from kenpin_models.metrics import auroc, tpr_at_fpr
from kenpin_models.recipes import Recipe
from kenpin_models.rehearse import Rehearsed
from kenpin_wire.errors import ConfigError

FEW_FALSE_REJECTS = 0.05
"""Not less: of thirty good pictures, one in a hundred is nobody."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A head and how it did.

    Attributes:
        synthetic_auroc, synthetic_tpr: On synthetic defects, the mean over kinds and sizes; `tpr` is the share
            found at `FEW_FALSE_REJECTS`.
        bad_auroc, bad_tpr: On labelled bad pictures; None without any.
        mark: What heads are ranked by, 0 to 1.
    """

    recipe: Recipe
    synthetic_auroc: float
    synthetic_tpr: float
    bad_auroc: float | None
    bad_tpr: float | None
    mark: float


@dataclass(frozen=True, slots=True)
class Selection:
    """The heads that were tried, best first."""

    candidates: tuple[Candidate, ...]

    @property
    def recipe(self) -> Recipe:
        return self.candidates[0].recipe

    def as_report(self) -> list[dict[str, Any]]:
        """For the manifest's report, rounded to what means something."""
        return [
            {"head": str(candidate.recipe)}
            | {
                key: None if value is None else round(value, 4)
                for key, value in asdict(candidate).items()
                if key != "recipe"
            }
            for candidate in self.candidates
        ]


def select(rehearsed: Mapping[Recipe, Rehearsed]) -> Selection:
    """Rank heads by their rehearsals. Of equal ones the first given wins.

    Labelled bad pictures weigh n / (n + 10) against the synthetic ones: from ten on they are the greater part of
    what is known about this line, and two or three don't overrule everything else.

    Raises:
        ConfigError: if there is nothing to choose from.
    """
    if not rehearsed:
        raise ConfigError("no head to choose from", where="--head")
    candidates = [_candidate(kind, result) for kind, result in rehearsed.items()]
    return Selection(tuple(sorted(candidates, key=lambda candidate: -candidate.mark)))


def _candidate(kind: Recipe, result: Rehearsed) -> Candidate:
    cells = list(result.defects.values())
    synthetic_auroc = float(np.mean([auroc(result.good, scores) for scores in cells]))
    synthetic_tpr = float(np.mean([tpr_at_fpr(result.good, scores, FEW_FALSE_REJECTS) for scores in cells]))
    mark = (synthetic_auroc + synthetic_tpr) / 2
    if not result.bad:
        return Candidate(kind, synthetic_auroc, synthetic_tpr, None, None, mark)
    bad_auroc = auroc(result.good, result.bad)
    bad_tpr = tpr_at_fpr(result.good, result.bad, FEW_FALSE_REJECTS)
    weight = len(result.bad) / (len(result.bad) + 10)
    mark = weight * (bad_auroc + bad_tpr) / 2 + (1 - weight) * mark
    return Candidate(kind, synthetic_auroc, synthetic_tpr, bad_auroc, bad_tpr, mark)
