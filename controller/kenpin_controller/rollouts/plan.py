"""What is asked for when a rollout starts: what, to whom, in which waves, behind which gates, and when.

Written down with the rollout and never changed afterwards. Pure.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, model_validator

from kenpin_wire.messages import Fraction, Policy, ReleaseName

_Positive = Annotated[FiniteFloat, Field(gt=0)]


class Asked(BaseModel):
    """What a person asks for. An unknown field is an error, lest a typing mistake pass for a gate."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class ThresholdWish(Asked):
    """A threshold of the rollout's release: a score, or a false-reject rate; neither for its own default."""

    value: FiniteFloat | None = None
    false_rejects: Annotated[FiniteFloat, Field(gt=0, lt=1)] | None = None

    @model_validator(mode="after")
    def _one(self) -> Self:
        if self.value is not None and self.false_rejects is not None:
            raise ValueError("a score and a false-reject rate exclude each other")
        return self


class Subject(Asked):
    """What is rolled out: a release, or (with `threshold`) a threshold of a release that runs already."""

    release: ReleaseName
    threshold: ThresholdWish | None = None


class Targets(Asked):
    """Who shall have it: named devices, or all of a line or with a tag (both, if both are given), or everyone."""

    devices: Annotated[list[str], Field(max_length=1_000)] | None = None
    line: str | None = None
    tag: str | None = None


class Wave(Asked):
    """A number of devices, or as many more as bring those that have it to a share of all."""

    count: Annotated[int, Field(ge=1)] | None = None
    share: Annotated[FiniteFloat, Field(gt=0, le=1)] | None = None

    @model_validator(mode="after")
    def _one(self) -> Self:
        if (self.count is None) == (self.share is None):
            raise ValueError("give a count or a share")
        return self


CANARY_FIRST = (Wave(count=1), Wave(share=0.25), Wave(share=1.0))
AT_ONCE = (Wave(share=1.0),)
FEW = 2
"""So many devices get it at once, unless waves are asked for."""


class Window(Asked):
    """Hours of the controller's local day in which orders may start; over midnight if `until_h` is the smaller."""

    from_h: Annotated[FiniteFloat, Field(ge=0, lt=24)]
    until_h: Annotated[FiniteFloat, Field(gt=0, le=24)]

    def holds(self, hour: float) -> bool:
        """Whether `hour` (0 to 24) lies inside."""
        if self.from_h < self.until_h:
            return self.from_h <= hour < self.until_h
        return hour >= self.from_h or hour < self.until_h

    def __str__(self) -> str:
        return f"{_clock(self.from_h)} to {_clock(self.until_h)}"


class ShadowGate(Asked):
    """What a candidate's shadow report must hold on each device before it may take over there."""

    min_frames: Annotated[int, Field(ge=1)] = 30
    max_ks: Fraction = 0.3
    """Kolmogorov-Smirnov statistic; more only counts if so many frames could not show it by chance."""
    max_psi: _Positive = 0.25
    """Population-stability index, likewise."""
    max_more_rejects: Fraction = 0.05
    """It may reject so much larger a share of the same frames; more only counts beyond chance (McNemar)."""
    max_latency_ms: _Positive | None = None
    """95 % of its verdicts came faster."""
    max_c: FiniteFloat | None = None


class RejectGate(Asked):
    """The reject rate of the cameras that have it, against their own before and their siblings on the line."""

    alpha: Annotated[FiniteFloat, Field(gt=0, lt=0.5)] = 0.01
    """How often all cameras of a wave together may be suspected wrongly."""
    min_parts: Annotated[int, Field(ge=1)] = 30
    min_rise: Fraction = 0.05
    """A smaller rise of the rate stops nothing, however sure."""
    before_s: _Positive = 3600.0
    """How far back "before" goes."""


class HeatGate(Asked):
    """How hot the boards that have it may get."""

    max_c: FiniteFloat = 82.0
    throttling: bool = False
    """Whether the firmware may slow the clocks."""


class ApprovalGate(Asked):
    """A person says yes to each next wave. Judged disagreements are a yes too, if all are and enough say so."""

    verdicts_share: Fraction = 0.8
    """Opens by itself once every disagreement frame was judged and so many of them "new is right"."""


class Gates(Asked):
    """What stands between a wave and the next. Reject rate and heat also watch each wave while it runs."""

    success: Fraction = 0.9
    """The share of devices done so far that must have committed."""
    min_success: Annotated[int, Field(ge=1)] = 1
    """And in each wave at least so many (all of it, if the wave is smaller)."""
    soak_s: Annotated[FiniteFloat, Field(ge=0)] = 0.0
    """Every wave is watched so long after its last switch."""
    reject_rate: RejectGate | None = Field(default_factory=RejectGate)
    heat: HeatGate | None = None
    shadow: ShadowGate | None = None
    """Stands on each device between shadowing and switching; needs `policy.shadow`."""
    approval: ApprovalGate | None = None


class OnFailure(StrEnum):
    """What a closed gate does to the devices of its wave that switched already."""

    HALT = "halt"
    HALT_AND_REVERT = "halt_and_revert"


class Plan(Asked):
    """A whole rollout as asked for.

    Attributes:
        waves: None for `CANARY_FIRST`, or `AT_ONCE` where there are `FEW` devices. What the last of them leaves
            over is a wave of its own.
        device_s: A device that has said nothing new for so long no longer holds its wave up; it is left behind,
            and still gets it when it is back.
        wave_s: Nor does any device after so long.
        retries: How often a device that failed without a change, or took too long, is asked again.
        retry_s: First after so long, then after twice that, and so on.
        why: In a person's words, for the list of rollouts.
    """

    subject: Subject
    targets: Targets = Targets()
    waves: Annotated[tuple[Wave, ...], Field(min_length=1, max_length=20)] | None = None
    window: Window | None = None
    policy: Policy = Policy()
    gates: Gates = Gates()
    on_failure: OnFailure = OnFailure.HALT_AND_REVERT
    device_s: _Positive = 1800.0
    wave_s: _Positive = 86_400.0
    retries: Annotated[int, Field(ge=0, le=10)] = 2
    retry_s: _Positive = 60.0
    why: Annotated[str, Field(max_length=500)] = ""

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if self.gates.shadow is not None and self.policy.shadow is None:
            raise ValueError("a shadow gate needs a shadow policy")
        if self.subject.threshold is not None and (self.policy.shadow is not None or self.policy.approval):
            raise ValueError("a threshold is neither shadowed nor staged")
        return self

    @property
    def waits_staged(self) -> bool:
        """Whether devices must wait for a word before they switch: a person's, or the shadow gate's."""
        return self.policy.approval or self.gates.shadow is not None


def _clock(hour: float) -> str:
    return f"{int(hour):02d}:{round(hour % 1 * 60):02d}"
