"""The networks, in torch: EfficientNet-Lite0 and MobileNetV2 are one family and one module.

Import this only where torch is installed (`kenpin_models.extras.need`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import deepcopy
from typing import Any

import torch
from torch import nn

from kenpin_models.encoders.plan import Design, EncoderPlan, Stage

IMAGENET_MEAN = (0.485, 0.456, 0.406)  # of pixel values 0 to 1, red first
IMAGENET_STD = (0.229, 0.224, 0.225)
LAST_CHANNELS = 1280


class EncoderModule(nn.Module):  # type: ignore[misc]  # torch is not installed where mypy runs
    """An encoder. It takes float32 (n, height, width, 3), RGB, 0 to 255, and gives a dict: `pooled` (n, d), then a
    map (n, h, w, c) for each of the plan's blocks, by name.

    To freeze the first blocks and keep what they give, run `begin` and `advance` up to there once, and go on with
    `advance` and `finish` as often as needed; `forward` is these three.

    Attributes:
        stem: The first convolution; `begin` normalises and pads for it.
        blocks: The kept blocks in their order.
        last: The 1280 features behind the last block, where the plan wants them; else None.
        embedding: The linear layer behind the pooled vector, where the plan wants one; else None. What it gives is
            brought to length 1.
        pooled_size: The length of the pooled vector before `embedding`.
        provenance: Where its weights are from, in a line.
    """

    def __init__(self, plan: EncoderPlan, *, same_padding: bool, epsilon: float) -> None:
        super().__init__()
        self.plan = plan
        self.same_padding = same_padding
        self.epsilon = epsilon
        self.provenance = ""
        widths = block_channels(plan.design, plan.alpha)

        def conv(wide_in: int, wide_out: int, kernel_px: int = 1, **how: Any) -> list[Any]:
            return _convolution(wide_in, wide_out, kernel_px, same=same_padding, epsilon=epsilon, **how)

        self.register_buffer("mean", torch.tensor(IMAGENET_MEAN) * 255)
        self.register_buffer("scale", 1 / (torch.tensor(IMAGENET_STD) * 255))
        wide = _width(32, plan.alpha)
        first = nn.Conv2d(3, wide, 3, stride=2, bias=False)  # `begin` pads
        self.stem = nn.Sequential(first, nn.BatchNorm2d(wide, eps=epsilon), nn.ReLU6())
        self.blocks = nn.ModuleList()
        for stage in plan.design.stages:
            for repeat in range(stage.repeats):
                if len(self.blocks) <= plan.last_block:
                    wide_out = widths[len(self.blocks)]
                    stride = stage.stride if repeat == 0 else 1
                    self.blocks.append(InvertedResidual(wide, wide_out, stage, stride, conv))
                    wide = wide_out
        self.last = nn.Sequential(*conv(wide, LAST_CHANNELS), nn.ReLU6()) if plan.pooled == "last" else None
        self.pooled_size = LAST_CHANNELS if self.last else 2 * sum(widths[block] for block in plan.blocks_out)
        self.embedding = nn.Linear(self.pooled_size, plan.embedding) if plan.embedding else None

    def forward(self, image: Any) -> dict[str, Any]:
        x, maps = self.advance(self.begin(image), 0)
        return self.finish(x, maps)

    def begin(self, image: Any) -> Any:
        """What block 0 is given: (n, c, height / 2, width / 2)."""
        x = image - self.mean
        if self.scale is not None:
            x = x * self.scale
        # Padded before the axes are exchanged: converted, it costs two transpositions of the picture less.
        before = 0 if self.same_padding else 1
        return self.stem(nn.functional.pad(x, (0, 0, before, 1, before, 1)).permute(0, 3, 1, 2))

    def advance(self, x: Any, first: int, stop: int | None = None) -> tuple[Any, dict[str, Any]]:
        """Run the blocks from `first` up to, without, `stop`; all the rest if None.

        Returns:
            What the last of them gives, (n, c, h, w), and those maps of the plan that were passed, (n, h, w, c).
        """
        maps = {}
        for index, block in enumerate(self.blocks[first:stop], first):
            x = block(x)
            if index in self.plan.blocks_out:
                maps[f"block{index}"] = x.permute(0, 2, 3, 1)
        return x, maps

    def finish(self, x: Any, maps: Mapping[str, Any]) -> dict[str, Any]:
        """The outputs, from what the last block gives and all the plan's maps, in their order."""
        pooled = (
            self.last(x).mean((2, 3)) if self.last is not None else means_and_deviations(list(maps.values()))
        )
        if self.embedding is not None:
            # Metric learning is about directions: on embeddings of length 1 LOF is far better.
            pooled = nn.functional.normalize(self.embedding(pooled))
        return {"pooled": pooled} | dict(maps)


