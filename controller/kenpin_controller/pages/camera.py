"""A camera's page: what it sees, how it judges, how it fares, and what can be done about it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from nicegui import ui

from kenpin_controller.fleet import Fleet
from kenpin_controller.operations import Operations
from kenpin_controller.pages import words
from kenpin_controller.pages.frame import send_charts, top_bar
from kenpin_controller.pages.gallery import Gallery
from kenpin_controller.pages.live import ChartFeed
from kenpin_controller.pages.parts import WHO, Fact, Note, StatePill, attempt, chart, div, mark, text
from kenpin_controller.pages.release_panel import ReleasePanel
from kenpin_controller.pages.threshold_panel import ThresholdPanel
from kenpin_controller.views import DeviceView
from kenpin_controller.why import OUTBOX_FILLING, ago, score_text, why

REFRESH_S = 0.33


class CameraPage:
    """The page of one open browser tab; `refresh` is called by its timer."""

    def __init__(
        self, name: str, operations: Operations, fleet: Fleet, title: str, clock: Callable[[], float]
    ) -> None:
        self._name, self._operations, self._fleet, self._clock = name, operations, fleet, clock
        self._feed = ChartFeed()
        device = fleet.device(name)
        crumbs = ((device.address.line, "/"), (name, "")) if device is not None else ((name, ""),)
        with top_bar(title, crumbs):
            self._day = text("", "k-push", "today")
        self._page = div("k-page")
        if device is None:
            self._wait()
        else:
            self._build()
            self.refresh()
        ui.timer(REFRESH_S, self.refresh, immediate=False)

    def refresh(self) -> None:
        device, now_s = self._fleet.device(self._name), self._clock()
        if device is None:
            return
        if self._waiting:
            self._page.clear()
            self._build()
        health = why(device, now_s)
        self._pill.show(health)
        self._sentence.set_text(health.sentence)
        self._remedy.set_text(health.remedy)
        self._day.set_text(words.day_text([device]).removeprefix("1 camera").lstrip(" ·"))
        self._score.set_text(score_text(device.score, device.threshold) if device.score is not None else "–")
        over = device.score is not None and device.threshold is not None and device.score > device.threshold
        if over != ("is-over" in self._score.classes):
            self._score.classes(toggle="is-over")
        self._limit.set_text(words.threshold_text(device))
        self._part.set_text(words.part_text(device))
        self._show_inspection(device)
        self._show_heat(device)
        self._show_log(device)
        self._threshold.update(device, now_s)
        self._release.update(device)
        self._gallery.update(device, now_s)
        send_charts(now_s, [c for c in (self._feed.scores(device), self._feed.heat(device)) if c])

    _waiting = False

    def _wait(self) -> None:
        self._waiting = True
        with self._page, div("k-teach", "unknown-device"):
            text(f"No camera called {self._name} has reported yet.", "k-teach-title")
            text("This page fills by itself as soon as it does. Is its agent running, and on this broker?")
            text("kenpin-agent run --config FILE", "k-code")

    def _build(self) -> None:
        self._waiting = False
        name = self._name
        with self._page:
            with div("k-hero", "why"):
                text(name, "k-hero-name")
                self._pill = StatePill("state", big=True)
                with div("k-hero-why"):
                    self._sentence = text("", "k-hero-sentence", "why-sentence")
                    self._remedy = text("", "k-hero-remedy", "why-remedy")
            with div("k-columns"):
                with div("k-column"):
                    self._build_scores()
                    self._gallery = Gallery(self._name, self._operations)
                with div("k-column"):
                    self._threshold = ThresholdPanel(name, self._operations)
                    self._release = ReleasePanel(name, self._operations, self._fleet, self._clock)
                    self._build_heat()
                    self._build_log()

    def _build_scores(self) -> None:
        with div("k-panel is-scores", "scores"):
            with div("k-panel-head"):
                with div("k-score"):
                    self._score = text("–", "k-score-now", "score")
                    self._limit = text("", "k-score-of", "threshold")
                    self._part = text("", "k-score-of")
                self._toggle = mark(
                    ui.button("Pause inspection", color=None, icon="pause", on_click=self._set_inspection),
                    "inspection",
                )
                self._toggle.props("flat no-caps").classes("k-button")
            chart(self._name, "live", "Scores of the last two minutes against the threshold", "live-chart")

    def _build_heat(self) -> None:
        with div("k-panel is-heat", "heat"):
            text("Heat and rate", "k-h2")
            with div("k-numbers"):
                self._temperature = Fact("Temperature", "temperature")
                self._allowance = Fact("Heat allows", "allowance")
                self._fps = Fact("Rate", "fps")
                self._memory = Fact("Memory")
                self._outbox = Fact("Outbox")
                self._uptime = Fact("Running for")
            self._reason = Note("reason")
            chart(f"{self._name}/heat", "heat", "Temperature of the last half hour", "heat-chart")

    def _build_log(self) -> None:
        self._log_panel = div("k-panel is-log", "log")
        with self._log_panel:
            text("Warnings from the device", "k-h2")
            self._log_lines = div("k-log")
        self._log_panel.set_visibility(False)
        self._logged = 0.0

    def _show_heat(self, device: DeviceView) -> None:
        t = device.telemetry
        if t is None:
            return
        self._temperature.show(words.temperature_text(device))
        self._allowance.show(words.allowance_text(device), "warn" if t.allowance < 0.995 else "ok")
        self._fps.show(words.fps_text(device))
        self._memory.show(f"{t.memory_mb:.0f} MB")
        self._outbox.show(
            "empty" if t.outbox == 0 else f"{t.outbox} wait", "warn" if t.outbox >= OUTBOX_FILLING else "ok"
        )
        self._uptime.show(ago(t.uptime_s))
        reason = " · ".join(part for part in (t.reason, ", ".join(device.throttle)) if part)
        slowed = t.allowance < 0.995 or bool(t.throttle_bits & 0xF)
        self._reason.say(reason, "warn" if slowed else "info", "device_thermostat" if slowed else "info")

    def _show_log(self, device: DeviceView) -> None:
        if not device.log or device.log[-1].time_s == self._logged:
            return
        self._logged = device.log[-1].time_s
        self._log_panel.set_visibility(True)
        self._log_lines.clear()
        with self._log_lines:
            for line in reversed(device.log[-6:]):
                with div("k-log-line"):
                    text(_clock_text(line.time_s))
                    text(line.message)

    def _show_inspection(self, device: DeviceView) -> None:
        on = device.config is None or device.config.inspection
        self._toggle.set_text("Pause inspection" if on else "Resume inspection")
        self._toggle.set_icon("pause" if on else "play_arrow")

    async def _set_inspection(self) -> None:
        device = self._fleet.device(self._name)
        on = device is None or device.config is None or device.config.inspection
        rev = await attempt(lambda: self._operations.set_inspection(self._name, not on, who=WHO))
        if rev is not None:
            ui.notify("Asked to pause." if on else "Asked to resume.")


def _clock_text(time_s: float) -> str:
    return datetime.fromtimestamp(time_s).strftime("%H:%M:%S")
