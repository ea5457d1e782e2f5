"""Several heads on one scale: what one of them overlooks another sees."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from kenpin_agent.encoder import Features
from kenpin_agent.heads import stored
from kenpin_agent.heads.assessment import Assessing, Assessment
from kenpin_agent.heads.patches import Padim, PatchKnn, resized
from kenpin_agent.heads.pooled import Cosine, Knn, Lof, Mahalanobis
from kenpin_agent.heads.stored import Arrays, Parameters
from kenpin_wire.manifest import HeadKind

Member = Lof | Knn | Cosine | Mahalanobis | Padim | PatchKnn
Doubles = npt.NDArray[np.float64]

MEMBERS: dict[
    str, type[Lof] | type[Knn] | type[Cosine] | type[Mahalanobis] | type[Padim] | type[PatchKnn]
] = {head.kind: head for head in (Lof, Knn, Cosine, Mahalanobis, Padim, PatchKnn)}


@dataclass(frozen=True, eq=False)
class Fusion(Assessing):
    """The mean of its members' standardised scores, `(score − centre) / scale`: 0 is an ordinary good part, and 1 a
    good part one standard deviation from it.

    Attributes:
        members: At least one.
        centres, scales: Shape (members,), float64: mean and standard deviation of what good parts score that a
            member was not fitted on.
    """

    kind: ClassVar[HeadKind] = "fusion"

    members: tuple[Member, ...]
    centres: Doubles
    scales: Doubles

    @property
    def maps(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(name for member in self.members for name in member.maps))

    @property
    def parameters(self) -> dict[str, float]:
        return {
            f"{number}_{name}": value
            for number, member in enumerate(self.members)
            for name, value in member.parameters.items()
        }

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        own = {
            "members": np.array([member.kind for member in self.members]),
            "centres": self.centres,
            "scales": self.scales,
        }
        return own | {
            f"{number}_{name}": array
            for number, member in enumerate(self.members)
            for name, array in member.arrays().items()
        }

    def assess(self, features: Features) -> Assessment:
        found = [member.assess(features) for member in self.members]
        standardised = (np.array([a.score for a in found]) - self.centres) / self.scales
        return Assessment(float(standardised.mean()), partial(self._patch_scores, found))

    def _patch_scores(self, found: list[Assessment]) -> npt.NDArray[np.float32]:
        """The members' patches on the finest grid among them."""
        grids = [(a.patch_scores() - c) / s for a, c, s in zip(found, self.centres, self.scales, strict=True)]
        finest = max((grid.shape for grid in grids), key=lambda shape: shape[0] * shape[1])
        total = np.sum([resized(grid.astype(np.float32), finest) for grid in grids], axis=0)
        mean: npt.NDArray[np.float32] = total / np.float32(len(grids))
        return mean

    @classmethod
    def load(cls, arrays: Arrays, parameters: Parameters) -> Fusion:
        kinds = stored.names(arrays, "members")
        members = []
        for number, kind in enumerate(kinds):
            if kind not in MEMBERS:
                raise ValueError(f"member {number} is of unknown kind {kind}")
            start = f"{number}_"
            own = {
                name.removeprefix(start): array for name, array in arrays.items() if name.startswith(start)
            }
            with_ = {
                name.removeprefix(start): value
                for name, value in parameters.items()
                if name.startswith(start)
            }
            members.append(MEMBERS[kind].load(own, with_))
        centres = stored.doubles(arrays, "centres", len(kinds))
        scales = stored.doubles(arrays, "scales", len(kinds))
        if (scales <= 0).any():
            raise ValueError("scales holds a value that is not above 0")
        return cls(tuple(members), centres, scales)
