"""The wall: every line at a glance, and on top the answer to "is everything all right?"."""

from __future__ import annotations

from collections.abc import Callable

from nicegui import ui

from kenpin_controller.fleet import Fleet
from kenpin_controller.pages import words
from kenpin_controller.pages.card import CameraCard
from kenpin_controller.pages.frame import send_charts, top_bar
from kenpin_controller.pages.live import ChartFeed
from kenpin_controller.pages.parts import Levelled, div, icon_of, mark, text
from kenpin_controller.views import DeviceView, LineView
from kenpin_controller.why import ANOMALY, Health, Level, why

REFRESH_S = 0.5
_TROUBLES_SHOWN = 6
_ROOMY = 6  # more cameras than this stand closer, four to a row on a laptop


class Wall:
    """The page of one open browser tab; `refresh` is called by its timer."""

    def __init__(self, fleet: Fleet, title: str, clock: Callable[[], float]) -> None:
        self._fleet, self._title, self._clock = fleet, title, clock
        self._feed = ChartFeed(step_s=REFRESH_S)
        self._shape: list[tuple[str, str, tuple[str, ...]]] | None = None
        self._cards: dict[str, CameraCard] = {}
        self._sums: dict[tuple[str, str], ui.label] = {}
        self._tab = title
        with top_bar(title):
            self._day = text("", "k-push", "today")
        with div("k-page"):
            self._answer = Answer()
            self._lines = div("k-lines", "lines")
        self.refresh()
        ui.timer(REFRESH_S, self.refresh, immediate=False)

    def refresh(self) -> None:
        now_s = self._clock()
        lines = self._fleet.lines()
        shape = [(line.site, line.line, tuple(d.name for d in line.devices)) for line in lines]
        if shape != self._shape:
            self._shape = shape
            self._build(lines)
        devices = [device for line in lines for device in line.devices]
        healths = {device.name: why(device, now_s) for device in devices}
        for device in devices:
            self._cards[device.name].update(device, healths[device.name], now_s)
        for line in lines:
            self._sums[line.site, line.line].set_text(words.day_text(line.devices))
        self._answer.update(devices, healths)
        self._day.set_text(words.day_text(devices) if devices else "")
        self._show_tab(sum(not health.all_right for health in healths.values()))
        charts = [news for device in devices if (news := self._feed.scores(device)) is not None]
        send_charts(now_s, charts)

    def _build(self, lines: list[LineView]) -> None:
        self._cards.clear()
        self._sums.clear()
        self._lines.clear()
        dense = sum(len(line.devices) for line in lines) > _ROOMY
        self._lines.classes(add="is-dense" if dense else "", remove="" if dense else "is-dense")
        self._feed = ChartFeed(step_s=REFRESH_S)
        sites = {line.site for line in lines}
        with self._lines:
            if not lines:
                _teach()
            for line in lines:
                name = line.line if len(sites) == 1 else f"{line.site} / {line.line}"
                with div("k-line", f"line-{line.line}").style(f"--n: {len(line.devices)}"):
                    with div("k-line-head"):
                        text(name, "k-line-name")
                        self._sums[line.site, line.line] = text("", "k-line-sum")
                    with div("k-cards"):
                        for device in line.devices:
                            self._cards[device.name] = CameraCard(device.name)

    def _show_tab(self, troubles: int) -> None:
        tab = f"({troubles}) {self._title}" if troubles else self._title
        if tab != self._tab:
            self._tab = tab
            ui.page_title(tab)


class Answer:
    """ "All cameras are fine", or which of them need someone, and why."""

    def __init__(self) -> None:
        with div("k-answer", "answer") as box:
            with div("k-answer-head"):
                self._icon = ui.icon("hourglass_empty")
                self._head = text("", "", "answer-head")
            self._sum = text("", "k-answer-sum")
            self._list = div("k-troubles", "troubles")
        box.props["role"] = "status"
        self._level = Levelled(box)
        self._rows: dict[str, tuple[ui.icon, ui.label]] = {}
        self._more: ui.label | None = None

    def update(self, devices: list[DeviceView], healths: dict[str, Health]) -> None:
        troubles = [d.name for d in devices if not healths[d.name].all_right]
        troubles.sort(key=lambda name: healths[name].level is not Level.ALARM)
        if not devices:
            self._show("empty", "sensors", "Listening: no camera has reported yet")
        elif not troubles:
            self._show("ok", "check_circle", _all_fine(len(devices)))
        else:
            alarm = healths[troubles[0]].level is Level.ALARM
            head = _need(troubles, healths)
            self._show("alarm" if alarm else "warn", "report" if alarm else "warning", head)
        self._sum.set_visibility(bool(devices) and not troubles)
        self._sum.set_text(words.day_text(devices))
        self._list_troubles(troubles, healths)

    def _show(self, level: str, icon: str, head: str) -> None:
        self._level.set(level)
        self._icon.set_name(icon)
        self._head.set_text(head)

    def _list_troubles(self, troubles: list[str], healths: dict[str, Health]) -> None:
        shown = troubles[:_TROUBLES_SHOWN]
        if shown != list(self._rows):
            self._list.clear()
            self._rows.clear()
            with self._list:
                for name in shown:
                    with mark(ui.element("a").classes("k-trouble"), f"trouble-{name}") as row:
                        row.props["href"] = f"/camera/{name}"
                        icon = ui.icon("warning")
                        text(name, "k-trouble-name")
                        self._rows[name] = (icon, text("", "k-trouble-why"))
                self._more = text("", "k-trouble")
        for name, (icon, sentence) in self._rows.items():
            icon.set_name(icon_of(healths[name]))
            sentence.set_text(healths[name].sentence)
        if self._more is not None:
            self._more.set_visibility(len(troubles) > len(shown))
            self._more.set_text(f"and {len(troubles) - len(shown)} more")


def _need(troubles: list[str], healths: dict[str, Health]) -> str:
    """A part that is not like the others is the line's business; anything else is a camera's."""
    n = len(troubles)
    if all(healths[name].word == ANOMALY for name in troubles):
        return f"Anomaly on {troubles[0]}" if n == 1 else f"Anomalies on {n} cameras"
    return "1 camera needs you" if n == 1 else f"{n} cameras need you"


def _all_fine(cameras: int) -> str:
    return "The camera is fine" if cameras == 1 else f"All {cameras} cameras are fine"


def _teach() -> None:
    """What to run so that a first camera stands here."""
    steps = (
        ("See a whole fleet on this machine, with simulated cameras", "kenpin demo"),
        (
            "Put the agent on a Raspberry Pi with a camera",
            "pip install kenpin\nkenpin-agent run --config FILE",
        ),
        ("Teach it what a good part looks like", "kenpin train GOOD_PICTURES -o NAME.kenpin"),
    )
    with div("k-teach", "teach"):
        text("No camera yet. Here is how one gets on this wall.", "k-teach-title")
        for number, (what, command) in enumerate(steps, 1):
            with div("k-step"):
                text(str(number), "k-step-number")
                with div("").style("min-width: 0"):
                    text(what)
                    text(command, "k-code")
        text("A camera appears here by itself as soon as its agent reaches the broker.", "k-quiet")
