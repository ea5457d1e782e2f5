"""One camera on the wall."""

from __future__ import annotations

from nicegui import ui

from kenpin_controller.pages import words
from kenpin_controller.pages.parts import Fact, Levelled, Shots, StatePill, chart, div, mark, text
from kenpin_controller.views import DeviceView
from kenpin_controller.why import Health, score_text
from kenpin_wire.messages import Phase


class CameraCard:
    """A link to the camera's page that shows how the camera is."""

    def __init__(self, name: str) -> None:
        with mark(ui.element("a").classes("k-card"), f"card-{name}") as card:
            card.props["href"] = f"/camera/{name}"
            with div("k-top"):
                text(name, "k-name")
                self._pill = StatePill(f"state-{name}")
            self._why = text("", "k-why", f"why-{name}")
            with div("k-body"):
                with div("k-graph"):
                    with div("k-score"):
                        self._score = text("–", "k-score-now", f"score-{name}")
                        self._threshold = text("", "k-score-of", f"threshold-{name}")
                    chart(name, "spark", f"Scores of {name} in the last 90 seconds against the threshold")
                with div(""):
                    self._shots = Shots(f"shots-{name}")
                    with div("k-caption"):
                        self._last = text("", "", f"anomaly-{name}")
                        self._last_score = text("")
            with div("k-facts"):
                self._temperature = Fact("Temperature", f"temperature-{name}")
                self._fps = Fact("Rate")
                self._release = Fact("Release", f"release-{name}")
                self._allowance = Fact("Heat allows", f"allowance-{name}")
        self._level = Levelled(card)
        self._card = card
        self._away = False

    def update(self, device: DeviceView, health: Health, now_s: float) -> None:
        """Show the device as it is now."""
        self._level.set(health.level.value)
        self._pill.show(health)
        self._why.set_text(health.sentence)
        away = not device.online(now_s)
        if away != self._away:
            self._away = away
            self._card.classes(toggle="is-away")
        self._show_score(device)
        self._show_anomaly(device, now_s)
        t = device.telemetry
        slowed = "warn" if t is not None and t.allowance < 0.995 else "ok"
        self._temperature.show(words.temperature_text(device), "warn" if health.word == "Hot" else "ok")
        reason = t.reason if t is not None else ""
        allowed = f"{words.allowance_text(device)} · {reason}" if reason else words.allowance_text(device)
        self._allowance.show(allowed, slowed, reason)
        self._fps.show(words.fps_text(device))
        trying = "info" if device.phase in (Phase.SHADOWING, Phase.TRIAL) else "ok"
        self._release.show(words.release_text(device), trying, title=f"runs {device.installed or 'none'}")

    def _show_score(self, device: DeviceView) -> None:
        over = device.score is not None and device.threshold is not None and device.score > device.threshold
        self._score.set_text(score_text(device.score, device.threshold) if device.score is not None else "–")
        if over != ("is-over" in self._score.classes):
            self._score.classes(toggle="is-over")
        self._threshold.set_text(words.threshold_text(device))

    def _show_anomaly(self, device: DeviceView, now_s: float) -> None:
        last = device.last_anomaly
        if last is None:
            self._shots.show(device.picture_sha256, device.heatmap_sha256)
            self._last.set_text("Last anomaly" if device.picture_sha256 else "")
            return
        self._shots.show(last.picture_sha256, last.heatmap_sha256)
        self._last.set_text(f"Last anomaly {words.when_text(last.time_s, now_s)}")
        self._last_score.set_text(f"score {score_text(last.score, device.threshold)}")
