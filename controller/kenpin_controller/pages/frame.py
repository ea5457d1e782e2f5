"""What stands around every page: style, script, the bar at the top, and the way charts get their points."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from nicegui import ui

from kenpin_controller.pages.parts import STATIC_URL, div, link, mark, release_url, rollout_url
from kenpin_models import report

STATIC = Path(__file__).parent / "static"
PALETTE = Path(report.__file__).with_name("palette.css")

_NAVIGATION = (("Releases", release_url(), "to-releases"), ("Rollouts", rollout_url(), "to-rollouts"))

FILL = "#2466a3"  # kenpin.css's --fill: white text is legible on it in dark and light

# An inspector's stamp: a frame, a lens, a tick.
MARK = (
    '<svg viewBox="0 0 32 32" width="32" height="32" aria-hidden="true">'
    '<rect x="1" y="1" width="30" height="30" rx="8" fill="#c2331b"/>'
    '<circle cx="14.5" cy="14.5" r="7.5" fill="none" stroke="#fff" stroke-width="2.6"/>'
    '<path d="M20.2 20.2l5.3 5.3" stroke="#fff" stroke-width="3.2" stroke-linecap="round"/>'
    '<path d="M11.2 14.6l2.5 2.5 4.4-4.8" fill="none" stroke="#fff" stroke-width="2.2" '
    'stroke-linecap="round" stroke-linejoin="round"/></svg>'
)


def head() -> None:
    """Link the style and the script. Their address changes with their content, so that caches never lie."""
    ui.colors(primary=FILL, positive="#0a6f57", negative="#b3261e", warning="#9a6500")
    ui.add_head_html(
        f'<link rel="stylesheet" href="{_address(PALETTE)}">'
        f'<link rel="stylesheet" href="{_address(STATIC / "kenpin.css")}">'
        f'<link rel="stylesheet" href="{_address(STATIC / "rollouts.css")}">'
        f'<script src="{_address(STATIC / "kenpin.js")}"></script>'
    )


@contextmanager
def top_bar(title: str, crumbs: tuple[tuple[str, str], ...] = ()) -> Iterator[None]:
    """The bar at the top; `crumbs` are names and addresses, the last one being where we are."""
    head()
    with mark(ui.element("header").classes("k-bar"), "bar"):
        with link("/", "k-brand") as home:
            home.props["aria-label"] = f"{title}: all lines"
            ui.html(MARK, sanitize=False).classes("k-mark")
            ui.label(title)
        if crumbs:
            with div("k-crumbs"):
                for name, address in crumbs:
                    ui.label("/")
                    if address:
                        with link(address):
                            ui.label(name)
                    else:
                        ui.label(name).classes("k-here")
        yield
        with div("k-navs"):
            for name, address, testid in _NAVIGATION:
                if all(name != crumb for crumb, _ in crumbs):
                    with link(address, "k-nav", testid):
                        ui.label(name)


def send_charts(now_s: float, charts: list[dict[str, Any]]) -> None:
    """Tell the page's script what is new."""
    ui.run_javascript(f"kenpin.feed({json.dumps({'now_s': round(now_s, 2), 'charts': charts})})")


def _address(file: Path) -> str:
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    return f"{STATIC_URL}/{file.name}?v={digest[:12]}"
