"""What a training is asked for."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from kenpin_models.decoders import KINDS as DECODERS
from kenpin_models.encoders.resolve import SHIPPED
from kenpin_models.explore import BUDGET_MS
from kenpin_models.extras import need
from kenpin_models.finetune.settings import METHODS
from kenpin_models.recipes import recipe_for
from kenpin_wire.errors import ConfigError

FROZEN = "frozen"


@dataclass(frozen=True, slots=True, kw_only=True)
class Wishes:
    """See `kenpin train --help`.

    Attributes:
        method: How the encoder is taught: `frozen` takes it as it is; `doc`, `arcface` and `triplet` fine-tune it.
        encoder: As `encoders.resolve` takes it; to be fine-tuned, a plan.
        reference: A folder tree of pictures of other things, to fine-tune against.
        head: A head's name, or `auto` for the one that rehearses best.
        size: The encoder's input has as many pixels as a square of this, in the pictures' own proportions. By default
            `auto` chooses it, and whether to look in tiles; a given head takes 160.
        budget_ms: What a frame may cost up to its verdict, one thread of this machine; `auto` stays within it.
        bad: A folder of bad parts. They help to choose; nothing is fitted to them.
        false_rejects: The share of good parts that may be rejected.
        holdout: The share of good pictures that is not fitted on, for calibration and `evaluate`.
        quantize: `int8` brings the encoder to int8, calibrated on the good pictures; or `none`.
        decoder: What draws the heatmap: `standard`, `mobile` or `slim`; `none` for the head's own patches.
        classifier, labels: A second model that names what was judged normal, and its labels (see `classifier_file`).
        seed: The same pictures and seed make the same release, but for its time and report.
    """

    method: str = FROZEN
    encoder: str = SHIPPED
    reference: Path | None = None
    head: str = "auto"
    size: int | None = None
    budget_ms: float = BUDGET_MS
    bad: Path | None = None
    false_rejects: float = 0.01
    holdout: float = 0.4
    quantize: str = "none"
    decoder: str = "none"
    classifier: Path | None = None
    labels: Path | None = None
    seed: int = 0

    def check(self) -> None:
        """Before the work, not after it.

        Raises:
            ConfigError: naming the argument, also if what it takes is not installed.
        """
        _one_of("method", self.method, (FROZEN, *METHODS))
        _one_of("quantize", self.quantize, ("none", "int8"))
        _one_of("decoder", self.decoder, ("none", *DECODERS))
        if self.head != "auto":
            recipe_for(self.head)
        if self.method != FROZEN and self.reference is None:
            raise ConfigError(
                "it learns the part against other things, and has none",
                where=f"--method {self.method}",
                remedy="Give --reference DIR, a tree of folders with pictures of other things; a class a folder.",
            )
        if self.method == FROZEN and self.reference is not None:
            raise ConfigError(
                "an encoder that is taken as it is learns nothing from other things",
                where="--reference",
                remedy="Give --method doc too, or leave it out.",
            )
        if not 0 < self.false_rejects < 1:
            raise ConfigError(
                f"a rate of {self.false_rejects:g}",
                where="--false-rejects",
                remedy="Use a share, such as 0.01.",
            )
        if self.method != FROZEN and self.holdout == 0:
            raise ConfigError(
                "an encoder that was taught on all good pictures leaves none that can tell its threshold",
                where=f"--method {self.method} --holdout 0",
                remedy="Use --holdout 0.4, or --method frozen.",
            )
        if not 0 <= self.holdout < 1:
            raise ConfigError(
                f"a share of {self.holdout:g}", where="--holdout", remedy="Use 0 to 0.9, such as 0.4."
            )
        if not self.budget_ms > 0:
            raise ConfigError(
                f"a budget of {self.budget_ms:g} ms",
                where="--budget-ms",
                remedy="Use milliseconds, such as 66.",
            )
        if (self.classifier is None) != (self.labels is None):
            raise ConfigError(
                "a second model needs its labels, and they need their model",
                where="--classifier, --labels",
                remedy="Give both.",
            )
        self._check_installed()

    def _check_installed(self) -> None:
        if self.method != FROZEN:
            need("torch", "litert_torch", "pytorch_metric_learning", for_what=f"--method {self.method}")
        if self.decoder != "none":
            need("torch", "litert_torch", "ai_edge_quantizer", for_what=f"--decoder {self.decoder}")
        if self.quantize != "none":
            need("ai_edge_quantizer", for_what=f"--quantize {self.quantize}")

    def as_report(self) -> dict[str, Any]:
        """For the manifest: without the folders' names, which are this machine's."""
        return {
            key: value if not isinstance(value, Path) else value.name for key, value in asdict(self).items()
        }


def _one_of(argument: str, value: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise ConfigError(
            f"no {argument} {value!r}", where=f"--{argument}", remedy=f"Use {', '.join(allowed)}."
        )
