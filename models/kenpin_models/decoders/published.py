"""The published decoders, in torch: a picture out of the pooled vector, trained on good pictures only.

The design is that of DOC' + Decoder (see field notes): what the decoder cannot reconstruct is odd. Its dense stem
holds nearly all of its weights, 20 million for 96 × 96 px, and grows with the picture.

Import this only where torch is installed (`kenpin_models.extras.need`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import nn

from kenpin_agent.seams import Image
from kenpin_models.decoders import GRID_PX
from kenpin_models.decoders.pictures import show
from kenpin_models.samples import Eye, Progress, Sample

EPOCHS = 10
LEARNING_RATE = 1e-4
BATCH = 8
"""Small, because ten epochs of a few good pictures are few steps."""

EPOCH_PICTURES = 128
"""An epoch shows at least as many: nudged copies, where there are fewer. The publication had thousands."""


class Published(nn.Module):  # type: ignore[misc]  # torch is not installed where mypy runs
    """Dense 1024, dense to a grid of 128 channels, then three times twice as large.

    Takes the pooled vector, (n, d), gives (n, height, width, 3), RGB, 0 to 255.

    Args:
        pooled: The vector's length d.
        mobile: Depthwise-separable blocks of 128, 128, 64 and 32 channels instead of 5 × 5 convolutions of 128
            and 256.
    """

    def __init__(self, pooled: int, width: int, height: int, *, mobile: bool) -> None:
        super().__init__()
        self.rows, self.columns = height // GRID_PX, width // GRID_PX
        self.stem = nn.Sequential(
            nn.Linear(pooled, 1024), nn.ReLU(), nn.Linear(1024, 128 * self.rows * self.columns), nn.ReLU()
        )
        if mobile:
            layers = [
                *_separable(128, 128), _twice(), *_separable(128, 128), _twice(), *_separable(128, 64), _twice(),
                *_separable(64, 32), nn.Conv2d(32, 3, 1),
            ]  # fmt: skip
        else:
            layers = [_Enlarged(128, 128), nn.ReLU(), _Enlarged(128, 256), nn.ReLU(), _Enlarged(256, 3)]
        self.body = nn.Sequential(*layers, nn.Sigmoid())

    def forward(self, pooled: Any) -> Any:
        x = self.stem(pooled).reshape(-1, 128, self.rows, self.columns)
        return self.body(x).permute(0, 2, 3, 1) * 255


class _Enlarged(nn.Module):  # type: ignore[misc]
    """Twice as large, each value four times, then a 5 × 5 convolution.

    While it learns, both are done in one: of the 25 places that the kernel looks at only 9 differ, and which ones
    depends on the row and column being even or odd. The result is the same, 2.5 times as fast. Used, it is as
    published, so that what is measured is too.
    """

    def __init__(self, wide_in: int, wide_out: int) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(wide_in, wide_out, 5, padding=2)
        even = [[1, 1, 0, 0, 0], [0, 0, 1, 1, 0], [0, 0, 0, 0, 1]]
        odd = [[1, 0, 0, 0, 0], [0, 1, 1, 0, 0], [0, 0, 0, 1, 1]]
        self.register_buffer("folding", torch.tensor([even, odd], dtype=torch.float32), persistent=False)

    def forward(self, x: Any) -> Any:
        if not self.training:
            return self.convolution(nn.functional.interpolate(x, scale_factor=2, mode="nearest"))
        weight, bias = self.convolution.weight, self.convolution.bias
        kernels = torch.einsum("pru,oiuv,qsv->opqirs", self.folding, weight, self.folding)
        kernels = kernels.reshape(-1, *kernels.shape[3:])
        x = nn.functional.conv2d(x, kernels, bias.repeat_interleave(4), padding=1)
        return nn.functional.pixel_shuffle(x, 2)


def train_published(
    sources: Sequence[Sample | Image], eye: Eye, *, mobile: bool, seed: int, progress: Progress
) -> tuple[Published, list[float]]:
    """Train on good pictures: mean squared error, Adam.

    Returns:
        The module, and the loss of each epoch: the mean squared error of colours 0 to 1.
    """
    torch.manual_seed(seed)
    count = max(len(sources), EPOCH_PICTURES)
    shown = [
        (entry.features.pooled, entry.picture)
        for entry in show(sources, eye, count, np.random.default_rng(seed), progress)
    ]
    pooled = torch.from_numpy(np.stack([vector for vector, _ in shown]))
    targets = torch.from_numpy(np.stack([picture for _, picture in shown]))
    module = Published(pooled.shape[1], eye.spec.width, eye.spec.height, mobile=mobile)
    optimiser = torch.optim.Adam(module.parameters(), LEARNING_RATE)
    losses = []
    for epoch in range(EPOCHS):
        progress("training the decoder", epoch, EPOCHS)
        total = 0.0
        for batch in torch.randperm(count).split(BATCH):
            loss = nn.functional.mse_loss(module(pooled[batch]) / 255, targets[batch] / 255)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            total += loss.item() * len(batch)
        losses.append(total / count)
    progress("training the decoder", EPOCHS, EPOCHS)
    return module.eval(), losses


def _twice() -> Any:
    return nn.Upsample(scale_factor=2, mode="nearest")


def _separable(wide_in: int, wide_out: int) -> list[Any]:
    return [
        nn.Conv2d(wide_in, wide_in, 5, padding=2, groups=wide_in),
        nn.ReLU(),
        nn.Conv2d(wide_in, wide_out, 1),
        nn.ReLU(),
    ]
