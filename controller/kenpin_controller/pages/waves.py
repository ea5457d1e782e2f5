"""A rollout's waves: each with its devices, and the gates that stand between it and the next."""

from __future__ import annotations

from collections.abc import Sequence

from nicegui import ui

from kenpin_controller.pages import words
from kenpin_controller.pages.parts import Levelled, button, div, link, mark, text
from kenpin_controller.pages.rollout_words import (
    Shares,
    device_shown,
    moving,
    shares,
    to_look_at,
    wave_level,
    wave_title,
)
from kenpin_controller.pages.verbs import Verbs, device_offers
from kenpin_controller.rollouts.views import (
    GateState,
    GateView,
    RolloutDeviceView,
    RolloutView,
    Stage,
    WaveView,
)
from kenpin_controller.why import ago

_SHOWN = 24
_GATE_ICONS = {GateState.OPEN: "check_circle", GateState.WAIT: "hourglass_empty", GateState.CLOSED: "block"}
_GATE_LEVELS = {GateState.OPEN: "ok", GateState.WAIT: "info", GateState.CLOSED: "alarm"}
_GATE_WORDS = {GateState.OPEN: "open", GateState.WAIT: "waiting", GateState.CLOSED: "closed"}


class Waves:
    """All of them, and below them those that the rollout passes by."""

    def __init__(self, verbs: Verbs) -> None:
        self._verbs = verbs
        self._shape: list[tuple[str, ...]] | None = None
        self._waves: list[_Wave] = []
        self._passed: dict[str, ui.label] = {}
        self._all = False
        self._box = div("k-waves is-waves", "waves")

    def update(self, view: RolloutView) -> None:
        shown = [
            tuple(wave.devices if self._all else to_look_at(wave.devices, view.devices, _SHOWN))
            for wave in view.waves
        ]
        passed = tuple(name for name, device in view.devices.items() if device.wave is None)
        if [*shown, passed] != self._shape:
            self._shape = [*shown, passed]
            self._build(view, shown, passed)
        for wave, pane in zip(view.waves, self._waves, strict=True):
            pane.update(wave, view)
        for name, reason in self._passed.items():
            reason.set_text(view.devices[name].reason)

    def _build(self, view: RolloutView, shown: list[tuple[str, ...]], passed: Sequence[str]) -> None:
        self._box.clear()
        self._waves = []
        self._passed = {}
        with self._box:
            for wave, names in zip(view.waves, shown, strict=True):
                self._waves.append(_Wave(wave, view, names, self._verbs))
            if any(len(names) < len(wave.devices) for wave, names in zip(view.waves, shown, strict=True)):
                button("Show every camera", self._show_all, "all-devices")
            if passed:
                with div("k-panel", "passed-by"):
                    text("Passed by", "k-h2")
                    for name in passed:
                        with link(f"/camera/{name}", "k-crew"):
                            text(name, "k-trouble-name")
                            self._passed[name] = text("", "k-quiet")

    def _show_all(self) -> None:
        self._all = True


class WaveBar:
    """A wave in one bar: who has it, who is on the way, who does not get it."""

    def __init__(self, testid: str = "") -> None:
        with div("k-wavebar", testid) as self._bar:
            self._parts = [div(f"k-wavebar-{part}") for part in ("done", "moving", "failed")]
        self._bar.props["role"] = "img"
        self._now: Shares | None = None

    def show(self, now: Shares) -> None:
        if now == self._now:
            return
        self._now = now
        for part, n in zip(self._parts, (now.done, now.moving, now.failed), strict=True):
            part.style(f"width: {100 * n / max(1, now.total):.2f}%")
        self._bar.props["aria-label"] = self._bar.props["title"] = now.sentence


class _Wave:
    def __init__(self, wave: WaveView, view: RolloutView, names: Sequence[str], verbs: Verbs) -> None:
        self._rows: dict[str, _Row] = {}
        self._left_out = len(wave.devices) - len(names)
        with div("k-panel k-wave", f"wave-{wave.number}") as panel:
            with div("k-panel-head"):
                text(wave_title(wave, view.waves), "k-h2")
                self._sum = text("", "k-quiet")
            self._bar = WaveBar()
            with div("k-tiles"):
                for name in names:
                    self._rows[name] = _Row(name, verbs)
            self._rest = text("", "k-quiet")
            self._gates = div("k-gates", f"gates-{wave.number}")
        self._level = Levelled(panel)
        self._gate_rows: list[_Gate] = []

    def update(self, wave: WaveView, view: RolloutView) -> None:
        now = shares(wave, view.devices)
        self._level.set(wave_level(wave, over=view.ended_s is not None))
        self._sum.set_text(now.sentence if wave.state != "ahead" else _ahead(len(wave.devices), view))
        self._bar.show(now)
        for name, row in self._rows.items():
            row.update(view.devices[name], view)
        self._rest.set_visibility(self._left_out > 0)
        self._rest.set_text(f"and {words.count(self._left_out, 'camera')} more")
        gates = wave.gates if wave.state != "ahead" else ()
        if len(gates) != len(self._gate_rows):
            self._gates.clear()
            with self._gates:
                self._gate_rows = [_Gate() for _ in gates]
        for gate, gate_row in zip(gates, self._gate_rows, strict=True):
            gate_row.show(gate)


