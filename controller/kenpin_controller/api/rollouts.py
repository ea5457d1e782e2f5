"""The paths of rollouts, and of what people do to devices and releases because of them."""

from __future__ import annotations

import time
from typing import Annotated

from fastapi import APIRouter, Query, Request

from kenpin_controller.api.callers import caller
from kenpin_controller.api.rollout_models import (
    Audit,
    Disagreement,
    PinBody,
    PinStatus,
    Recall,
    RecallBody,
    Rollout,
    RolloutBody,
    Sent,
    TagsBody,
    Verb,
    VerbBody,
    VerdictBody,
    Why,
    WhyBody,
)
from kenpin_controller.errors import NotFoundError
from kenpin_controller.rollouts.views import RolloutView
from kenpin_controller.site import Site
from kenpin_wire.errors import ConfigError


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
