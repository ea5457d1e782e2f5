"""Every path of the REST interface."""

from __future__ import annotations

import time
from typing import Annotated

from fastapi import APIRouter, Path, Query, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import FileResponse, HTMLResponse
from pydantic import Field, FiniteFloat
from starlette.datastructures import UploadFile

from kenpin_controller.api import models as m
from kenpin_controller.api.callers import caller
from kenpin_controller.api.rollouts import add_rollouts
from kenpin_controller.api.trust import add_trust
from kenpin_controller.errors import NotFoundError
from kenpin_controller.fleet import Fleet
from kenpin_controller.operations import ReleaseRecord
from kenpin_controller.reports import report_response
from kenpin_controller.site import Site
from kenpin_controller.views import DeviceView
from kenpin_wire.errors import ConfigError

MAX_SCORES_S = 86_400.0
MAX_WAIT_S = 20.0

_REFUSALS = {status: {"model": m.Problem} for status in (404, 409, 413, 422, 503)}
_Time = Annotated[FiniteFloat | None, Query(description="UNIX seconds")]
_Sha256 = Annotated[str, Path(pattern=r"^[0-9a-f]{64}$")]


def build_router(site: Site, fleet: Fleet) -> APIRouter:
    """The routes under `/api/v1`."""
    router = APIRouter(prefix="/api/v1", responses=_REFUSALS)  # type: ignore[arg-type]  # a narrower dict
    _add_fleet(router, site, fleet)
    _add_records(router, site)
    _add_settings(router, site)
    _add_releases(router, site)
    add_rollouts(router, site)
    _add_commands(router, site)
    add_trust(router, site)
    _add_unknown(router)
    return router


def _add_fleet(router: APIRouter, site: Site, fleet: Fleet) -> None:
    @router.get("/lines")
    def lines() -> list[m.Line]:
        now_s = time.time()
        return [
            m.Line(
                site=line.site,
                line=line.line,
                devices=[device.name for device in line.devices],
                online=sum(device.online(now_s) for device in line.devices),
            )
            for line in fleet.lines()
        ]

    @router.get("/devices")
    def devices(line: str | None = None) -> list[m.Device]:
        now_s = time.time()
        revs = site.desired_revs()
        return [
            m.Device.of(view, now_s=now_s, desired_rev=revs.get(view.name, 0))
            for known in fleet.lines()
            for view in known.devices
            if line in (None, known.line)
        ]

    @router.get("/devices/{device}")
    def device(device: str) -> m.Device:
        view = _view(fleet, device)
        return m.Device.of(view, now_s=time.time(), desired_rev=site.desired_revs().get(device, 0))

    @router.get("/devices/{device}/scores")
    def scores(device: str, since_s: _Time = None, until_s: _Time = None) -> list[m.ScoreSecond]:
        """Of the last hour, unless told otherwise; at most a day at once. Oldest first."""
        _view(fleet, device)
        until = until_s if until_s is not None else time.time() + 1.0
        since = since_s if since_s is not None else until - 3600.0
        if until - since > MAX_SCORES_S:
            raise ConfigError("more than a day at once", where="since_s", remedy="Ask day by day.")
        return [m.ScoreSecond.model_validate(s) for s in site.scores(device, since_s=since, until_s=until)]


def _add_records(router: APIRouter, site: Site) -> None:
    @router.get("/events")
    def events(
        line: str | None = None,
        device: str | None = None,
        limit: Annotated[int, Query(ge=1, le=500)] = 50,
        before_s: _Time = None,
        before_id: str | None = None,
    ) -> list[m.Event]:
        """Newest first. For the next page, give the last event's `time_s` and `id`."""
        found = site.events(line=line, device=device, limit=limit, before_s=before_s, before_id=before_id)
        return [m.Event.model_validate(event) for event in found]

    @router.get("/events/{event_id}")
    def event(event_id: str) -> m.Event:
        found = site.event(event_id)
        if found is None:
            raise NotFoundError("no such event", where=event_id)
        return m.Event.model_validate(found)

    @router.get("/pictures/{sha256}", response_class=Response)
    def picture(sha256: _Sha256) -> Response:
        """A JPEG, picture or heatmap."""
        jpeg = site.picture(sha256)
        if jpeg is None:
            raise NotFoundError("no such picture; it may have been forgotten", where=sha256)
        forever = {"cache-control": "private, max-age=31536000, immutable"}  # its name is its hash
        return Response(jpeg, media_type="image/jpeg", headers=forever)


