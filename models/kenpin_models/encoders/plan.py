"""Which encoder is meant: the network, where it is cut, which maps it gives out, whose weights it has.

Needs no torch. Blocks are counted from 0, as Keras counts them; the stem before them is not counted.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal, NamedTuple

from kenpin_wire.errors import ConfigError

Pooled = Literal["maps", "last"]


class Stage(NamedTuple):
    """Blocks alike: inverted residuals (Sandler et al. 2018, MobileNetV2, arXiv 1801.04381).

    Attributes:
        expand: How many times wider a block is inside than what it is given.
        kernel_px: Of its depthwise convolution.
        stride: Of its first block's.
    """

    expand: int
    kernel_px: int
    channels: int
    repeats: int
    stride: int


@dataclass(frozen=True, slots=True)
class Design:
    """A network, as published.

    Attributes:
        alphas: Width multipliers that it comes in.
        maps: Blocks whose maps are given out unless told otherwise: the last ones at 1/8 and 1/16 of the input,
            and the last at 1/16. What lies behind tells ImageNet's classes apart, not a part from its defect.
        same_padding: Whether it pads as TensorFlow does (a stride of two pads at the far end only), or evenly.
        epsilon: Of its batch normalisations.
    """

    stages: tuple[Stage, ...]
    alphas: tuple[float, ...]
    maps: tuple[int, ...]
    same_padding: bool
    epsilon: float

    @property
    def blocks(self) -> int:
        return sum(stage.repeats for stage in self.stages)


DESIGNS = {
    "efficientnet-lite0": Design(
        (
            Stage(1, 3, 16, 1, 1),
            Stage(6, 3, 24, 2, 2),
            Stage(6, 5, 40, 2, 2),
            Stage(6, 3, 80, 3, 2),
            Stage(6, 5, 112, 3, 1),
            Stage(6, 5, 192, 4, 2),
            Stage(6, 3, 320, 1, 1),
        ),
        alphas=(1.0,),
        maps=(4, 7, 10),
        same_padding=True,
        epsilon=1e-3,
    ),
    "mobilenetv2": Design(
        (
            Stage(1, 3, 16, 1, 1),
            Stage(6, 3, 24, 2, 2),
            Stage(6, 3, 32, 3, 2),
            Stage(6, 3, 64, 4, 2),
            Stage(6, 3, 96, 3, 1),
            Stage(6, 3, 160, 3, 2),
            Stage(6, 3, 320, 1, 1),
        ),
        alphas=(1.0, 0.5),
        maps=(5, 9, 12),
        same_padding=False,
        epsilon=1e-5,
    ),
}


@dataclass(frozen=True, slots=True)
class EncoderPlan:
    """An encoder to build.

    Attributes:
        architecture: A key of `DESIGNS`.
        alpha: The width multiplier.
        cut: The last block that is kept; None for the last one needed.
        maps: Blocks whose maps are given out, ascending; None for the design's own up to `cut`.
        pooled: `maps` for each map's mean, then each map's standard deviation, over the picture; `last` for the
            mean of the network's own last 1280 features, which needs all blocks.
        weights: `pip` for ImageNet weights from a package, a file's path, `hub:OWNER/NAME` or `hub:URL`, or
            `none` for random ones.
        seed: Of random weights.
        embedding: How many numbers a linear layer gives, which, brought to length 1, are given out as the pooled
            vector, for encoders that are taught; 0 for none.

    Raises:
        ConfigError: if there is no such network, or it has no such block or width.
    """

    architecture: str = "efficientnet-lite0"
    alpha: float = 1.0
    cut: int | None = None
    maps: tuple[int, ...] | None = None
    pooled: Pooled = "maps"
    weights: str = "pip"
    seed: int = 0
    embedding: int = 0

    def __post_init__(self) -> None:
        design = DESIGNS.get(self.architecture)
        if design is None:
            raise _refused(f"no network {self.architecture!r}", f"Use {' or '.join(DESIGNS)}.")
        if self.alpha not in design.alphas:
            widths = " or ".join(map(str, design.alphas))
            raise _refused(f"no {self.architecture} of width {self.alpha:g}", f"Use {widths}.")
        if self.pooled not in ("maps", "last"):
            raise _refused(f"no pooled vector {self.pooled!r}", "Use maps or last.")
        last = design.blocks - 1
        if self.pooled == "last" and self.cut not in (None, last):
            raise _refused(
                "the network's last features need all of its blocks", f"Cut at {last} or not at all."
            )
        if self.cut is not None and not 0 <= self.cut <= last:
            raise _refused(f"no block {self.cut}", f"The blocks are 0 to {last}.")
        chosen = self.blocks_out
        if (
            not chosen
            or list(chosen) != sorted(set(chosen))
            or not 0 <= chosen[0] <= chosen[-1] <= self.last_block
        ):
            raise _refused(
                f"no maps of blocks {', '.join(map(str, chosen)) or 'none'}",
                f"Name blocks from 0 to {last if self.cut is None else self.cut}, ascending.",
            )
        if self.embedding < 0:
            raise _refused(
                f"an embedding of length {self.embedding}", "Use a positive length, or 0 for none."
            )

    @property
    def design(self) -> Design:
        return DESIGNS[self.architecture]

    @property
    def last_block(self) -> int:
        """The last block that is built."""
        if self.pooled == "last":
            return self.design.blocks - 1
        return self.cut if self.cut is not None else max(self.maps or self.design.maps)

    @property
    def blocks_out(self) -> tuple[int, ...]:
        """The blocks whose maps are given out. A cut before the design's own maps gives out its own."""
        if self.maps is not None:
            return self.maps
        return tuple(block for block in self.design.maps if block <= self.last_block) or (self.last_block,)

    @property
    def map_names(self) -> tuple[str, ...]:
        return tuple(f"block{block}" for block in self.blocks_out)

    @property
    def described(self) -> str:
        """The network with its cut and maps in full, as `parse_plan` reads it; without whose weights it has."""
        text = f"{self._name}:block{self.last_block}@maps={','.join(map(str, self.blocks_out))}"
        text += "@pooled=last" if self.pooled == "last" else ""
        return text + (f"@embedding={self.embedding}" if self.embedding else "")

    @property
    def stride_px(self) -> int:
        """Height and width of an input must be multiples of this, so that every stride halves an even size and
        the ways to pad agree."""
        stride, first = 2, 0
        for stage in self.design.stages:
            if first <= self.last_block:
                stride *= stage.stride
            first += stage.repeats
        return stride

    def __str__(self) -> str:
        """As `parse_plan` reads it; what is left to the design is left out."""
        text = self._name
        if self.cut is not None:
            text += f":block{self.cut}"
        if self.maps is not None:
            text += f"@maps={','.join(map(str, self.maps))}"
        plain = EncoderPlan(self.architecture)
        for name in ("pooled", "weights", "seed", "embedding"):
            if getattr(self, name) != getattr(plain, name):
                text += f"@{name}={getattr(self, name)}"
        return text

    @property
    def _name(self) -> str:
        return f"{self.architecture}-{self.alpha}" if len(self.design.alphas) > 1 else self.architecture


