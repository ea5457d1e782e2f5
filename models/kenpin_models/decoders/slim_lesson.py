"""Teach the slim decoder: good pictures, nudged, with and without painted defects, as the frozen encoder saw them.

Import this only where torch is installed (`kenpin_models.extras.need`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

from kenpin_agent.encoder import Features
from kenpin_agent.seams import Image
from kenpin_models.decoders.pictures import image_of, pairs, show
from kenpin_models.decoders.slim import Slim
from kenpin_models.samples import Eye, Progress, Sample

EPOCHS = 15
BATCH = 16
LEARNING_RATE = 3e-3

PAIRS = 480
"""Crops that are learnt from, each with and without defects; of more good pictures than that, one of each."""

MOST_PICTURES = 1000

CROP = 40
"""Places of the finest map that a crop is high and wide at most: 320 px at 1/8 of the picture's size. Larger maps
are learnt from in parts; the network is convolutional."""

STANDARD_PICTURES = 64
"""So many good pictures say what the maps' channels usually are."""


def train_slim(
    sources: Sequence[Sample | Image], eye: Eye, *, seed: int, progress: Progress
) -> tuple[Slim, list[float]]:
    """Train on good pictures and synthetic defects.

    Returns:
        The module, and the loss of each epoch: that of rebuilding plus that of telling.
    """
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    module = _fresh(sources, eye, rng)
    lesson = _lesson(module, sources, eye, rng, progress)
    optimiser = torch.optim.AdamW(module.parameters(), LEARNING_RATE, weight_decay=1e-4)
    steps = EPOCHS * math.ceil(len(lesson.mask) / BATCH)
    pace = torch.optim.lr_scheduler.OneCycleLR(optimiser, LEARNING_RATE, steps)
    module.train()
    losses = []
    for epoch in range(EPOCHS):
        progress("training the decoder", epoch, EPOCHS)
        total = 0.0
        for batch in torch.randperm(len(lesson.mask)).split(BATCH):
            loss = _loss(module, lesson.part(batch))
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            pace.step()
            total += loss.item() * len(batch)
        losses.append(total / len(lesson.mask))
    progress("training the decoder", EPOCHS, EPOCHS)
    module.eval()
    _standardise_looks(module, lesson)
    return module, losses


@dataclass(frozen=True, slots=True)
class _Lesson:
    """Crops of gathered maps (see `Slim.gather`), channels first.

    Attributes:
        good, bad: Fine and coarse maps, each (n, c, h, w), half precision as long as they lie in the memory; the
            coarse ones None if there are none.
        mask: The share of each fine place that was painted over, (n, 1, h, w).
    """

    good: tuple[Any, Any]
    bad: tuple[Any, Any]
    mask: Any

    def part(self, which: Any) -> _Lesson:
        def some(maps: tuple[Any, Any]) -> tuple[Any, Any]:
            fine, coarse = maps
            return fine[which].float(), None if coarse is None else coarse[which].float()

        return _Lesson(some(self.good), some(self.bad), self.mask[which])


def _fresh(sources: Sequence[Sample | Image], eye: Eye, rng: np.random.Generator) -> Slim:
    """An untaught module that knows what the maps' channels usually are."""
    seen = [
        _maps(shown.features, eye) for shown in show(sources, eye, min(len(sources), STANDARD_PICTURES), rng)
    ]
    maps = [torch.cat(values) for values in zip(*seen, strict=True)]
    finest = maps[0].shape[1:3]
    module = Slim([values.shape[3] for values in maps], [values.shape[1:3] == finest for values in maps])
    module.standardise(maps)
    return module


def _lesson(
    module: Slim,
    sources: Sequence[Sample | Image],
    eye: Eye,
    rng: np.random.Generator,
    progress: Progress,
) -> _Lesson:
    rows, columns = _maps(eye.see(image_of(sources[0])), eye)[0].shape[1:3]
    crops = math.ceil(rows / CROP) * math.ceil(columns / CROP)
    count = math.ceil(max(PAIRS, min(len(sources), MOST_PICTURES)) / crops)
    good, bad, masks = [], [], []
    for pair in pairs(sources, eye, count, rng, grid=(rows, columns), progress=progress):
        whole = module.gather(*_maps(pair.good, eye))
        spoilt = module.gather(*_maps(pair.bad, eye))
        mask = torch.from_numpy(pair.mask)[None, None]
        for _ in range(crops):
            top, left = (2 * int(rng.integers(max(0, length - CROP) // 2 + 1)) for length in (rows, columns))
            good.append(_crop(whole, top, left))
            bad.append(_crop(spoilt, top, left))
            masks.append(mask[:, :, top : top + CROP, left : left + CROP])
    return _Lesson(_joined(good), _joined(bad), torch.cat(masks))


def _loss(module: Slim, shown: _Lesson) -> Any:
    # Distances, not their squares: else a rich texture, which varies most, is all that is learnt (cookie 0.970
    # instead of 0.969 pixel AUROC for the rebuilding alone).
    rebuilding = module.rebuild.failure(*shown.bad, *shown.good).mean()
    nothing = torch.zeros_like(shown.mask)
    return (
        rebuilding
        + _telling(module.tell(*shown.bad), shown.mask)
        + _telling(module.tell(*shown.good), nothing) / 2
    )


def _telling(logit: Any, mask: Any) -> Any:
    """Cross-entropy that looks at what is still wrong (as the focal loss), and Dice, which sees small defects."""
    told = torch.sigmoid(logit)
    entropy = nn.functional.binary_cross_entropy_with_logits(logit, mask, reduction="none")
    dice = 1 - (2 * (told * mask).sum() + 1) / (told.sum() + mask.sum() + 1)
    return 4 * (entropy * (mask - told).square()).mean() + dice / 2


def _standardise_looks(module: Slim, lesson: _Lesson) -> None:
    """Both networks' words at one scale: what they say of good places has mean 0 and standard deviation 1."""
    with torch.no_grad():
        looks = [
            module.look(*lesson.part(batch).good) for batch in torch.arange(len(lesson.mask)).split(BATCH)
        ]
    for index in range(2):
        said = torch.cat([look[index].flatten() for look in looks])
        module.centre[index] = said.mean()
        module.spread[index] = said.std().clamp(min=1e-6)


def _maps(features: Features, eye: Eye) -> list[Any]:
    return [torch.from_numpy(features.maps[name])[None] for name in eye.encoder.maps]


def _crop(gathered: tuple[Any, Any], top: int, left: int) -> tuple[Any, Any]:
    fine, coarse = gathered
    fine = fine[:, :, top : top + CROP, left : left + CROP].half()
    if coarse is None:
        return fine, None
    top, left, side = top // 2, left // 2, CROP // 2
    return fine, coarse[:, :, top : top + side, left : left + side].half()


def _joined(crops: Sequence[tuple[Any, Any]]) -> tuple[Any, Any]:
    fine, coarse = zip(*crops, strict=True)
    return torch.cat(fine), None if coarse[0] is None else torch.cat(coarse)
