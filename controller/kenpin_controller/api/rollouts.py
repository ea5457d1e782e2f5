"""Rollouts over REST: what is asked for, what is told, and the paths. Times are UNIX seconds, UTC."""

from __future__ import annotations

import time
from enum import StrEnum
from typing import Annotated, Any, Self

from fastapi import APIRouter, Query, Request
from pydantic import BaseModel, ConfigDict, Field, model_validator

from kenpin_controller.api.callers import caller
from kenpin_controller.errors import NotFoundError
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
from kenpin_controller.site import Site
from kenpin_wire.errors import ConfigError
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


def add_rollouts(router: APIRouter, site: Site) -> None:
    """The paths of rollouts, and of what people do to devices and releases because of them."""
    _add_rollouts(router, site)
    _add_devices(router, site)
    _add_records(router, site)


def _add_rollouts(router: APIRouter, site: Site) -> None:
    @router.get("/rollouts")
    def rollouts(limit: Annotated[int, Query(ge=1, le=500)] = 50) -> list[Rollout]:
        """Newest first, without timelines and reports."""
        return [Rollout.of(view) for view in site.rollouts(limit=limit)]

    @router.post("/rollouts", status_code=201)
    def start(body: RolloutBody, request: Request) -> Rollout:
        if body.devices is not None and body.line is not None:
            raise ConfigError(
                "devices and a line exclude each other",
                where="rollout",
                remedy="Give one, or neither for all.",
            )
        return Rollout.of(site.roll_out(body.plan(), who=caller(request)))

    @router.get("/rollouts/{rollout}")
    def rollout(rollout: str) -> Rollout:
        view = site.rollout(rollout)
        if view is None:
            raise NotFoundError("no such rollout", where=rollout, remedy="GET /api/v1/rollouts lists them.")
        return Rollout.of(view)

    @router.post("/rollouts/{rollout}/{verb}")
    def act(rollout: str, verb: Verb, request: Request, body: VerbBody | None = None) -> Rollout:
        """Ask something of a rollout."""
        return Rollout.of(_act(site, rollout, verb, body or VerbBody(), caller(request)))


def _act(site: Site, rollout: str, verb: Verb, body: VerbBody, who: str) -> RolloutView:
    match verb:
        case Verb.PAUSE:
            return site.pause_rollout(rollout, who=who)
        case Verb.RESUME:
            return site.resume_rollout(rollout, who=who)
        case Verb.ABORT:
            return site.abort_rollout(rollout, revert=body.revert, why=body.why, who=who)
        case Verb.RETURN:
            return site.return_rollout(rollout, why=body.why, who=who)
        case Verb.APPROVE if body.device is None:
            return site.approve_wave(rollout, who=who)
    if body.device is None:
        raise ConfigError("a device is needed", where=verb.value, remedy="Give its name as `device`.")
    match verb:
        case Verb.APPROVE:
            return site.approve_device(rollout, body.device, with_threshold=body.with_threshold, who=who)
        case Verb.RETRY:
            return site.retry_device(rollout, body.device, who=who)
    return site.skip_device(rollout, body.device, why=body.why, who=who)


def _add_devices(router: APIRouter, site: Site) -> None:
    @router.post("/devices/{device}/return", status_code=202)
    def send_back(device: str, body: WhyBody, request: Request) -> Sent:
        """Back to the release that ran before."""
        return Sent(rev=site.return_device(device, why=body.why, who=caller(request)))

    @router.put("/devices/{device}/pin")
    def pin(device: str, body: PinBody, request: Request) -> PinStatus | None:
        """Have rollouts pass it by, or no longer."""
        if body.pinned:
            return PinStatus.model_validate(site.pin(device, why=body.why, who=caller(request)))
        site.unpin(device, who=caller(request))
        return None

    @router.put("/devices/{device}/tags")
    def tags(device: str, body: TagsBody, request: Request) -> list[str]:
        return site.tag(device, body.tags, who=caller(request))

    @router.get("/devices/{device}/tags")
    def tags_of(device: str) -> list[str]:
        return site.tags().get(device, [])

    @router.get("/pins")
    def pins() -> list[PinStatus]:
        return [PinStatus.model_validate(pin) for pin in site.pins().values()]

    @router.get("/devices/{device}/why")
    def why(device: str) -> Why:
        """Why it stands as it does, and what to do."""
        health = site.why(device, time.time())
        return Why(
            device=device,
            level=health.level.value,
            word=health.word,
            sentence=health.sentence,
            remedy=health.remedy,
        )


def _add_records(router: APIRouter, site: Site) -> None:
    @router.post("/releases/{release}/recall")
    def recall(release: str, body: RecallBody, request: Request) -> Recall:
        """No rollout may use it any more."""
        found = site.recall_release(release, send_back=body.send_back, why=body.why, who=caller(request))
        return Recall.model_validate(found)

    @router.get("/disagreements")
    def disagreements(
        rollout: str | None = None,
        device: str | None = None,
        limit: Annotated[int, Query(ge=1, le=1000)] = 200,
    ) -> list[Disagreement]:
        """Newest first."""
        found = site.disagreements(rollout=rollout, device=device, limit=limit)
        return [Disagreement.model_validate(record) for record in found]

    @router.put("/disagreements/{disagreement}")
    def judge(disagreement: str, body: VerdictBody, request: Request) -> Disagreement:
        """Say which of the two is right."""
        found = site.judge_disagreement(disagreement, body.right, who=caller(request))
        return Disagreement.model_validate(found)

    @router.get("/audit")
    def audit(limit: Annotated[int, Query(ge=1, le=1000)] = 100, before_id: int | None = None) -> list[Audit]:
        """Newest first."""
        return [Audit.model_validate(entry) for entry in site.audit(limit=limit, before_id=before_id)]
