"""Our own decoder, in torch: from the encoder's maps to a map of how odd each place is.

Two small networks look at the maps, and what they say is added up.

One has learnt to rebuild the maps of good pictures through a bottleneck of a few channels, also where a synthetic
defect was painted over them; where it fails to, there is something it was never shown. It is an autoencoder of
features (as in reverse distillation, Deng & Li 2022, arXiv 2201.10703) that denoises (as DRAEM's, Zavrtanik et al.
2021, arXiv 2108.07610, and DeSTSeg's, Zhang et al. 2023, arXiv 2211.11317).

The other has learnt to tell synthetic defects from good places. Alone it knows but those; it sharpens the first.

Import this only where torch is installed (`kenpin_models.extras.need`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

PAINTER_WEIGHT = 0.5
"""Of the network that knows synthetic defects, against the one that rebuilds; both are standardised on good
pictures first. Pixel AUROC and AUPRO on cookie, mean of 2 seeds: 0.970 and 0.892 at 0, 0.976 and 0.910 at 0.5, 0.975
and 0.904 at 1; 0.959 and 0.854 for the painter alone."""


class Slim(nn.Module):  # type: ignore[misc]  # torch is not installed where mypy runs
    """Takes the encoder's maps, each (n, h, w, c), gives (n, h, w, 1) of the finest one's grid.

    Maps as fine as the first are used as they are, all others at half its grid.

    Args:
        channels: Of each map.
        fine: Whether a map is as fine as the first.
    """

    def __init__(self, channels: Sequence[int], fine: Sequence[bool]) -> None:
        super().__init__()
        self.fine = tuple(fine)
        for index, count in enumerate(channels):
            self.register_buffer(f"shift{index}", torch.zeros(count, 1, 1))
            self.register_buffer(f"scale{index}", torch.ones(count, 1, 1))
        wide_fine = sum(count for count, is_fine in zip(channels, fine, strict=True) if is_fine)
        wide_coarse = sum(channels) - wide_fine
        self.rebuild = _Rebuilder(wide_fine, wide_coarse)
        self.tell = _Painter(wide_fine, wide_coarse)
        self.register_buffer("centre", torch.zeros(2))
        self.register_buffer("spread", torch.ones(2))

    def forward(self, *maps: Any) -> Any:
        fine, coarse = self.gather(*maps)
        failed, told = self.look(fine, coarse)
        odd = (failed - self.centre[0]) / self.spread[0]
        odd = odd + PAINTER_WEIGHT * (told - self.centre[1]) / self.spread[1]
        return odd.permute(0, 2, 3, 1)

    def gather(self, *maps: Any) -> tuple[Any, Any]:
        """The standardised maps at their two grids, channels first; the coarse ones are None if there are none."""
        first = maps[0].shape[1:3]
        half = tuple(math.ceil(length / 2) for length in first)
        fine, coarse = [], []
        for index, values in enumerate(maps):
            x = values.permute(0, 3, 1, 2)
            x = (x - getattr(self, f"shift{index}")) * getattr(self, f"scale{index}")
            if self.fine[index]:
                fine.append(x)
            else:
                coarse.append(_resized(x, half))
        return torch.cat(fine, 1), torch.cat(coarse, 1) if coarse else None

    def look(self, fine: Any, coarse: Any) -> tuple[Any, Any]:
        """What both networks say of gathered maps, each (n, 1, h, w): the logarithm of how far off the rebuilt maps
        are, and the painter's logit."""
        return self.rebuild.failure(fine, coarse, fine, coarse).log(), self.tell(fine, coarse)

    def standardise(self, maps: Sequence[Any]) -> None:
        """Set shifts and scales from maps of good pictures, each (n, h, w, c)."""
        for index, values in enumerate(maps):
            shift, variance = values.mean((0, 1, 2)), values.var((0, 1, 2))
            # Half its own variance, half all channels', as the `patch_knn` bank (see `kenpin_models.fit`).
            scale = 1 / ((variance + variance.mean()) / 2 + 1e-8).sqrt()
            getattr(self, f"shift{index}").copy_(shift[:, None, None])
            getattr(self, f"scale{index}").copy_(scale[:, None, None])


class _Rebuilder(nn.Module):  # type: ignore[misc]
    """Down to a few channels at the coarse grid, and up again."""

    def __init__(self, wide_fine: int, wide_coarse: int, wide: int = 64, narrow: int = 24) -> None:
        super().__init__()
        self.wide_all = wide_fine + wide_coarse
        self.from_fine = nn.Conv2d(wide_fine, wide, 3, stride=2, padding=1)
        self.from_coarse = nn.Conv2d(wide_coarse, wide, 1) if wide_coarse else None
        self.through = nn.Sequential(
            nn.BatchNorm2d(wide), nn.ReLU(), *_block(wide, narrow), *_block(narrow, wide)
        )
        self.up = nn.Sequential(*_block(wide, 48))
        self.to_fine = nn.Conv2d(48, wide_fine, 1)
        self.to_coarse = nn.Conv2d(wide, wide_coarse, 1) if wide_coarse else None

    def failure(self, fine: Any, coarse: Any, true_fine: Any, true_coarse: Any) -> Any:
        """How far what is rebuilt from the first two is from the last two, root mean square; (n, 1, h, w)."""
        x = self.from_fine(fine)
        if self.from_coarse is not None:
            x = x + self.from_coarse(coarse)
        x = self.through(x)
        grid = fine.shape[2:]
        squares = (self.to_fine(self.up(_resized(x, grid))) - true_fine).square().sum(1, keepdim=True)
        if self.to_coarse is not None:
            rough = (self.to_coarse(x) - true_coarse).square().sum(1, keepdim=True)
            squares = squares + _resized(rough, grid)
        return (squares / self.wide_all + 1e-6).sqrt()


class _Painter(nn.Module):  # type: ignore[misc]
    """Tells what was painted: a logit for each place."""

    def __init__(self, wide_fine: int, wide_coarse: int, wide: int = 64) -> None:
        super().__init__()
        self.from_fine = nn.Conv2d(wide_fine, wide, 1)
        self.from_coarse = nn.Conv2d(wide_coarse, wide, 1) if wide_coarse else None
        self.through = nn.Sequential(
            nn.ReLU(),
            nn.Conv2d(wide, wide // 2, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(wide // 2, wide // 2, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(wide // 2, 1, 1),
        )

    def forward(self, fine: Any, coarse: Any) -> Any:
        x = self.from_fine(fine)
        if self.from_coarse is not None:
            x = x + _resized(self.from_coarse(coarse), fine.shape[2:])
        return self.through(x)


def _block(wide_in: int, wide_out: int) -> list[Any]:
    return [nn.Conv2d(wide_in, wide_out, 3, padding=1), nn.BatchNorm2d(wide_out), nn.ReLU()]


def _resized(x: Any, grid: Sequence[int]) -> Any:
    if tuple(x.shape[2:]) == tuple(grid):
        return x
    return nn.functional.interpolate(x, size=tuple(grid), mode="bilinear", align_corners=False)
