"""One step's work on a rollout: a copy that may be changed, and the effects so far."""

from __future__ import annotations

from typing import Any

from kenpin_controller.rollouts.state import (
    ON_ITS_WAY,
    DeviceState,
    Effect,
    Order,
    RestoreThreshold,
    RolloutState,
    Say,
    SendBack,
    SetThreshold,
    Sights,
)
from kenpin_controller.rollouts.views import Stage
from kenpin_wire.messages import Decision, Threshold

_MAY_RUN_IT = frozenset({Stage.DONE, Stage.UNDER_WAY, Stage.CANCELLING, Stage.FAILED})


class Work:
    """Lives for one call of `machine.step`, and keeps the state it was given untouched."""

    def __init__(self, state: RolloutState, now_s: float) -> None:
        self.state = state
        self.now_s = now_s
        self.devices = dict(state.devices)
        self.effects: list[Effect] = []

    def result(self) -> tuple[RolloutState, list[Effect]]:
        """The new state: the very same object if nothing has changed."""
        before = self.state.devices
        if any(device is not before.get(name) for name, device in self.devices.items()):
            self.state = self.state.model_copy(update={"devices": self.devices})
        return self.state, self.effects

    def become(self, **fields: Any) -> None:
        """Change the rollout itself."""
        self.state = self.state.model_copy(update=fields)

    def move(self, device: DeviceState, **fields: Any) -> DeviceState:
        """Change a device; a new stage or phase begins now."""
        elsewhere = any(
            fields.get(key, getattr(device, key)) != getattr(device, key) for key in ("stage", "phase")
        )
        if elsewhere:
            fields = {"since_s": self.now_s} | fields
        moved = device.model_copy(update={"updated_s": self.now_s} | fields)
        self.devices[device.device] = moved
        return moved

    def say(self, text: str, device: str = "", who: str = "") -> None:
        self.effects.append(Say(text, device, who))

    def install(self, device: DeviceState, *, runs: str, kept: bool) -> None:
        """Send the order out: the release, or the threshold."""
        # A retry must not take a release that is half-way in for what ran before.
        before = device.before or (runs if kept and runs != self.state.label else "")
        moved = self.move(
            device,
            stage=Stage.WAITING,
            phase="",
            reason="",
            percent=0.0,
            next_s=None,
            behind=False,
            activated=False,
            gate=None,
            before=before,
        )
        wish = self.state.plan.subject.threshold
        if wish is None:
            self.effects.append(Order(device.device, Decision.INSTALL))
        else:
            self._set_threshold(moved, wish.value, wish.false_rejects)

    def activate(self, device: DeviceState) -> None:
        """Tell a device that waits staged to switch; the threshold that was approved for it goes along."""
        moved = self.move(device, activated=True)
        if device.proposed is not None:
            self._set_threshold(moved, device.proposed, None)
        self.effects.append(Order(device.device, Decision.ACTIVATE))

    def withdraw(self, device: DeviceState, reason: str) -> None:
        """Take the order back from a device that has not switched."""
        if self.state.plan.subject.threshold is not None:
            self.send_back(device, reason)
        else:
            self.move(device, stage=Stage.CANCELLING, reason=reason, next_s=None, behind=False)
            self.restore_threshold(device)
            self.effects.append(Order(device.device, Decision.CANCEL))

    def send_back(self, device: DeviceState, reason: str) -> None:
        """Back to what ran before, if there is something."""
        if self.state.plan.subject.threshold is not None:
            self.move(device, stage=Stage.RETURNING, reason=reason, next_s=None, behind=False)
            self.restore_threshold(device)
        elif device.before:
            self.move(device, stage=Stage.RETURNING, reason=reason, next_s=None, behind=False)
            self.restore_threshold(device)
            self.effects.append(SendBack(device.device))
        else:
            self.move(device, reason=f"{reason}; it stays, for the controller has no release to go back to")

    def take_back(self, reason: str, sights: Sights, *, revert: bool, waves: range) -> None:
        """Let no device come to run it any more; send back those of `waves` that do, if they are still ours."""
        for device in list(self.devices.values()):
            sight = sights.get(device.device)
            ours = sight is not None and sight.ours
            if device.stage is Stage.HELD:
                self.move(device, stage=Stage.CANCELLED, reason=f"never got it: {reason}")
            elif device.switched and device.stage in _MAY_RUN_IT:
                if revert and ours and device.wave in waves:
                    self.send_back(device, reason)
            elif device.stage in ON_ITS_WAY:
                self.withdraw(device, reason)

    def restore_threshold(self, device: DeviceState) -> None:
        """The threshold that the rollout had put in another's place goes."""
        current = self.devices[device.device]
        if current.own_threshold:
            self.effects.append(RestoreThreshold(device.device))
            self.devices[device.device] = current.model_copy(update={"own_threshold": False})

    def _set_threshold(self, device: DeviceState, value: float | None, false_rejects: float | None) -> None:
        threshold = Threshold(release=self.state.label, value=value, false_rejects=false_rejects)
        self.devices[device.device] = device.model_copy(update={"own_threshold": True, "proposed": None})
        self.effects.append(SetThreshold(device.device, threshold))