class _Gate:
    """A gate: whether it is open, and the figures."""

    def __init__(self) -> None:
        with div("k-gate") as self._box:
            self._icon = ui.icon("hourglass_empty")
            self._name = text("", "k-gate-name")
            self._sentence = text("", "k-gate-why")
        self._level = Levelled(self._box)

    def show(self, gate: GateView) -> None:
        self._icon.set_name(_GATE_ICONS[gate.state])
        self._name.set_text(f"{gate.name.capitalize()} {_GATE_WORDS[gate.state]}")
        self._sentence.set_text(gate.sentence)
        self._level.set(_GATE_LEVELS[gate.state])
        mark(self._box, f"gate-{gate.name.replace(' ', '-')}")


class _Row:
    """A device of a wave."""

    def __init__(self, name: str, verbs: Verbs) -> None:
        self._verbs = verbs
        self._offers: tuple[object, ...] = ()
        with div("k-tile", f"device-{name}") as tile:
            with div("k-tile-top"):
                with link(f"/camera/{name}", "k-tile-name"):
                    text(name)
                self._line = text("", "k-tile-line")
                self._age = text("", "k-tile-age")
            with div("k-tile-state"):
                self._icon = ui.icon("schedule")
                self._word = text("", "", f"phase-{name}")
                self._percent = text("", "k-tile-percent")
            with div("k-tile-bar"):
                self._fill = div("")
            self._reason = text("", "k-tile-why", f"reason-{name}")
            self._actions = div("k-tile-actions")
        self._level = Levelled(tile)
        self._width = -1.0

    def update(self, device: RolloutDeviceView, view: RolloutView) -> None:
        shown = device_shown(device, over=view.ended_s is not None)
        self._line.set_text(device.line)
        self._age.set_text(ago(device.age_s) if device.stage is not Stage.HELD else "")
        self._icon.set_name(shown.icon)
        self._word.set_text(shown.word)
        self._level.set(shown.level)
        running = moving(device) and 0 < device.percent < 100
        self._percent.set_text(f"{device.percent:.0f} %" if running else "")
        self._fill_to(device.percent if running else 0.0)
        attempts = f" (attempt {device.attempts})" if device.attempts > 1 else ""
        gate = device.gate.sentence if device.gate is not None and not device.reason else ""
        self._reason.set_text(_sentence(device.reason or gate) + attempts)
        self._offer(device_offers(view, device), device)

    def _fill_to(self, percent: float) -> None:
        if percent != self._width:
            self._width = percent
            self._fill.style(f"width: {percent:.1f}%")

    def _offer(self, offers: tuple[str, ...], device: RolloutDeviceView) -> None:
        offered = (*offers, device.proposed_threshold, device.before)
        if offered == self._offers:
            return
        self._offers = offered
        self._actions.clear()
        with self._actions:
            for offer in offers[:1] if offers[:1] == ("approve",) else ():
                label, action = self._verbs.of_device(device, offer)
                button(label, action, f"{offer}-{device.device}", main=True)
            rest = [offer for offer in offers if offer != "approve"]
            if rest:
                more = button("", None, f"more-{device.device}", icon="more_horiz")
                more.props["aria-label"] = f"More about {device.device}"
                with more, ui.menu():
                    for offer in rest:
                        label, action = self._verbs.of_device(device, offer)
                        testid = f"{offer.replace(' ', '-')}-{device.device}"
                        mark(ui.menu_item(label, on_click=action), testid)


def _sentence(said: str) -> str:
    return f"{said[:1].upper()}{said[1:]}"


def _ahead(cameras: int, view: RolloutView) -> str:
    so_far = "not begun" if view.ended_s is None else "never begun"
    return f"{words.count(cameras, 'camera')}, {so_far}"