class InvertedResidual(nn.Module):  # type: ignore[misc]  # as above
    """Widen, look around channel by channel, narrow again; and add what was given, where the shapes allow it."""

    def __init__(self, wide_in: int, wide_out: int, stage: Stage, stride: int, conv: Any) -> None:
        super().__init__()
        inside = wide_in * stage.expand
        self.adds = stride == 1 and wide_in == wide_out
        self.expand = nn.Sequential(*conv(wide_in, inside), nn.ReLU6()) if stage.expand > 1 else nn.Identity()
        self.depthwise = nn.Sequential(
            *conv(inside, inside, stage.kernel_px, stride=stride, groups=inside), nn.ReLU6()
        )
        self.project = nn.Sequential(*conv(inside, wide_out))

    def forward(self, x: Any) -> Any:
        y = self.project(self.depthwise(self.expand(x)))
        return x + y if self.adds else y


def means_and_deviations(maps: Sequence[Any]) -> Any:
    """Each map's mean over the picture, then each map's standard deviation: the mean says what is there, the
    deviation how unevenly.

    Args:
        maps: Each (n, h, w, c).
    """
    means = [m.mean((1, 2)) for m in maps]
    # Not `m.std(...)`, nor a mean with keepdim: converted, they divide by the sample picture's size.
    deviations = [
        (m - mean[:, None, None, :]).square().mean((1, 2)).clamp(min=1e-12).sqrt()
        for m, mean in zip(maps, means, strict=True)
    ]
    return torch.cat(means + deviations, 1)


def block_channels(design: Design, alpha: float) -> list[int]:
    """What each block gives, in channels."""
    return [_width(stage.channels, alpha) for stage in design.stages for _ in range(stage.repeats)]


def folded(module: EncoderModule) -> EncoderModule:
    """A copy that computes the same with one step less: the pixels' scale is in the first weights."""
    copy = deepcopy(module)
    if copy.scale is not None:
        copy.stem[0].weight.data *= copy.scale.view(1, 3, 1, 1)
        copy.scale = None
    return copy


def randomize(module: EncoderModule, seed: int) -> None:
    """Random weights that neither fade nor grow from block to block (He et al. 2015, by what goes out)."""
    generator = torch.Generator().manual_seed(seed)
    for part in module.modules():
        if isinstance(part, nn.Conv2d):
            fan_out = part.out_channels // part.groups * part.kernel_size[0] * part.kernel_size[1]
            nn.init.normal_(part.weight, std=(2 / fan_out) ** 0.5, generator=generator)
        elif isinstance(part, nn.Linear):
            nn.init.normal_(part.weight, std=part.in_features**-0.5, generator=generator)
            nn.init.zeros_(part.bias)


def _width(channels: int, alpha: float) -> int:
    """Channels at a width multiplier: the nearest multiple of 8, but never less than nine tenths."""
    wide = max(8, int(channels * alpha + 4) // 8 * 8)
    return wide + 8 if wide < 0.9 * channels * alpha else wide


class _FarPadded(nn.Conv2d):  # type: ignore[misc]  # as above
    """A convolution of stride two that pads an even size as TensorFlow does: more at the far end."""

    def forward(self, x: Any) -> Any:
        total = self.kernel_size[0] - 2
        before, after = total // 2, total - total // 2
        return super().forward(nn.functional.pad(x, (before, after, before, after)))


def _convolution(
    wide_in: int,
    wide_out: int,
    kernel_px: int,
    *,
    same: bool,
    epsilon: float,
    stride: int = 1,
    groups: int = 1,
) -> list[Any]:
    """A convolution without bias, and its batch normalisation."""
    kind, padding = (_FarPadded, 0) if same and stride == 2 else (nn.Conv2d, kernel_px // 2)
    bare = kind(wide_in, wide_out, kernel_px, stride, padding, groups=groups, bias=False)
    return [bare, nn.BatchNorm2d(wide_out, eps=epsilon)]
