"""Set a camera's threshold: as a score, replayed over the last two minutes while it is moved, or as the share
of good parts that may be rejected."""

from __future__ import annotations

import json
import math

from nicegui import ui

from kenpin_controller.operations import Operations
from kenpin_controller.pages import words
from kenpin_controller.pages.parts import WHO, Note, attempt, div, mark, text
from kenpin_controller.views import DeviceView
from kenpin_controller.why import score_text


class ThresholdPanel:
    def __init__(self, name: str, operations: Operations) -> None:
        self._name, self._operations = name, operations
        self._device: DeviceView | None = None
        self._asked: tuple[int, str] | None = None  # the revision that shall come back, and what was asked
        self._touched = False  # a person moved it: it no longer follows the device
        self._following = False  # we move it ourselves
        self._range = (math.inf, -math.inf)
        with div("k-panel is-threshold", "threshold-panel"):
            with div("k-panel-head"):
                text("Threshold", "k-h2")
                self._now = text("", "k-quiet", "threshold-now")
            self._mode = mark(
                ui.toggle(
                    {"score": "As a score", "share": "As false rejects"},
                    value="score",
                    on_change=self._mode_changed,
                ),
                "threshold-mode",
            ).props("unelevated no-caps")
            with div("k-threshold") as self._by_score:
                self._slider = mark(ui.slider(min=0, max=1, step=0.01, value=0), "threshold-slider")
                self._slider.props["aria-label"] = "New threshold as a score"
                self._value = mark(
                    ui.number(value=0, on_change=self._moved).props("outlined dense"), "threshold-value"
                )
                self._slider.bind_value(self._value)
            with div("k-threshold") as self._by_share:
                text("Good parts that may be rejected")
                self._share = mark(
                    ui.number(value=1.0, min=0.01, max=50, step=0.1, suffix="%", on_change=self._preview),
                    "threshold-share",
                ).props("outlined dense")
            self._by_share.set_visibility(False)
            self._effect = text("", "k-quiet", "threshold-preview")
            with div("k-row"):
                mark(ui.button("Set threshold", color=None, on_click=self._set), "threshold-set").props(
                    "flat no-caps"
                ).classes("k-button is-main")
                mark(ui.button("Release's own", color=None, on_click=self._reset), "threshold-reset").props(
                    "flat no-caps"
                ).classes("k-button")
            self._note = Note("threshold-note")

    def update(self, device: DeviceView, now_s: float) -> None:
        """Follow the device's threshold until a person moves it, and its answer to what was asked."""
        self._device = device
        self._now.set_text(words.threshold_text(device).replace("threshold", "now"))
        if device.threshold is not None and not self._touched:
            self._follow(device.threshold)
        self._show_effect()
        self._show_answer(device, now_s)

    def _follow(self, threshold: float) -> None:
        shown = float(f"{threshold:.4g}")  # more digits than a person can mean
        step = 10.0 ** (math.floor(math.log10(abs(threshold) or 1.0)) - 2)
        scores = [point.score for point in self._device.scores] if self._device is not None else []
        lowest, highest = min([0.8 * threshold, *scores]), max([1.2 * threshold, *scores])
        low, high = self._range
        if lowest < low or highest > high:
            room = 0.1 * (highest - lowest)
            self._range = (_whole(lowest - room, step), _whole(highest + room, step))
            self._slider.props.update({"min": self._range[0], "max": self._range[1], "step": step})
            self._value.props["step"] = step
        if self._value.value != shown:
            self._following = True
            self._value.set_value(shown)
            self._following = False

    def _moved(self) -> None:
        if not self._following:
            self._touched = True
            self._preview()

    def _mode_changed(self) -> None:
        by_score = self._mode.value == "score"
        self._by_score.set_visibility(by_score)
        self._by_share.set_visibility(not by_score)
        self._preview()

    def _preview(self) -> None:
        value = self._value.value if self._touched and self._mode.value == "score" else None
        ui.run_javascript(f"kenpin.propose({json.dumps(self._name)}, {json.dumps(value)})")
        self._show_effect()

    def _show_effect(self) -> None:
        if self._mode.value == "share":
            share = self._share.value
            every = f"About 1 of {round(100 / share):,} good parts. " if share else ""
            self._effect.set_text(
                f"{every}The device finds the score in its release's held-out good pictures."
            )
        elif self._device is not None and self._value.value is not None:
            self._effect.set_text(replay_text(self._device, self._value.value))

    async def _set(self) -> None:
        name, operations = self._name, self._operations
        share, value = self._share.value, self._value.value
        if self._mode.value == "share" and share is not None:
            rev = await attempt(lambda: operations.set_threshold(name, false_rejects=share / 100.0, who=WHO))
            self._ask(f"{share:g} % false rejects", rev)
        elif self._mode.value == "score" and value is not None:
            rev = await attempt(lambda: operations.set_threshold(name, value=float(value), who=WHO))
            self._ask(score_text(value), rev)
        else:
            self._note.say("Give a number first.", "warn", "warning")

    async def _reset(self) -> None:
        name, operations = self._name, self._operations
        rev = await attempt(lambda: operations.set_threshold(name, who=WHO))
        self._ask("the release's own", rev)

    def _ask(self, what: str, rev: int | None) -> None:
        if rev is not None:
            self._asked = (rev, what)
            self._note.say(f"Asked for {what} …", "info", "schedule")

    def _show_answer(self, device: DeviceView, now_s: float) -> None:
        if self._asked is None:
            return
        rev, what = self._asked
        config = device.config
        if config is None or config.rev < rev:
            if not device.online(now_s):
                self._note.say(f"Asked for {what}; applied when the camera is back.", "warn", "schedule")
            return
        self._asked = None
        if config.error or not config.applied:
            self._note.say(f"Not applied: {config.error or 'the device gives no reason'}", "alarm", "report")
            return
        got = score_text(config.threshold) if config.threshold is not None else what
        applied = "applied." if got == what else f"applied as {got}."
        self._note.say(f"Asked for {what}, {applied}", "ok", "check_circle")
        self._touched = False
        self._preview()


def replay_text(device: DeviceView, threshold: float) -> str:
    """What a threshold would have made of the last two minutes."""
    n = len(device.scores)
    if not n:
        return "No scores yet to try it on."
    over = sum(point.score > threshold for point in device.scores)
    anomalies, pictures = words.count(over, "anomaly", "anomalies"), words.count(n, "picture")
    return f"Over the last two minutes: {anomalies} of {pictures}."


def _whole(value: float, step: float) -> float:
    """The nearest number of steps, as a number that prints well."""
    return float(f"{round(value / step) * step:.6g}")
