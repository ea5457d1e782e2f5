"""The paths under `/api/v1/trust`: who signs what, root metadata to pin, and targets metadata in and out."""

from __future__ import annotations

from datetime import datetime

from fastapi import APIRouter, Request, Response
from fastapi.concurrency import run_in_threadpool
from pydantic import BaseModel, ConfigDict

from kenpin_controller.site import Site


class Key(BaseModel):
    """How it stands with a role's keys, or with the controller's own; see `kenpin keys status`."""

    model_config = ConfigDict(from_attributes=True)

    name: str
    keys: list[str]
    here: bool
    version: int | None
    expires: datetime | None
    due: str


class Accepted(BaseModel):
    """The version of targets metadata that is in force now."""

    version: int


def add_trust(router: APIRouter, site: Site) -> None:
    """Add these paths."""

    @router.get("/trust")
    def trust() -> list[Key]:
        """Who signs what, until when, and what is due."""
        return [Key.model_validate(status) for status in site.trust.status()]

    @router.get("/trust/root.json", response_class=Response)
    def root() -> Response:
        """To be pinned on every device. Fetch it over a network that you trust, and compare."""
        return _file(site.trust.root())

    @router.get("/trust/targets.json", response_class=Response)
    def targets() -> Response:
        """The targets metadata in force, to go on from."""
        return _file(site.trust.repository.books().targets.to_bytes())

    @router.post("/trust/targets", status_code=201)
    async def accept(request: Request) -> Accepted:
        """Targets metadata that was signed elsewhere, as the body; what it names must be here."""
        who = f"api@{request.client.host}"[:64] if request.client is not None else "api"
        body = await request.body()
        return Accepted(version=await run_in_threadpool(site.accept_targets, body, who=who))

    @router.get("/trust/tuf/{name}", response_class=Response)
    def metadata(name: str) -> Response:
        """Any file of the repository, for devices that fetch it here rather than over MQTT."""
        return _file(site.trust.repository.read(name))


def _file(data: bytes) -> Response:
    return Response(data, media_type="application/json", headers={"cache-control": "no-cache"})
