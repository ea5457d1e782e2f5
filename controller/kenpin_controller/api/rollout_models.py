"""What the REST interface of rollouts takes and gives. Times are UNIX seconds, UTC."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from kenpin_controller.rollouts.plan import (
    Gates,
    OnFailure,
    Plan,
    Subject,
    Targets,
    ThresholdWish,
    Wave,
    Window,
)
from kenpin_controller.rollouts.views import GateState, RolloutView, Stage, Status, WhoIsRight
from kenpin_wire.messages import Policy, ReleaseName
from kenpin_wire.shadow import ShadowReport

_FROM = ConfigDict(from_attributes=True)


class Gate(BaseModel):
    """What a gate says, and why."""

    model_config = _FROM

    name: str
    state: GateState
    sentence: str


class RolloutDevice(BaseModel):
    """How far a rollout is on one device; see `kenpin_controller.rollouts.views.RolloutDeviceView`."""

    model_config = _FROM

    device: str
    line: str
    wave: int | None
    stage: Stage
    phase: str
    reason: str
    percent: float
    updated_s: float
    age_s: float
    attempts: int
    behind: bool
    next_s: float | None
    before: str
    can_approve: bool
    proposed_threshold: float | None
    shadow: ShadowReport | None
    gate: Gate | None


class WaveStatus(BaseModel):
    """A wave; `state` is done, running or ahead."""

    model_config = _FROM

    number: int
    devices: list[str]
    state: str
    started_s: float | None
    gates: list[Gate]


class Happened(BaseModel):
    """An entry of the timeline."""

    model_config = _FROM

    time_s: float
    who: str
    text: str
    device: str


class Rollout(BaseModel):
    """A release or a threshold on its way."""

    model_config = _FROM

    id: str
    name: str
    version: str
    status: Status
    sentence: str
    finished: bool
    started_s: float
    ended_s: float | None
    who: str
    plan: Plan
    waves: list[WaveStatus]
    devices: dict[str, RolloutDevice]
    timeline: list[Happened]
    disagreements: dict[str, int]

    @classmethod
    def of(cls, view: RolloutView) -> Self:
        fields = {name: getattr(view, name) for name in cls.model_fields if name not in ("name", "version")}
        return cls.model_validate(fields | {"name": view.release.name, "version": view.release.version})


class RolloutBody(BaseModel):
    """Which release (or threshold of one) goes where, and how. Only the release is needed: then it goes to all, at
    once if they are few, else to a canary first."""

    model_config = ConfigDict(extra="forbid")

    release: ReleaseName
    threshold: ThresholdWish | None = None
    devices: list[str] | None = Field(None, max_length=1_000)
    line: str | None = None
    tag: str | None = None
    waves: Annotated[tuple[Wave, ...], Field(min_length=1, max_length=20)] | None = None
    window: Window | None = None
    policy: Policy = Policy()
    gates: Gates = Gates()
    on_failure: OnFailure = OnFailure.HALT_AND_REVERT
    device_s: Annotated[float, Field(gt=0)] = 1800.0
    wave_s: Annotated[float, Field(gt=0)] = 86_400.0
    retries: Annotated[int, Field(ge=0, le=10)] = 2
    retry_s: Annotated[float, Field(gt=0)] = 60.0
    why: Annotated[str, Field(max_length=500)] = ""

    @model_validator(mode="after")
    def _whole(self) -> Self:
        self.plan()
        return self

    def plan(self) -> Plan:
        """What it asks for."""
        return Plan(
            subject=Subject(release=self.release, threshold=self.threshold),
            targets=Targets(devices=self.devices, line=self.line, tag=self.tag),
            **{name: getattr(self, name) for name in _PLANNED},
        )


_PLANNED = (
    "waves",
    "window",
    "policy",
    "gates",
    "on_failure",
    "device_s",
    "wave_s",
    "retries",
    "retry_s",
    "why",
)


class Verb(StrEnum):
    """What can be asked of a rollout."""

    PAUSE = "pause"
    RESUME = "resume"
    ABORT = "abort"
    RETURN = "return"
    APPROVE = "approve"
    RETRY = "retry"
    SKIP = "skip"


class VerbBody(BaseModel):
    """With what. `device` for retry and skip, and for approve if only one is meant; `why` for abort, return, skip."""

    model_config = ConfigDict(extra="forbid")

    device: str | None = None
    why: str = ""
    revert: bool = False
    """Abort only: also send back what has switched."""
    with_threshold: bool = False
    """Approve of a device only: with the threshold that its shadowing proposes."""


class WhyBody(BaseModel):
    """A reason, for the audit log."""

    model_config = ConfigDict(extra="forbid")

    why: str


class PinBody(BaseModel):
    """Whether rollouts shall pass the device by, and why."""

    model_config = ConfigDict(extra="forbid")

    pinned: bool
    why: str = ""


class TagsBody(BaseModel):
    """All of a device's tags."""

    model_config = ConfigDict(extra="forbid")

    tags: list[str] = Field(max_length=20)


class RecallBody(WhyBody):
    """Also whether the devices that run it shall go back to what ran before."""

    send_back: bool = False


class VerdictBody(BaseModel):
    """Which release is right."""

    model_config = ConfigDict(extra="forbid")

    right: WhoIsRight


class PinStatus(BaseModel):
    """Whether rollouts pass a device by."""

    model_config = _FROM

    device: str
    release: str
    who: str
    why: str
    time_s: float


class Recall(BaseModel):
    """Who runs it, who was sent back, and who could not be."""

    model_config = _FROM

    release: ReleaseName
    running_on: list[str]
    sent_back: list[str]
    left: dict[str, str]


class Disagreement(BaseModel):
    """A frame that two releases judge differently."""

    model_config = _FROM

    id: str
    time_s: float
    rollout: str
    line: str
    device: str
    frame: int
    part: str | None
    incumbent: str
    incumbent_score: float
    incumbent_threshold: float | None
    candidate: str
    candidate_score: float
    candidate_threshold: float | None
    picture_sha256: str | None
    incumbent_heatmap_sha256: str | None
    candidate_heatmap_sha256: str | None
    right: WhoIsRight | None
    judged_by: str
    judged_s: float | None


class Audit(BaseModel):
    """Who did what."""

    model_config = _FROM

    id: int
    time_s: float
    who: str
    action: str
    subject: str
    detail: dict[str, Any]


class Why(BaseModel):
    """Is everything all right with a device, and if not, what is to be done?"""

    device: str
    level: str
    word: str
    sentence: str
    remedy: str


class Sent(BaseModel):
    """The revision of the order that went out."""

    rev: int
