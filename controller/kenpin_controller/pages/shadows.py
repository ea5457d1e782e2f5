"""Shadow reports side by side: on each camera the candidate beside the release that runs, on the same frames."""

from __future__ import annotations

from nicegui import ui

from kenpin_controller.pages import quantile_plot
from kenpin_controller.pages.parts import Levelled, Note, button, div, link, text
from kenpin_controller.pages.rollout_words import moving, shift_shown
from kenpin_controller.pages.verbs import Verbs
from kenpin_controller.rollouts.views import GateState, RolloutDeviceView, RolloutView
from kenpin_controller.why import score_text
from kenpin_wire.shadow import ShadowReport, ShadowSide

_AT_FIRST = 3
_ROWS = ("Rejects", "Verdict in", "Slowest 5 %", "Threshold")


class Shadows:
    """A card a camera that has reported; hidden while none has."""

    def __init__(self, verbs: Verbs) -> None:
        self._verbs = verbs
        self._cards: dict[str, ShadowCard] = {}
        self._all = False
        with div("k-panel is-shadows", "shadows") as self._panel:
            with div("k-panel-head"):
                text("Beside the old release, on the same live frames", "k-h2")
                with div("k-legend"):
                    text("old", "is-old")
                    text("new", "is-new")
            self._grid = div("k-shadows")
            self._more = button("Show every report", self._show_all, "all-shadows")
        self._panel.set_visibility(False)

    def update(self, view: RolloutView) -> None:
        found = [name for name, device in view.devices.items() if device.shadow is not None]
        reporting = found if self._all else _to_look_at(found, view.devices)
        self._panel.set_visibility(bool(reporting))
        self._more.set_visibility(len(reporting) < len(found))
        for gone in self._cards.keys() - set(reporting):
            self._cards.pop(gone).delete()
        for place, name in enumerate(reporting):
            if name not in self._cards:
                with self._grid:
                    self._cards[name] = ShadowCard(name, self._verbs)
                self._cards[name].move(self._grid, place)
            self._cards[name].update(view.devices[name])

    def _show_all(self) -> None:
        self._all = True


class ShadowCard:
    """One camera's report. Without verbs it only shows."""

    def __init__(self, device: str, verbs: Verbs | None) -> None:
        self._name, self._verbs = device, verbs
        self._approves = False
        self._drawn: tuple[ShadowSide, ShadowSide] | None = None
        with div("k-shadow", f"shadow-{device}") as self._box:
            with div("k-tile-top"):
                with link(f"/camera/{device}", "k-tile-name"):
                    text(device)
                self._frames = text("", "k-tile-age")
            with div("k-tile-bar"):
                self._fill = div("")
            with div("k-shadow-body"):
                with div("k-shadow-figures"):
                    with div("k-versus"):
                        for head in ("", "old", "new"):
                            text(head, "k-versus-head")
                        self._cells: dict[str, tuple[ui.label, ui.label]] = {}
                        for row in _ROWS:
                            text(row, "k-versus-row")
                            self._cells[row] = (text("–", "k-versus-old"), text("–", "k-versus-new"))
                    with div("k-shift") as shift:
                        self._shift_icon = ui.icon("check")
                        self._shift = text("")
                    self._costs = text("", "k-quiet")
                self._plot = ui.html("", sanitize=False).classes("k-plot")
            self._shift_level = Levelled(shift)
            self._gate = Note()
            self._proposal = text("", "k-proposal", f"proposal-{device}")
            self._actions = div("k-row")

    def update(self, device: RolloutDeviceView) -> None:
        if device.shadow is None:
            return
        self.show(device.shadow)
        gate = device.gate
        if gate is not None:
            level = {GateState.CLOSED: "alarm", GateState.OPEN: "ok", GateState.WAIT: "info"}[gate.state]
            icon = {
                GateState.CLOSED: "block",
                GateState.OPEN: "check_circle",
                GateState.WAIT: "hourglass_empty",
            }
            self._gate.say(gate.sentence, level, icon[gate.state])
        self._offer(device)

    def show(self, report: ShadowReport) -> None:
        """What the device itself said."""
        old, new = report.incumbent, report.candidate
        ended = "" if report.finished else " so far"
        self._frames.set_text(f"{report.frames} of {report.wanted} frames{ended}")
        self._fill.style(f"width: {100 * min(1.0, report.frames / max(1, report.wanted)):.1f}%")
        self._cell("Rejects", f"{old.reject_rate:.1%}", f"{new.reject_rate:.1%}")
        self._cell("Verdict in", f"{old.latency_ms:.0f} ms", f"{new.latency_ms:.0f} ms")
        self._cell("Slowest 5 %", f"{old.latency_p95_ms:.0f} ms", f"{new.latency_p95_ms:.0f} ms")
        self._cell("Threshold", _limit(old), _limit(new))
        shift = shift_shown(report)
        self._shift_icon.set_name(shift.icon)
        self._shift_level.set(shift.level)
        self._shift.set_text(
            f"{shift.word}: KS {report.ks:.2f}, PSI {report.psi:.2f}; {report.agree:.1%} judged alike"
        )
        hot = f"at most {report.peak_c:.0f} °C" if report.peak_c is not None else "no temperature"
        skipped = f" · {report.skipped} frames left out for heat" if report.skipped else ""
        self._costs.set_text(
            f"Rejected by the new one alone {report.only_candidate}, by the old one alone "
            f"{report.only_incumbent} · {hot} · {report.memory_mb:+.0f} MB{skipped}"
        )
        if (old, new) != self._drawn:
            self._drawn = (old, new)
            self._plot.set_content(quantile_plot.plot(old, new))
        proposed = report.proposed_threshold
        self._proposal.set_visibility(proposed is not None)
        if proposed is not None:
            rate = report.proposed_false_rejects
            why = (
                f" would reject {100 * rate:g} % of these parts, if all are good" if rate is not None else ""
            )
            self._proposal.set_text(f"A threshold of {score_text(proposed)}{why}.")

    def set_visibility(self, visible: bool) -> None:
        self._box.set_visibility(visible)

    def move(self, grid: ui.element, place: int) -> None:
        self._box.move(grid, place)

    def delete(self) -> None:
        self._box.delete()

    def _cell(self, row: str, old: str, new: str) -> None:
        before, after = self._cells[row]
        before.set_text(old)
        after.set_text(new)

    def _offer(self, device: RolloutDeviceView) -> None:
        verbs = self._verbs
        if verbs is None or device.can_approve == self._approves:
            return
        self._approves = device.can_approve
        self._actions.clear()
        if not device.can_approve:
            return
        name = self._name
        with self._actions:
            button("Let it switch", lambda: verbs.approve_device(name), f"approve-as-is-{name}", main=True)
            if device.proposed_threshold is not None:
                button(
                    f"With threshold {score_text(device.proposed_threshold)}",
                    lambda: verbs.approve_device(name, with_threshold=True),
                    f"approve-proposed-{name}",
                )


def _to_look_at(names: list[str], devices: dict[str, RolloutDeviceView]) -> list[str]:
    """Those that a person is waited for or that a gate has closed on, then those under way, in their own order."""

    def rank(name: str) -> int:
        device = devices[name]
        closed = device.gate is not None and device.gate.state is GateState.CLOSED
        return 0 if device.can_approve or closed else 1 if moving(device) else 2

    chosen = set(sorted(names, key=rank)[:_AT_FIRST])
    return [name for name in names if name in chosen]


def _limit(side: ShadowSide) -> str:
    return score_text(side.threshold) if side.threshold is not None else "–"
