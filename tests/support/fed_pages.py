"""The pages over a fleet of fake devices, in a process of their own, and a browser's visits to them."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import httpx
import pytest
from playwright.sync_api import BrowserContext, Page

from support import ROOT, free_port
from support.browser import LAPTOP

Visit = Callable[..., Page]


@contextmanager
def fed_pages(scenario: str) -> Iterator[httpx.Client]:
    """`tests/controller/fleet_feed.py` with a scenario of its own; gives a client of its levers."""
    port = free_port()
    program = ROOT / "tests" / "controller" / "fleet_feed.py"
    process = subprocess.Popen(
        [sys.executable, str(program), "--port", str(port), "--scenario", scenario],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT / "tests")},
    )
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=10) as client:
            deadline = time.monotonic() + 40
            while True:
                try:
                    client.get("/fake/calls")
                    break
                except httpx.TransportError:
                    if process.poll() is not None or time.monotonic() > deadline:
                        process.kill()
                        pytest.fail(f"the pages did not start: {process.communicate()[0]}")
                    time.sleep(0.1)
            yield client
    finally:
        process.terminate()
        process.wait(10)


@contextmanager
def visitor(context: BrowserContext, site: httpx.Client) -> Iterator[Visit]:
    """Opens pages. At the end nothing may have been fetched from elsewhere, nor the console have complained."""
    strangers: list[str] = []
    complaints: list[str] = []

    def open_page(path: str, viewport: dict[str, int] = LAPTOP, scheme: str = "light") -> Page:
        page = context.new_page()
        page.set_viewport_size(viewport)  # type: ignore[arg-type]  # a plain dict
        page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]  # one of its literals
        page.on(
            "request", lambda r: strangers.append(r.url) if str(site.base_url.host) not in r.url else None
        )
        page.on("console", lambda m: complaints.append(m.text) if m.type == "error" else None)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.goto(f"{site.base_url}{path}")
        return page

    yield open_page
    for page in context.pages:
        page.close()
    assert [url for url in strangers if not url.startswith(("data:", "blob:"))] == []
    assert complaints == []
