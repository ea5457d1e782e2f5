"""What the deployment on a camera does, in one line; its shadow report while it runs; the way back; the pin."""

from __future__ import annotations

from collections.abc import Callable

from nicegui import ui

from kenpin_controller.operations import Operations
from kenpin_controller.pages.asking import ask_why
from kenpin_controller.pages.parts import WHO, Note, attempt, button, div, link, mark, rollout_url, text
from kenpin_controller.pages.rollout_words import subject_text
from kenpin_controller.pages.shadows import ShadowCard
from kenpin_controller.pages.standing import standing
from kenpin_controller.pages.verbs import ask_return
from kenpin_controller.rollouts.views import Pin, RolloutView, Stage
from kenpin_controller.views import DeviceView
from kenpin_controller.why import Level
from kenpin_wire.messages import Phase

_ROLLOUTS_EVERY_S = 2.0
_LOOKED_THROUGH = 10
_ELSEWHERE = frozenset({Stage.SUPERSEDED, Stage.PASSED, Stage.CANCELLED})


class DeploymentPanel:
    """Stands within the camera's release panel."""

    def __init__(self, name: str, operations: Operations, clock: Callable[[], float]) -> None:
        self._name, self._operations, self._clock = name, operations, clock
        self._rollout: RolloutView | None = None
        self._pin: Pin | None = None
        self._device: DeviceView | None = None
        with div("k-deployment", "deployment"):
            self._line = Note("release-state")
            self._progress = mark(ui.linear_progress(0, show_value=False), "release-progress")
            self._remedy = text("", "k-quiet", "deployment-remedy")
            with link("/rollouts", "k-link", "to-rollout") as self._link:
                self._link_text = text("")
            self._shadow = ShadowCard(name, None)
            with div("k-row"):
                self._back = button("Send it back …", self._send_back, "return", icon="undo")
                self._pin_button = button("Pin …", self._toggle_pin, "pin", icon="push_pin")
            self._pinned = Note("pinned")
        self._shadow.set_visibility(False)
        self._link.set_visibility(False)
        ui.timer(0.1, self._load, once=True)
        ui.timer(_ROLLOUTS_EVERY_S, self._load, immediate=False)

    def update(self, device: DeviceView) -> None:
        self._device = device
        place = self._rollout.devices.get(self._name) if self._rollout is not None else None
        coming = subject_text(self._rollout.plan) if self._rollout is not None else ""
        answer = standing(device, place, self._clock(), coming=coming)
        words = f"{answer.sentence} {answer.evidence}".strip()
        warn = answer.level is not Level.OK
        self._line.say(words, "warn" if warn else "info", "warning" if warn else "info")
        self._remedy.set_text(answer.remedy)
        self._remedy.set_visibility(bool(answer.remedy))
        moving = device.phase == Phase.DOWNLOADING and device.release is not None
        self._progress.set_visibility(moving)
        if moving and device.release is not None:
            self._progress.set_value(device.release.percent / 100.0)
        report = device.shadow
        shown = report is not None and device.phase in (Phase.SHADOWING, Phase.STAGED)
        self._shadow.set_visibility(shown)
        if report is not None and shown:
            self._shadow.show(report)
        previous = device.release.previous if device.release is not None else None
        self._back.set_visibility(previous is not None)
        if previous is not None:
            self._back.set_text(f"Back to {previous} …")

    async def _load(self) -> None:
        views = await attempt(lambda: self._operations.rollouts(limit=_LOOKED_THROUGH), quiet=True)
        pins = await attempt(self._operations.pins, quiet=True)
        if views is not None:
            self._rollout = _mine(views, self._name)
        if pins is not None:
            self._show_pin(pins.get(self._name))
        self._link.set_visibility(self._rollout is not None)
        if self._rollout is not None:
            self._link.props["href"] = rollout_url(self._rollout.id)
            self._link_text.set_text(f"The rollout of {subject_text(self._rollout.plan)}")

    def _show_pin(self, pin: Pin | None) -> None:
        self._pin = pin
        self._pin_button.set_text("Unpin" if pin is not None else "Pin …")
        said = f"Pinned by {pin.who}: {pin.why.rstrip('.')}. Rollouts pass it by." if pin is not None else ""
        self._pinned.say(said, "warn", "push_pin")

    async def _send_back(self) -> None:
        previous = self._device.release.previous if self._device and self._device.release else None
        why = await ask_return(self._name, str(previous or ""))
        if why is not None:
            rev = await attempt(lambda: self._operations.return_device(self._name, why=why, who=WHO))
            if rev is not None:
                ui.notify(f"{self._name} is on its way back.")

    async def _toggle_pin(self) -> None:
        name = self._name
        if self._pin is not None:
            await attempt(lambda: self._operations.unpin(name, who=WHO))
        else:
            said = await ask_why(
                f"Pin {name}?", "Rollouts pass it by until somebody unpins it. It keeps what it runs.", "Pin"
            )
            if said is None:
                return
            await attempt(lambda: self._operations.pin(name, why=said.reason, who=WHO))
        await self._load()


def _mine(views: list[RolloutView], name: str) -> RolloutView | None:
    """The newest rollout in which the camera still has a place to speak of."""
    for view in views:
        place = view.devices.get(name)
        if place is None or place.stage in _ELSEWHERE:
            continue
        if not view.finished or place.stage not in (Stage.HELD, Stage.CANCELLED):
            return view
    return None