def _add_settings(router: APIRouter, site: Site) -> None:
    @router.put("/devices/{device}/threshold")
    def threshold(device: str, body: m.ThresholdBody, request: Request) -> m.Revision:
        rev = site.set_threshold(
            device, value=body.value, false_rejects=body.false_rejects, who=caller(request)
        )
        return m.Revision(rev=rev)

    @router.put("/devices/{device}/inspection")
    def inspection(device: str, body: m.InspectionBody, request: Request) -> m.Revision:
        return m.Revision(rev=site.set_inspection(device, body.on, who=caller(request)))


def _add_releases(router: APIRouter, site: Site) -> None:
    @router.get("/releases")
    def releases() -> list[m.Release]:
        return [m.Release.of(record, signed=site.signed(record)) for record in site.releases()]

    @router.post("/releases", status_code=201)
    async def add_release(request: Request) -> m.Release:
        """The file as the body, or as the first file of a multipart form."""
        data = await _upload(request)
        record = await run_in_threadpool(site.add_release, data, who=caller(request))
        return m.Release.of(record, signed=site.signed(record))

    @router.get("/releases/{release}")
    def release(release: str) -> m.Release:
        record = _release(site, release)
        return m.Release.of(record, signed=site.signed(record))

    @router.get("/releases/{release}/report", response_class=HTMLResponse)
    def report(release: str) -> Response:
        """What the trainer had to say of it, as a page. It runs no script and is of no origin."""
        _release(site, release)
        page = site.release_report(release)
        if page is None:
            raise NotFoundError(
                "it carries no report", where=release, remedy="`kenpin train` writes one into each release."
            )
        return report_response(page)

    @router.get("/releases/{release}/file", response_class=FileResponse)
    def file(release: str) -> FileResponse:
        """The release as it was uploaded."""
        path = site.release_file(_release(site, release))
        return FileResponse(path, media_type="application/octet-stream", filename=f"{release}.kenpin")


def _add_commands(router: APIRouter, site: Site) -> None:
    @router.post("/devices/{device}/commands/{verb}", status_code=202)
    def send(device: str, verb: str, request: Request, body: m.CommandBody | None = None) -> m.Command:
        arguments = body.arguments if body is not None else {}
        return _command(site, device, site.send_command(device, verb, arguments, who=caller(request)))

    @router.get("/devices/{device}/commands/{command_id}")
    def look(
        device: str, command_id: str, wait_s: Annotated[float, Field(ge=0, le=MAX_WAIT_S)] = 0.0
    ) -> m.Command:
        """How a command fares, waiting up to `wait_s` for its end."""
        return _command(site, device, command_id, wait_s)


def _add_unknown(router: APIRouter) -> None:
    """Last: a program that asks for what is not here is answered as a program, not with a page."""

    @router.get("/{path:path}", include_in_schema=False)
    def unknown(path: str) -> None:
        raise NotFoundError(
            "nothing is there", where=f"/api/v1/{path}", remedy="/openapi.json lists what is."
        )


def _command(site: Site, device: str, command_id: str, wait_s: float = 0.0) -> m.Command:
    record = site.command(command_id, wait_s=wait_s)
    if record is None or record.device != device:
        raise NotFoundError("no such command; only the last thousand are known", where=command_id)
    return m.Command.of(record)


def _release(site: Site, label: str) -> ReleaseRecord:
    record = site.release(label)
    if record is None:
        raise NotFoundError("no such release", where=label, remedy="GET /api/v1/releases lists them.")
    return record


def _view(fleet: Fleet, device: str) -> DeviceView:
    view = fleet.device(device)
    if view is None:
        raise NotFoundError("no such device", where=device, remedy="GET /api/v1/devices lists them.")
    return view


async def _upload(request: Request) -> bytes:
    if not request.headers.get("content-type", "").startswith("multipart/form-data"):
        return await request.body()
    async with request.form(max_files=1, max_fields=8) as form:
        for part in form.values():
            if isinstance(part, UploadFile):
                return await part.read()
    raise ConfigError("the form holds no file", where="body", remedy="Send the release as a file field.")
