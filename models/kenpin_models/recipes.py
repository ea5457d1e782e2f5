"""What can be fitted: a head of each kind with what it needs to be told, and the ones `auto` tries."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal, get_args

from kenpin_wire.errors import ConfigError
from kenpin_wire.manifest import HeadKind

Covariance = Literal["full", "diagonal"]


SHARP = 16.0
"""The power mean that serves most lines: of 5, 10, 16, 24, 32 and 48 the best of `padim` on the mean of 13 sets, two
real and one of them sneaker/boot (0.928; 0.927 with the mean of the greatest 2 %), and of `patch_knn` (0.879)."""

MEDIAN_SHARE = 0.5
"""What of the median is taken off that: light or focus that make all of a picture a little odd are no defect. The
fusion gains on cookie (0.997 instead of 0.989, nothing off; aliens 0.995 and 0.994; mean of 5 seeds)."""

SHARE_PER_PICTURE = 0.02
"""As much of it for each good picture there is, up to `MEDIAN_SHARE`: of a few, nobody knows what their median does.
From ten, a half is worse on the mean of ten sets (0.891 instead of 0.902 with a fifth) and ruins sneaker/boot (0.76
instead of 0.90)."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """A head to be fitted.

    Attributes:
        exponent, median_share: Of a patch head: its score is this power mean of the patches' distances, less this
            share of their median.
        covariance: Of `padim`.
        members: Of `fusion`.
        whitened: Of `lof` and `knn`: whether vectors are whitened first.
    """

    kind: HeadKind
    exponent: float = SHARP
    median_share: float = MEDIAN_SHARE
    covariance: Covariance = "full"
    members: tuple[Recipe, ...] = ()
    whitened: bool = True

    def for_pictures(self, count: int) -> Recipe:
        """The recipe where there are `count` good pictures to fit it on (see `SHARE_PER_PICTURE`)."""
        share = min(self.median_share, SHARE_PER_PICTURE * count)
        members = tuple(member.for_pictures(count) for member in self.members)
        return replace(self, median_share=share, members=members)

    def __str__(self) -> str:
        if self.members:
            return " + ".join(str(member) for member in self.members)
        details: list[str] = [] if self.covariance == "full" else [self.covariance]
        details += [] if self.exponent == SHARP else [f"power {self.exponent:g}"]
        details += [] if self.whitened else ["not whitened"]
        return f"{self.kind} ({', '.join(details)})" if details else self.kind


PATCH_KNN = Recipe("patch_knn")
PADIM = Recipe("padim")

PADIM_BROAD = Recipe("padim", exponent=4.0, median_share=0.0)
"""For a part of another shape, which is a little odd in many places (sneaker/boot 0.980 instead of 0.974)."""

PADIM_DIAGONAL = Recipe("padim", exponent=4.0, median_share=0.0, covariance="diagonal")
"""For very few pictures of such parts."""

LOF_PUBLISHED = Recipe("lof", whitened=False)
"""As published. Whitening raises it from 0.749 to 0.833 on the mean of seven sets, and from 0.926 to 0.967 on
sneaker/boot; `knn` alike."""

FUSION = Recipe("fusion", members=(PADIM, PATCH_KNN))

DEFAULTS: dict[str, Recipe] = {
    **{kind: Recipe(kind) for kind in get_args(HeadKind)},
    "fusion": FUSION,
    "padim_broad": PADIM_BROAD,
    "padim_diagonal": PADIM_DIAGONAL,
    "lof_plain": LOF_PUBLISHED,
}
"""What `--head` takes: each kind's bare name, and variants of some."""

AUTO: tuple[Recipe, ...] = (
    *(DEFAULTS[kind] for kind in ("lof", "knn", "cosine", "mahalanobis")),
    PADIM,
    PADIM_BROAD,
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
    if head in DEFAULTS:
        return DEFAULTS[head]
    raise ConfigError(f"no head {head!r}", where="--head", remedy=f"Use auto, {', '.join(DEFAULTS)}.")