def parse_plan(text: str) -> EncoderPlan:
    """Read a plan such as `mobilenetv2-1.0:block13@maps=6,13@weights=none`; all but the network can be left out.

    Raises:
        ConfigError: if it cannot be read, or there is no such encoder.
    """
    match = _PLAN.fullmatch(text)
    if match is None:
        raise _refused(f"{text!r} names no encoder", _EXAMPLE)
    words = dict(part.partition("=")[::2] for part in match["options"].split("@")[1:])
    unknown = sorted(set(words) - {"maps", "pooled", "weights", "seed", "embedding"})
    if unknown:
        raise _refused(f"{text!r} has no option {unknown[0]!r}", _EXAMPLE)
    try:
        return EncoderPlan(
            match["architecture"],
            alpha=float(match["alpha"] or 1),
            cut=int(match["cut"]) if match["cut"] else None,
            maps=tuple(map(int, words["maps"].split(","))) if "maps" in words else None,
            pooled="last" if words.get("pooled") == "last" else _maps_only(words.get("pooled", "maps")),
            weights=words.get("weights", "pip"),
            seed=int(words.get("seed", 0)),
            embedding=int(words.get("embedding", 0)),
        )
    except ValueError:
        raise _refused(f"{text!r} has an option that is no number", _EXAMPLE) from None


_EXAMPLE = "Write it as mobilenetv2-1.0:block13@maps=6,13, or give a .tflite file."
_PLAN = re.compile(
    r"(?P<architecture>efficientnet-lite0|mobilenetv2|[a-z0-9-]+?)(-(?P<alpha>\d\.\d+))?"
    r"(:block(?P<cut>\d+))?(?P<options>(@[a-z]+=[^@]+)*)"
)


def _maps_only(word: str) -> Pooled:
    if word != "maps":
        raise _refused(f"no pooled vector {word!r}", "Use maps or last.")
    return "maps"


def _refused(what: str, remedy: str) -> ConfigError:
    return ConfigError(what, where="encoder", remedy=remedy)
