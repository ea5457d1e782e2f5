"""The small pieces that pages are made of. Each touches the browser only where something changed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar
from urllib.parse import quote

from nicegui import context, run, ui

from kenpin_controller.why import Health, Level
from kenpin_wire.errors import KenpinError

T = TypeVar("T")

PICTURES_URL = "/pages/pictures"
REPORTS_URL = "/pages/reports"
STATIC_URL = "/pages/static"
WHO = "page"
"""The name that the audit log gets for what is done on a page."""

LEVEL_ICONS = {Level.OK: "check_circle", Level.WARN: "warning", Level.ALARM: "report"}
_WORD_ICONS = {
    "Offline": "power_off",
    "Silent": "signal_wifi_off",
    "No camera": "videocam_off",
    "No release": "inventory_2",
    "Getting ready": "downloading",
    "Paused": "pause_circle",
    "Hot": "device_thermostat",
    "Slowed": "speed",
    "Low voltage": "bolt",
    "Waiting": "hourglass_empty",
}


def icon_of(health: Health) -> str:
    """The icon of a state: its own where it has one, else its level's."""
    return _WORD_ICONS.get(health.word, LEVEL_ICONS[health.level])


def div(classes: str, testid: str = "") -> ui.element:
    """A plain `div`; `testid` marks it for tests and screenshots."""
    return mark(ui.element("div").classes(classes), testid)


def text(words: str, classes: str = "", testid: str = "") -> ui.label:
    return mark(ui.label(words).classes(classes), testid)


def link(address: str, classes: str = "", testid: str = "") -> ui.element:
    """A link, for whatever is put into it."""
    anchor = ui.element("a").classes(classes)
    anchor.props["href"] = address
    return mark(anchor, testid)


E = TypeVar("E", bound=ui.element)


def mark(element: E, testid: str) -> E:
    """Give an element its `data-testid`; none if it is empty."""
    if testid:
        element.props["data-testid"] = testid
    return element


def button(
    label: str,
    action: Callable[..., Any] | None = None,
    testid: str = "",
    *,
    icon: str | None = None,
    main: bool = False,
) -> ui.button:
    """A button of the house; `main` for the one that most people came for."""
    made = ui.button(label, color=None, icon=icon, on_click=action).props("flat no-caps")
    return mark(made.classes("k-button is-main" if main else "k-button"), testid)


def chart(chart_id: str, kind: str, label: str, testid: str = "") -> ui.element:
    """A canvas that `kenpin.js` draws into; `kind` is spark, live or heat."""
    canvas = ui.element("canvas").classes(f"k-{kind}")
    canvas.props.update({"data-chart": chart_id, "data-kind": kind, "role": "img", "aria-label": label})
    return mark(canvas, testid)


def release_url(label: str = "") -> str:
    """A release's page; that of all of them without a label."""
    return f"/releases/{quote(label)}" if label else "/releases"


def rollout_url(rollout_id: str = "") -> str:
    """A rollout's page; that of all of them without an id."""
    return f"/rollouts/{quote(rollout_id)}" if rollout_id else "/rollouts"


def picture_url(sha256: str) -> str:
    return f"{PICTURES_URL}/{sha256}.jpg"


class Levelled:
    """Keeps an element's `is-ok`, `is-warn` or `is-alarm` class."""

    def __init__(self, element: ui.element) -> None:
        self.element = element
        self._now = ""

    def set(self, level: str) -> None:
        if level != self._now:
            self.element.classes(add=f"is-{level}", remove=f"is-{self._now}" if self._now else "")
            self._now = level


class StatePill:
    """A state as icon and word."""

    def __init__(self, testid: str, *, big: bool = False) -> None:
        with div("k-state is-big" if big else "k-state", testid) as pill:
            self._icon = ui.icon("hourglass_empty")
            self._word = ui.label("")
        self._level = Levelled(pill)

    def show(self, health: Health) -> None:
        self.say(health.word, health.level.value, icon_of(health))

    def say(self, word: str, level: str, icon: str) -> None:
        self._icon.set_name(icon)
        self._word.set_text(word)
        self._level.set(level)


class Fact:
    """A labelled value."""

    def __init__(self, label: str, testid: str = "") -> None:
        with div("k-fact", testid) as box:
            text(label, "k-fact-label")
            self._value = text("–", "k-fact-value")
        self._level = Levelled(box)
        self._title = ""

    def show(self, value: str, level: str = "ok", title: str = "") -> None:
        self._value.set_text(value)
        self._level.set(level)
        if title != self._title:
            self._title = title
            self._value.props["title"] = title


class Shots:
    """A picture beside its heatmap."""

    def __init__(self, testid: str = "") -> None:
        with div("k-shots", testid):
            with div("k-shot"):
                self._no_picture = ui.label("No anomaly yet")
                self._picture = _image("The picture")
            with div("k-shot"):
                self._no_heatmap = ui.label("")
                self._heatmap = _image("Its heatmap: where it differs")
        self._shown: tuple[str | None, str | None] = (None, None)

    def show(self, picture: str | None, heatmap: str | None, *, nothing: str = "No anomaly yet") -> None:
        """Show two pictures by their sha256; either may be None."""
        some = picture or heatmap
        self._no_picture.set_text("No picture" if some else nothing)
        self._no_heatmap.set_text("No heatmap" if some else "")
        if (picture, heatmap) == self._shown:
            return
        self._shown = (picture, heatmap)
        for image, sha256 in ((self._picture, picture), (self._heatmap, heatmap)):
            image.set_visibility(sha256 is not None)
            image.props["src"] = picture_url(sha256) if sha256 else ""


class Note:
    """One line with an icon; hidden while it has nothing to say."""

    def __init__(self, testid: str = "") -> None:
        with div("k-note", testid) as self._box:
            self._icon = ui.icon("info")
            self._text = ui.label("")
        self._level = Levelled(self._box)
        self.say("")

    def say(self, words: str, level: str = "info", icon: str = "info") -> None:
        self._box.set_visibility(bool(words))
        self._text.set_text(words)
        self._icon.set_name(icon)
        self._level.set(level)


async def attempt(action: Callable[[], T], *, quiet: bool = False) -> T | None:
    """Do something that may take a while, off the event loop. A refusal gives None, and is shown as it is,
    unless `quiet`: what is asked again every few seconds must not pile up complaints."""
    client = context.client
    try:
        return await run.io_bound(action)
    except KenpinError as error:
        if not quiet:
            with client:
                ui.notify(str(error), type="negative", multi_line=True, timeout=12_000, close_button="OK")
        return None


def _image(alt: str) -> ui.element:
    image = ui.element("img")
    image.props.update({"alt": alt, "decoding": "async"})
    image.set_visibility(False)
    return image
