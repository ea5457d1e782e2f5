"""Rehearsal: fit every head on part of the good pictures, show it the rest, good and with synthetic defects.

This is k-fold cross-validation. Each good picture is scored once by heads that have not seen it, and so are the
defects painted on it and, where there are any, the labelled bad pictures. Choosing a head and setting a
threshold both read the same rehearsal. The pictures are encoded once; only the heads are fitted anew.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from kenpin_agent.encoder import Features
from kenpin_agent.heads import Head, top_mean
from kenpin_agent.seams import Image
from kenpin_models.ahead import ahead
from kenpin_models.augment import nudge
from kenpin_models.fit import MIN_PICTURES, Fitter, Spread
from kenpin_models.recipes import Recipe
from kenpin_models.samples import Eye, Progress, Sample, silent
from kenpin_models.synthetic import SIZES, Defective, Kind, add_defect

FOLDS = 5
MAX_PICTURES = 100
"""More good pictures than these change neither choice nor threshold by much; a random subset is taken."""

MAX_DEFECTS = 320

_FOLDS_AT_A_TIME = 2  # threads; the products let the other one run


@dataclass(frozen=True, slots=True)
class Seen:
    """What the encoder saw of a good picture, and of its nudged copies."""

    features: Features
    copies: tuple[Features, ...] = ()


@dataclass(frozen=True, slots=True)
class Painted:
    """A synthetic defect, already seen by the encoder.

    Attributes:
        picture: Index of the good picture that it was painted on.
    """

    picture: int
    kind: Kind
    size: float
    features: Features


@dataclass(slots=True)
class Rehearsed:
    """One head's scores, each from a fit that had not seen the picture.

    Attributes:
        good: Of each rehearsed good picture, in their order.
        limits: The same pictures' greatest patch scores (see `patch_limit`).
        normals: The median patch score of each.
        defects: By kind and size of the synthetic defect.
        bad: Of each labelled bad picture, the mean over the folds.
    """

    good: list[float] = field(default_factory=list)
    limits: list[float] = field(default_factory=list)
    normals: list[float] = field(default_factory=list)
    defects: dict[tuple[Kind, float], list[float]] = field(default_factory=dict)
    bad: list[float] = field(default_factory=list)

    @property
    def spread(self) -> Spread:
        """Mean and standard deviation of `good`."""
        return float(np.mean(self.good)), float(np.std(self.good))


def see_good(
    samples: Sequence[Sample], eye: Eye, rng: np.random.Generator, *, copies: int, progress: Progress = silent
) -> list[Seen]:
    """Encode good pictures and `copies` nudged copies of each."""

    def images() -> Iterator[tuple[Image, list[Image]]]:
        for sample in samples:
            image = sample.image
            yield image, [nudge(image, rng) for _ in range(copies)]

    seen = []
    for done, (image, nudged) in enumerate(ahead(images())):
        progress("looking at good pictures", done, len(samples))
        seen.append(Seen(eye.see(image), tuple(eye.see(copy) for copy in nudged)))
    progress("looking at good pictures", len(samples), len(samples))
    return seen


def paint(
    samples: Sequence[Sample],
    eye: Eye,
    rng: np.random.Generator,
    *,
    most: int = MAX_DEFECTS,
    progress: Progress = silent,
) -> list[Painted]:
    """Paint synthetic defects on good pictures and encode them: each kind at each size on each picture, or with
    many pictures as many in turn as `most` allows."""
    cells = [(kind, size) for size in SIZES for kind in Kind]
    each = max(1, min(len(cells), most // len(samples)))

    def images() -> Iterator[tuple[int, Defective]]:
        for index, sample in enumerate(samples):
            image = sample.image
            for turn in range(each):
                kind, size = cells[(index * each + turn) % len(cells)]
                yield index, add_defect(image, kind, size, rng)

    painted = []
    for index, defect in ahead(images()):
        progress("painting defects", index, len(samples))
        painted.append(Painted(index, defect.kind, defect.size, eye.see(defect.image)))
    progress("painting defects", len(samples), len(samples))
    return painted


def rehearse(
    recipes: Sequence[Recipe],
    maps: Sequence[str],
    good: Sequence[Seen],
    painted: Sequence[Painted],
    bad: Sequence[Features] = (),
    *,
    seed: int = 0,
    progress: Progress = silent,
) -> dict[Recipe, Rehearsed]:
    """Cross-validate heads.

    Args:
        recipes: A fusion's members are rehearsed with it, and are in the result too.
        maps: As `Fitter` takes them.
        good: At least `MIN_PICTURES` + 1.
        painted: Their `picture` counts in `good`. May be empty, if only the good pictures' scores are wanted.
    """
    folds = split_folds(len(good), seed)
    single = list(dict.fromkeys(part for recipe in recipes for part in (recipe.members or (recipe,))))

    def score(fold: frozenset[int]) -> list[_Scores]:
        shown = [seen for index, seen in enumerate(good) if index not in fold]
        fitter = Fitter(all_features(shown), maps, seed)
        kept = [good[index].features for index in fold]
        defects = [defect.features for defect in painted if defect.picture in fold]
        return [_scores(fitter.head(recipe), kept, defects, bad) for recipe in single]

    rehearsed = {recipe: Rehearsed() for recipe in single}
    good_scores = {recipe: np.zeros((3, len(good))) for recipe in single}
    bad_scores = {recipe: np.zeros((len(folds), len(bad))) for recipe in single}
    with ThreadPoolExecutor(_FOLDS_AT_A_TIME) as pool:
        for number, (fold, found) in enumerate(zip(folds, pool.map(score, folds), strict=True)):
            progress("rehearsing heads", number, len(folds))
            on_fold = [defect for defect in painted if defect.picture in fold]
            for recipe, scores in zip(single, found, strict=True):
                good_scores[recipe][:, list(fold)] = np.transpose(scores.good)
                bad_scores[recipe][number] = scores.bad
                for defect, value in zip(on_fold, scores.defects, strict=True):
                    cell = rehearsed[recipe].defects.setdefault((defect.kind, defect.size), [])
                    cell.append(value)
    progress("rehearsing heads", len(folds), len(folds))
    for recipe, result in rehearsed.items():
        result.good, result.limits, result.normals = good_scores[recipe].tolist()
        result.bad = bad_scores[recipe].mean(axis=0).tolist()
    return rehearsed | {
        recipe: fuse([rehearsed[member] for member in recipe.members]) for recipe in recipes if recipe.members
    }


def fuse(members: Sequence[Rehearsed]) -> Rehearsed:
    """What a fusion of rehearsed heads would have scored. Its `limits` are at most what is given here: the members'
    oddest patches need not be at the same place."""

    def mean(lists: Sequence[list[float]]) -> list[float]:
        rows = [
            (np.asarray(row) - centre) / max(scale, 1e-12)
            for row, (centre, scale) in zip(lists, spreads, strict=True)
        ]
        return [float(value) for value in np.mean(rows, axis=0)]

    spreads = [member.spread for member in members]
    return Rehearsed(
        good=mean([member.good for member in members]),
        limits=mean([member.limits for member in members]),
        normals=mean([member.normals for member in members]),
        defects={cell: mean([member.defects[cell] for member in members]) for cell in members[0].defects},
        bad=mean([member.bad for member in members]),
    )


def all_features(seen: Sequence[Seen]) -> list[Features]:
    """What heads are fitted to: the pictures and their copies."""
    return [features for entry in seen for features in (entry.features, *entry.copies)]


def split_folds(n: int, seed: int) -> list[frozenset[int]]:
    """Up to `FOLDS` random parts of n indices, so that each fit still has `MIN_PICTURES`."""
    folds = min(FOLDS, n)
    if n - -(-n // folds) < MIN_PICTURES:
        folds = n
    order = np.random.default_rng(seed).permutation(n)
    return [frozenset(part.tolist()) for part in np.array_split(order, folds)]


def patch_limit(patch_scores: npt.NDArray[np.float32]) -> float:
    """A picture's oddest patches as one number, on the heatmap's own scale."""
    return top_mean(patch_scores, _LIMIT_SHARE)


@dataclass(frozen=True, slots=True)
class _Scores:
    """Of a head fitted without a fold: of the fold's good pictures (see `_score_and_patches`), of the defects painted
    on them, and of the labelled bad pictures."""

    good: list[tuple[float, float, float]]
    defects: list[float]
    bad: list[float]


def _scores(
    head: Head, good: Sequence[Features], defects: Sequence[Features], bad: Sequence[Features]
) -> _Scores:
    return _Scores(
        [_score_and_patches(head, features) for features in good],
        [head.score(features) for features in defects],
        [head.score(features) for features in bad],
    )


def _score_and_patches(head: Head, features: Features) -> tuple[float, float, float]:
    found = head.assess(features)
    patches = found.patch_scores()
    return found.score, patch_limit(patches), float(np.median(patches))


_LIMIT_SHARE = 0.01
