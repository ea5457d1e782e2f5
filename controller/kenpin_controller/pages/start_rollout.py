"""Starting a rollout of a release: a dialog whose defaults are what most people should do."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from nicegui import ui

from kenpin_controller.fleet import Fleet
from kenpin_controller.operations import Operations
from kenpin_controller.pages import words
from kenpin_controller.pages.parts import WHO, attempt, button, div, mark, rollout_url, text
from kenpin_controller.rollouts.layout import Candidate, lay_out
from kenpin_controller.rollouts.plan import (
    AT_ONCE,
    CANARY_FIRST,
    FEW,
    ApprovalGate,
    Gates,
    Plan,
    ShadowGate,
    Subject,
    Targets,
    Wave,
    Window,
)
from kenpin_controller.views import DeviceView
from kenpin_wire.messages import Policy, ReleaseName, ShadowPolicy

SHADOW_FRAMES = 300
_BY_NAME = "by name"
_WAVES = {
    "canary": ("1, then a quarter, then all", CANARY_FIRST),
    "halves": ("1, then half, then all", (Wave(count=1), Wave(share=0.5), Wave(share=1.0))),
    "single": ("1, then all", (Wave(count=1), Wave(share=1.0))),
    "once": ("All at once", AT_ONCE),
}
_APPROVALS = {
    "no": "Nobody: the gates decide",
    "waves": "Me, before each next wave",
    "cameras": "Me, before any camera switches",
}


@dataclass(frozen=True, slots=True)
class Choice:
    """Somewhere to send it: what it is called, and who that is."""

    label: str
    targets: Targets
    devices: tuple[str, ...]


def choices(release: ReleaseName, devices: list[DeviceView], tags: dict[str, list[str]]) -> dict[str, Choice]:
    """Where a release can go, the likeliest first: where an older version of it runs, else everywhere."""
    found: dict[str, Choice] = {}
    alike = tuple(d.name for d in devices if d.installed.startswith(f"{release.name}-"))
    others = len(alike) < len(devices)
    if alike and others:
        found["alike"] = Choice(f"Where {release.name} runs", Targets(devices=list(alike)), alike)
    everyone = tuple(d.name for d in devices)
    found["all"] = Choice("Every camera", Targets(), everyone)
    for line in sorted({d.address.line for d in devices}):
        here = tuple(d.name for d in devices if d.address.line == line)
        found[f"line {line}"] = Choice(f"Line {line}", Targets(line=line), here)
    for tag in sorted({tag for given in tags.values() for tag in given}):
        tagged = tuple(d.name for d in devices if tag in tags.get(d.name, ()))
        if tagged:
            found[f"tag {tag}"] = Choice(f"Tagged {tag}", Targets(tag=tag), tagged)
    return found


def wave_sizes(
    devices: list[DeviceView], names: tuple[str, ...], waves: tuple[Wave, ...], now_s: float
) -> list[int]:
    """How many cameras each wave will have."""
    chosen = [Candidate(d.name, d.address.line, d.online(now_s)) for d in devices if d.name in names]
    sizes: dict[int, int] = {}
    for device in lay_out(chosen, waves, now_s).values():
        if device.wave is not None:
            sizes[device.wave] = sizes.get(device.wave, 0) + 1
    return [sizes[number] for number in sorted(sizes)]


class StartRollout:
    """The dialog. `open` fills it with the fleet as it is then."""

    def __init__(
        self, release: ReleaseName, operations: Operations, fleet: Fleet, clock: Callable[[], float]
    ) -> None:
        self._release, self._operations, self._fleet, self._clock = release, operations, fleet, clock
        self._choices: dict[str, Choice] = {}
        self._devices: list[DeviceView] = []
        with ui.dialog() as self._dialog, div("k-zoom k-ask", "start-rollout"):
            text(f"Roll out {release}", "k-ask-title")
            self._build()

    async def open(self) -> None:
        self._devices = [device for line in self._fleet.lines() for device in line.devices]
        tags = await attempt(self._operations.tags, quiet=True) or {}
        self._choices = choices(self._release, self._devices, tags)
        options = {
            key: f"{choice.label} · {words.count(len(choice.devices), 'camera')}"
            for key, choice in self._choices.items()
        }
        self._names.set_options([device.name for device in self._devices])
        self._to.set_options({**options, _BY_NAME: "Cameras by name …"}, value=next(iter(options)))
        self._show()
        self._dialog.open()

    def plan(self) -> Plan:
        """What the dialog asks for."""
        shadow = ShadowPolicy(frames=int(self._frames.value or SHADOW_FRAMES)) if self._shadow.value else None
        window = None
        if self._window.value:
            window = Window(from_h=float(self._from.value or 0), until_h=float(self._until.value or 24))
        asked = self._approval.value
        return Plan(
            subject=Subject(release=self._release),
            targets=self._target().targets,
            waves=self._waves_asked(),
            window=window,
            policy=Policy(shadow=shadow, approval=asked == "cameras"),
            gates=Gates(
                shadow=ShadowGate(min_frames=min(30, shadow.frames)) if shadow else None,
                approval=ApprovalGate() if asked == "waves" else None,
            ),
            why=(self._why.value or "").strip()[:500],
        )

    def _build(self) -> None:
        with div("k-fields"):
            with div("is-whole"):
                self._to = mark(ui.select({}, label="To", on_change=self._show), "rollout-to")
                self._to.props("outlined dense options-dense")
            with div("is-whole") as self._by_name:
                self._names = mark(
                    ui.select([], label="Which", multiple=True, on_change=self._show), "rollout-names"
                )
                self._names.props("outlined dense options-dense use-chips")
            self._shadow = mark(
                ui.switch("First judge live frames beside the old one", value=True, on_change=self._show),
                "rollout-shadow",
            )
            self._frames = mark(
                ui.number("Frames", value=SHADOW_FRAMES, min=1, max=1_000_000, precision=0), "rollout-frames"
            ).props("outlined dense")
            self._waves = mark(
                ui.select(
                    {key: label for key, (label, _) in _WAVES.items()},
                    label="In waves",
                    value="canary",
                    on_change=self._show,
                ),
                "rollout-waves",
            ).props("outlined dense options-dense")
            self._approval = mark(
                ui.select(_APPROVALS, label="Who says yes", value="no"), "rollout-approval"
            ).props("outlined dense options-dense")
            self._window = mark(ui.switch("Only at certain hours", on_change=self._show), "rollout-window")
            with div("k-row k-hours") as self._hours:
                self._from = ui.number("From", value=22, min=0, max=23.9, suffix="h").props("outlined dense")
                self._until = ui.number("Until", value=6, min=0.1, max=24, suffix="h").props("outlined dense")
            with div("is-whole"):
                self._why = mark(ui.input("Why (stands in the list of rollouts)"), "rollout-why")
                self._why.props("outlined dense maxlength=500")
        self._preview = text("", "k-preview", "rollout-preview")
        with div("k-row k-ask-foot"):
            button("Leave it", self._dialog.close)
            self._go = button("Start", self._start, "rollout-start", icon="send", main=True)

    def _target(self) -> Choice:
        known = self._choices.get(self._to.value or "")
        if known is not None:
            return known
        names = tuple(self._names.value or ())
        return Choice("", Targets(devices=list(names)), names)

    def _waves_asked(self) -> tuple[Wave, ...]:
        few = len(self._target().devices) <= FEW and self._waves.value == "canary"
        return AT_ONCE if few else _WAVES[self._waves.value or "canary"][1]

    def _show(self) -> None:
        self._by_name.set_visibility(self._to.value == _BY_NAME)
        self._frames.set_visibility(bool(self._shadow.value))
        self._hours.set_visibility(bool(self._window.value))
        target = self._target()
        self._go.set_enabled(bool(target.devices))
        self._preview.set_text(self._say(target))

    def _say(self, target: Choice) -> str:
        if not target.devices:
            return "Choose at least one camera."
        sizes = wave_sizes(self._devices, target.devices, self._waves_asked(), self._clock())
        cameras = words.count(len(target.devices), "camera")
        waves = f", in waves of {', '.join(map(str, sizes))}" if len(sizes) > 1 else ", at once"
        back = "If one goes wrong it stops, and that wave goes back by itself."
        return f"{cameras}{waves}. {back}"

    async def _start(self) -> None:
        plan = self.plan()
        self._go.disable()
        view = await attempt(lambda: self._operations.roll_out(plan, who=WHO))
        self._go.enable()
        if view is not None:
            self._dialog.close()
            ui.navigate.to(rollout_url(view.id))
