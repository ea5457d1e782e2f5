"""The pages, for NiceGUI on the controller's own app: the wall at `/`, a camera's at `/camera/NAME`, the releases
at `/releases` and each one's at `/releases/NAME-VERSION`, the rollouts at `/rollouts` and `/rollouts/ID`.

They read the live `Fleet`, and do things through `Operations` only. Nothing is fetched from anywhere but this
server: a site may have no way to the internet.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Callable

from fastapi import FastAPI, Response
from fastapi.responses import FileResponse
from fastapi.staticfiles import StaticFiles
from nicegui import ui
from starlette.concurrency import run_in_threadpool

from kenpin_controller.fleet import Fleet
from kenpin_controller.operations import Operations
from kenpin_controller.pages.camera import CameraPage
from kenpin_controller.pages.frame import MARK, PALETTE, STATIC
from kenpin_controller.pages.parts import PICTURES_URL, REPORTS_URL, STATIC_URL
from kenpin_controller.pages.release import ReleasePage, ReleasesPage
from kenpin_controller.pages.rollout import RolloutPage
from kenpin_controller.pages.rollouts import RolloutsPage
from kenpin_controller.pages.wall import Wall
from kenpin_controller.reports import report_response

__all__ = ["mount"]

_PICTURE_WAIT_S = 6.0  # a picture may reach us after the event that names it
_PICTURE_LOOK_S = 0.25


def mount(
    app: FastAPI,
    operations: Operations,
    fleet: Fleet,
    *,
    title: str = "Kenpin",
    clock: Callable[[], float] = time.time,
) -> None:
    """Put the pages on an app. Call it last: what the app does not serve itself goes to the pages.

    NiceGUI is one to a process, and so is this: mounting again after the first app has started raises its
    RuntimeError.

    Args:
        title: Stands in the bar and on the browser's tab.
        clock: UNIX seconds, for "12 s ago".
    """
    _serve_files(app, operations, fleet)

    @ui.page("/", title=title)
    def wall() -> None:
        Wall(fleet, title, clock)

    @ui.page("/camera/{name}", title=title)
    def camera(name: str) -> None:
        ui.page_title(f"{name} · {title}")
        CameraPage(name, operations, fleet, title, clock)

    @ui.page("/releases", title=title)
    def releases() -> None:
        ui.page_title(f"Releases · {title}")
        ReleasesPage(operations, fleet, title)

    @ui.page("/releases/{label}", title=title)
    def release(label: str) -> None:
        ui.page_title(f"{label} · {title}")
        ReleasePage(label, operations, fleet, title, clock)

    @ui.page("/rollouts", title=title)
    def rollouts() -> None:
        ui.page_title(f"Rollouts · {title}")
        RolloutsPage(operations, title, clock)

    @ui.page("/rollouts/{rollout_id}", title=title)
    def rollout(rollout_id: str) -> None:
        RolloutPage(rollout_id, operations, title, clock)

    ui.run_with(app, title=title, favicon=MARK, dark=None, tailwind=False, show_welcome_message=False)


def _serve_files(app: FastAPI, operations: Operations, fleet: Fleet) -> None:
    @app.get(PICTURES_URL + "/{sha256}.jpg", include_in_schema=False)
    async def picture(sha256: str) -> Response:
        """A picture or heatmap by its hash, waiting a moment for one that is still on its way."""
        if not re.fullmatch(r"[0-9a-f]{64}", sha256):
            return Response("not a sha256", status_code=404, media_type="text/plain")
        for _ in range(round(_PICTURE_WAIT_S / _PICTURE_LOOK_S)):
            data = fleet.jpeg(sha256) or await run_in_threadpool(operations.picture, sha256)
            if data is not None:
                cache = {"Cache-Control": "private, max-age=31536000, immutable"}
                return Response(data, media_type="image/jpeg", headers=cache)
            await asyncio.sleep(_PICTURE_LOOK_S)
        return Response("no such picture is kept", status_code=404, media_type="text/plain")

    @app.get(REPORTS_URL + "/{label}", include_in_schema=False)
    def report(label: str) -> Response:
        """A release's report, for the frame on its page."""
        page = operations.release_report(label)
        if page is None:
            return Response("no such report", status_code=404, media_type="text/plain")
        return report_response(page)

    @app.get(f"{STATIC_URL}/{PALETTE.name}", include_in_schema=False)
    def palette() -> FileResponse:
        """The colours, which pages and reports share."""
        return FileResponse(PALETTE, media_type="text/css")

    app.mount(STATIC_URL, StaticFiles(directory=STATIC), name="kenpin-static")
