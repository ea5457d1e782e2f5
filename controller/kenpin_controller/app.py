"""The web application: REST, health and, where they are installed, the pages, on one running controller."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version

from fastapi import FastAPI
from fastapi.concurrency import run_in_threadpool

from kenpin_controller import pages
from kenpin_controller.api.guard import Guard
from kenpin_controller.api.models import Health
from kenpin_controller.api.problems import install
from kenpin_controller.api.routes import build_router
from kenpin_controller.controller import Controller


def build_app(controller: Controller, *, token: str | None = None, with_pages: bool = True) -> FastAPI:
    """The application. The controller starts and stops with it.

    Args:
        token: What must be shown to get in; None lets in whoever is on this machine.
    """

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        controller.start()
        try:
            yield
        finally:
            await run_in_threadpool(controller.stop)

    # FastAPI's documentation pages load their scripts from elsewhere, and a site may have no way there.
    app = FastAPI(title="Kenpin", version=version("kenpin"), lifespan=lifespan, docs_url=None, redoc_url=None)
    install(app)
    app.include_router(build_router(controller.site, controller.fleet))

    @app.get("/healthz")
    def healthz() -> Health:
        """Whether the controller can do its work; an empty word is a good word."""
        error = controller.session.last_error
        return Health(
            version=app.version,
            broker="" if controller.session.connected else str(error or "not connected yet"),
            store=controller.ingest.refused,
            messages=dict(controller.ingest.counts),
        )

    if with_pages:
        pages.mount(app, controller.site, controller.fleet)
    app.add_middleware(Guard, token=token)
    return app
