"""Choose a head and an input: those whose rehearsal told defects from good pictures best.

What is ranked is the share of defects that would be found where one good part in twenty is rejected. Counting them
one by one is coarse with thirty good pictures; instead each defect counts with the chance that it would be found,
were good parts' scores normally distributed: Φ(z − 1.64), z its score in standard deviations above the good ones.
That is smooth, and chooses a head about as well as any ranking that was tried (docs/measurements.md).

Each kind and size of synthetic defect counts the same, down to sizes that no head finds: what is averaged is how far
down a head still sees.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy as np

from kenpin_models.metrics import auroc
from kenpin_models.recipes import Recipe
from kenpin_models.rehearse import Rehearsed
from kenpin_wire.errors import ConfigError
from kenpin_wire.manifest import Input

FEW_FALSE_REJECTS = 0.05
"""Not less: of thirty good pictures, one in a hundred is nobody."""

USUAL_PX = 224 * 224
DOUBLING = 0.07
"""What an input loses of its mark for each doubling or halving of its pixels from `USUAL_PX`. Painted defects are
crisp, so every mark climbs with the size, and real defects' AUROC does not: on 13 sets (aliens, cookie and eleven
drawn ones, `bench/surrogates.py`) a free choice of size ended 0.018 below the best on the mean, and 224 px taken
for all of them 0.009."""

HEDGE = 0.08
"""What a fusion's mark gains. Painted defects are not the line's: of two ways of looking that do about as well on
them, both are safer than either (at 224 px, mean of 3 seeds: aliens 0.995 with the fusion, 0.987 and 0.991 with its
members; cookie 0.994, 0.989 and 0.989). With 0.05 for both constants the choice on cookie hung on which pixels a
painted blur smeared: `patch_knn` at 272 × 368, and an AUROC of 0.978."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A head at an input, and how it did.

    Attributes:
        synthetic_auroc, synthetic_found: On synthetic defects, the mean over kinds and sizes; `found` is the share
            that would be found at `FEW_FALSE_REJECTS`.
        bad_auroc, bad_found: On labelled bad pictures; None without any.
        mark: What candidates are ranked by, 0 to 1.
        frame_ms: From frame to verdict, on the machine that trains; None where it was not measured.
        affordable: Whether that is within the budget.
    """

    recipe: Recipe
    input: Input
    synthetic_auroc: float
    synthetic_found: float
    bad_auroc: float | None
    bad_found: float | None
    mark: float
    frame_ms: float | None = None
    affordable: bool = True


@dataclass(frozen=True, slots=True)
class Selection:
    """What was tried, best mark first."""

    candidates: tuple[Candidate, ...]

    @property
    def chosen(self) -> Candidate:
        """The one whose mark is best when its size and kind are counted in (see `DOUBLING` and `HEDGE`); if nothing
        is within the budget, the cheapest input's best."""
        affordable = [candidate for candidate in self.candidates if candidate.affordable]
        if not affordable:
            cheapest = min(candidate.input.encoded_px for candidate in self.candidates)
            return next(c for c in self.candidates if c.input.encoded_px == cheapest)
        return max(affordable, key=_worth)

    def as_report(self) -> list[dict[str, Any]]:
        """For the manifest's report, rounded to what means something."""
        return [
            {
                "head": str(candidate.recipe),
                "input": str(candidate.input),
                "synthetic_auroc": _rounded(candidate.synthetic_auroc),
                "synthetic_found": _rounded(candidate.synthetic_found),
                "bad_auroc": _rounded(candidate.bad_auroc),
                "bad_found": _rounded(candidate.bad_found),
                "mark": _rounded(candidate.mark),
                "frame_ms": _rounded(candidate.frame_ms, 2),
                "affordable": candidate.affordable,
                "chosen": candidate is self.chosen,
            }
            for candidate in self.candidates
        ]


def rank(rehearsed: Mapping[Recipe, Rehearsed], spec: Input) -> list[Candidate]:
    """An input's candidates by their rehearsals, best first; of equal ones the first given.

    Labelled bad pictures weigh n / (n + 10) against the synthetic ones: from ten on they are the greater part of
    what is known about this line, and two or three don't overrule everything else.
    """
    candidates = [_candidate(recipe, spec, result) for recipe, result in rehearsed.items()]
    return sorted(candidates, key=lambda candidate: -candidate.mark)


def select(candidates: Sequence[Candidate]) -> Selection:
    """Put candidates of all inputs together.

    Raises:
        ConfigError: if there is nothing to choose from.
    """
    if not candidates:
        raise ConfigError("no head to choose from", where="--head")
    return Selection(tuple(sorted(candidates, key=lambda candidate: -candidate.mark)))


def found(good: Sequence[float], defects: Sequence[float]) -> float:
    """The share of defects that would be found at `FEW_FALSE_REJECTS`: see the module's docstring."""
    spread = max(float(np.std(good)), 1e-9)
    limit = _NORMAL.inv_cdf(1 - FEW_FALSE_REJECTS)
    z = (np.asarray(defects, dtype=np.float64) - float(np.mean(good))) / spread - limit
    return float(np.mean([_NORMAL.cdf(value) for value in z]))


_NORMAL = NormalDist()


def _worth(candidate: Candidate) -> float:
    far = abs(math.log2(candidate.input.encoded_px / USUAL_PX))
    return candidate.mark - DOUBLING * far + (HEDGE if candidate.recipe.members else 0.0)


def _candidate(recipe: Recipe, spec: Input, result: Rehearsed) -> Candidate:
    cells = list(result.defects.values())
    synthetic_auroc = float(np.mean([auroc(result.good, scores) for scores in cells]))
    synthetic = float(np.mean([found(result.good, scores) for scores in cells]))
    if not result.bad:
        return Candidate(recipe, spec, synthetic_auroc, synthetic, None, None, synthetic)
    bad = found(result.good, result.bad)
    weight = len(result.bad) / (len(result.bad) + 10)
    mark = weight * bad + (1 - weight) * synthetic
    return Candidate(recipe, spec, synthetic_auroc, synthetic, auroc(result.good, result.bad), bad, mark)


def _rounded(value: float | None, digits: int = 4) -> float | None:
    return None if value is None else round(value, digits)
