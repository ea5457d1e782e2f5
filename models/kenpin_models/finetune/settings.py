"""The methods, and how each is run unless told otherwise."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, get_args

from kenpin_models.encoders.plan import EncoderPlan
from kenpin_wire.errors import ConfigError

Method = Literal["doc", "arcface", "triplet"]
METHODS: tuple[Method, ...] = get_args(Method)


@dataclass(frozen=True, slots=True)
class FineTuneSettings:
    """How an encoder is taught.

    Attributes:
        freeze: The last block that stays as it is; what it gives is computed once and kept. None for the block of
            the plan's last map but one: to learn three more blocks was as good and took half as long again
            (EfficientNet-Lite0, sneakers against sandals that were left out of the reference set).
        embedding: The length of the vector that is learnt, behind the plan's own pooled vector.
        steps: How many batches, at most.
        round_steps: After so many, the held-out pictures are looked at and a checkpoint is written.
        patience: So many rounds without a better held-out loss, and it is over.
        batch: Pictures in a batch, half of them the part, half of them other things.
        learning_rate: The highest; it rises at first and falls to nothing along a cosine.
        weight_decay: AdamW's.
        held_out: The share of the good pictures, and of the reference set, that is not learnt from.
        copies_to: Fewer good pictures than this are taken with nudged copies, up to about so many, at most
            15 of each.
        most_reference: A larger reference set is cut down to this, at random.
        compactness: Of `doc`: the weight of the compactness loss beside the descriptiveness loss.
        margin_degrees, scale: Of `arcface`.
        margin: Of `triplet`: between distances on the unit sphere.
    """

    freeze: int | None = None
    embedding: int = 512
    steps: int = 150
    round_steps: int = 30
    patience: int = 3
    batch: int = 64
    learning_rate: float = 1e-3
    weight_decay: float = 1e-4
    held_out: float = 0.1
    copies_to: int = 300
    most_reference: int = 6000
    compactness: float = 0.1
    margin_degrees: float = 28.6
    scale: float = 30.0
    margin: float = 0.2

    def check(self) -> None:
        """Raises ConfigError if a value cannot be."""
        least = {"embedding": 1, "steps": 1, "round_steps": 1, "patience": 1, "batch": 4, "most_reference": 1}
        for name, value in least.items():
            if getattr(self, name) < value:
                raise _refused(name, f"{getattr(self, name)} is too few", f"Use {value} or more.")
        if not 0 < self.held_out < 1:
            raise _refused("held_out", f"a share of {self.held_out:g}", "Use a share, such as 0.1.")
        if not self.learning_rate > 0:
            raise _refused(
                "learning_rate", f"a rate of {self.learning_rate:g}", "Use one above 0, such as 0.001."
            )

    def frozen_block(self, plan: EncoderPlan) -> int:
        """The last block of `plan` that stays as it is.

        Raises:
            ConfigError: if nothing is left to learn behind it.
        """
        block = self.freeze
        if block is None:
            earlier = [block for block in plan.blocks_out[:-1] if block < plan.last_block]
            block = earlier[-1] if earlier else plan.last_block // 2 - 1
        if not -1 <= block < plan.last_block:
            remedy = f"{plan} has blocks 0 to {plan.last_block}: freeze up to an earlier one, -1 for none."
            raise _refused("freeze", f"no block behind {block} is left to learn", remedy)
        return block


DEFAULTS: Mapping[Method, FineTuneSettings] = {
    "doc": FineTuneSettings(),
    "arcface": FineTuneSettings(),
    "triplet": FineTuneSettings(learning_rate=3e-4),
}
"""Chosen on sneakers against sandals that were left out of the reference set, 2,000 of each, by the AUROC of LOF
before `Tail.whiten`: 80 steps and 160 are alike; 3e-4 is as good for `arcface` (0.976 and 0.977), and for `triplet`
better with all wrong triplets mined (0.976, TPR at 1 % FPR 0.71) than 1e-3 with semi-hard ones (0.971, 0.61). Bags
that were left out chose nothing: anything tells them."""


def method_named(name: str) -> Method:
    """The method of this name.

    Raises:
        ConfigError: if there is none.
    """
    if name not in METHODS:
        raise ConfigError(f"no method {name!r}", where="--method", remedy=f"Use {', '.join(METHODS)}.")
    return name


def _refused(name: str, what: str, remedy: str) -> ConfigError:
    return ConfigError(what, where=name, remedy=remedy)
