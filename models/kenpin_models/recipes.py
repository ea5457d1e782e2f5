"""What can be fitted: a head of each kind with what it needs to be told, and the ones `auto` tries."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from kenpin_wire.errors import ConfigError
from kenpin_wire.manifest import HeadKind

Covariance = Literal["full", "diagonal"]


@dataclass(frozen=True, slots=True)
class Recipe:
    """A head to be fitted.

    Attributes:
        top_share: Of a patch head: of a picture's patches, the share whose mean is its score.
        covariance: Of `padim`.
        members: Of `fusion`.
    """

    kind: HeadKind
    top_share: float = 0.0
    covariance: Covariance = "full"
    members: tuple[Recipe, ...] = ()

    def __str__(self) -> str:
        if self.members:
            return " + ".join(str(member) for member in self.members)
        details = ["diagonal"] if self.kind == "padim" and self.covariance == "diagonal" else []
        details += [f"top {self.top_share:.0%}"] if self.top_share > 0.05 else []
        return f"{self.kind} ({', '.join(details)})" if details else self.kind


PATCH_KNN = Recipe("patch_knn", top_share=0.01)
"""Four patches of 400. Less is as good and less steady, more loses what is small (cookie 0.983 at 0.01, 0.974 at
0.03, 0.966 at 0.1, mean of 6 seeds; aliens alike)."""

PADIM = Recipe("padim", top_share=0.02)
"""Two patches of its 100: its grid is half as fine."""

PADIM_WIDE = Recipe("padim", top_share=0.2)
"""For a part of another shape, which is a little odd in many places (sneaker/boot 0.977 instead of 0.971)."""

PADIM_DIAGONAL = Recipe("padim", top_share=0.2, covariance="diagonal")
"""For very few pictures of such parts (sneaker/boot from ten pictures 0.969 instead of 0.949)."""

FUSION = Recipe("fusion", members=(PATCH_KNN, PADIM))

DEFAULTS: dict[HeadKind, Recipe] = {
    **{kind: Recipe(kind) for kind in get_args(HeadKind)},
    "patch_knn": PATCH_KNN,
    "padim": PADIM,
    "fusion": FUSION,
}
"""What a head's bare name means."""

AUTO: tuple[Recipe, ...] = (
    *(DEFAULTS[kind] for kind in ("lof", "knn", "cosine", "mahalanobis")),
    PADIM,
    PADIM_WIDE,
    PADIM_DIAGONAL,
    PATCH_KNN,
    FUSION,
)
"""What `auto` chooses from."""


def recipe_for(head: str) -> Recipe:
    """What `--head` asks for.

    Raises:
        ConfigError: if there is no such head.
    """
    for kind, recipe in DEFAULTS.items():
        if kind == head:
            return recipe
    raise ConfigError(f"no head {head!r}", where="--head", remedy=f"Use auto, {', '.join(DEFAULTS)}.")
