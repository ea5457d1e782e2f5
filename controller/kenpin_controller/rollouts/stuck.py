"""Why a device stands where it does in a rollout: state, age, evidence and the fix, in one line. Pure."""

from __future__ import annotations

from kenpin_controller.rollouts.state import DeviceState, RolloutState
from kenpin_controller.rollouts.telling import sentence, word
from kenpin_controller.rollouts.views import GateState, Stage
from kenpin_controller.rollouts.waves import awaits_person
from kenpin_controller.why import Health, Level, ago

SILENT_S = 60.0
"""An order that is not answered for so long is worth a look."""


def stuck(state: RolloutState, device: DeviceState, now_s: float) -> Health | None:
    """What a rollout that runs has to say of a device; None if it is through with it."""
    since = f"for {ago(now_s - device.since_s)}"
    label, rollout = state.label, f"rollout {state.id}"
    reason = f": {device.reason.rstrip('.')}" if device.reason else ""
    if awaits_person(state, device):
        return Health(
            Level.WARN,
            "Staged",
            f"{label} is staged {since} and waits for a person's yes ({rollout}).",
            f"Look at its shadow report, then: kenpin rollout approve {state.id} --device {device.device}",
        )
    match device.stage:
        case Stage.HELD:
            held = reason or f": {sentence(state).rstrip('.')}"
            return Health(Level.OK, "OK", f"{label} comes with wave {(device.wave or 0) + 1}{held}.")
        case Stage.WAITING if now_s - device.since_s > SILENT_S:
            return Health(
                Level.WARN,
                "Silent",
                f"It has not answered the order of {label} {since} ({rollout}).",
                f"See its warnings on its page; then: kenpin rollout retry {state.id} {device.device}",
            )
        case Stage.UNDER_WAY | Stage.WAITING:
            gate = device.gate.sentence if device.gate is not None else ""
            level = Level.WARN if device.behind else Level.OK
            if device.gate is not None and device.gate.state is GateState.CLOSED:
                level = Level.WARN
            fix = f"Ask again: kenpin rollout retry {state.id} {device.device}" if device.behind else ""
            percent = f" ({device.percent:.0f} %)" if device.phase == "downloading" else ""
            told = f"{label} is {word(device).replace('_', ' ')}{percent} {since}{reason}."
            return Health(level, "Updating", f"{told} {gate}".rstrip(), fix)
        case Stage.RETRYING:
            wait_s = max(0.0, (device.next_s or now_s) - now_s)
            told = f"{label} {word(device).replace('_', ' ')}{reason}; asked again in {ago(wait_s)}."
            return Health(Level.WARN, "Retrying", told, "See its warnings if it fails again.")
        case Stage.CANCELLING | Stage.RETURNING:
            level = Level.WARN if device.behind else Level.OK
            if device.stage is Stage.CANCELLING:
                told = f"The order of {label} was taken back, and it has not answered {since}{reason}."
            else:
                told = f"It is on its way back to {device.before or 'its own settings'} {since}{reason}."
            return Health(level, "Going back", told)
    return None
