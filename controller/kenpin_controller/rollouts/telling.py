"""A rollout's state as people are told of it. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from kenpin_controller.rollouts.gates import Verdicts
from kenpin_controller.rollouts.state import ON_ITS_WAY, DeviceState, RolloutState
from kenpin_controller.rollouts.views import (
    GateState,
    RolloutDeviceView,
    RolloutView,
    Stage,
    Status,
    TimelineEntry,
    WaveView,
)
from kenpin_controller.rollouts.waves import awaits_person
from kenpin_wire.shadow import ShadowReport


def tell(
    state: RolloutState,
    now_s: float,
    *,
    timeline: Sequence[TimelineEntry] = (),
    reports: Mapping[str, ShadowReport] | None = None,
    verdicts: Verdicts | None = None,
) -> RolloutView:
    """The whole view."""
    reports, verdicts = reports or {}, verdicts or Verdicts()
    return RolloutView(
        id=state.id,
        release=state.plan.subject.release,
        plan=state.plan,
        status=state.status,
        sentence=sentence(state),
        finished=state.over,
        started_s=state.started_s,
        ended_s=state.ended_s,
        who=state.who,
        waves=tuple(_wave(state, number) for number in range(state.waves)),
        devices={name: _device(state, d, now_s, reports.get(name)) for name, d in state.devices.items()},
        timeline=tuple(timeline),
        disagreements={"new": verdicts.new, "old": verdicts.old, "open": verdicts.open},
    )


def sentence(state: RolloutState) -> str:
    """How it stands, and what it waits for, in one line."""
    done = sum(d.stage is Stage.DONE for d in state.devices.values())
    have = f"{done} of {len(state.devices)} devices have it"
    match state.status:
        case Status.RUNNING:
            return f"Wave {state.wave + 1} of {max(state.waves, 1)}, {have}. {_waits_for(state)}"
        case Status.PAUSED:
            return f"Paused in wave {state.wave + 1} of {state.waves}, {have}."
        case Status.FINISHED:
            late = [d.device for d in state.devices.values() if d.stage in ON_ITS_WAY]
            return f"Finished, {have}." + (f" {', '.join(late[:5])} may still get it." if late else "")
        case Status.REVERTING:
            back = [
                d.device for d in state.devices.values() if d.stage in (Stage.RETURNING, Stage.CANCELLING)
            ]
            return f"Going back on {', '.join(back[:5])}: {state.cause}."
        case _:
            return f"{state.status.capitalize()}, {have}: {state.cause}."


def _waits_for(state: RolloutState) -> str:
    for d in state.devices.values():
        if awaits_person(state, d):
            return f"{d.device} is staged and waits for a yes."
        if d.gate is not None and d.gate.state is GateState.WAIT and d.stage is Stage.UNDER_WAY:
            return f"{d.device}: {d.gate.sentence}"
    counts = Counter(
        word(d) for d in state.devices.values() if d.stage in ON_ITS_WAY and d.wave == state.wave
    )
    if counts:
        return f"Under way: {', '.join(f'{n} {phase}' for phase, n in counts.items())}."
    window = state.plan.window
    if window is not None and any(
        d.stage is Stage.HELD and d.wave == state.wave for d in state.devices.values()
    ):
        return f"It goes on from {window}."
    waits = [g for g in state.gates.get(state.wave, ()) if g.state is GateState.WAIT]
    return f"{waits[0].name.capitalize()}: {waits[0].sentence}" if waits else ""


def word(device: DeviceState) -> str:
    """Where a device is, in a word: its own phase where it is the one who knows, else our stage."""
    if device.stage in (Stage.UNDER_WAY, Stage.DONE, Stage.FAILED, Stage.RETRYING) and device.phase:
        return device.phase
    return device.stage.value


def _wave(state: RolloutState, number: int) -> WaveView:
    started_s = state.waves_s[number] if number < len(state.waves_s) else None
    running = number == state.wave and state.ended_s is None and started_s is not None
    word_ = "running" if running else "ahead" if started_s is None else "done"
    return WaveView(
        number=number,
        devices=tuple(d.device for d in state.devices.values() if d.wave == number),
        state=word_,
        started_s=started_s,
        gates=state.gates.get(number, ()),
    )


def _device(
    state: RolloutState, d: DeviceState, now_s: float, report: ShadowReport | None
) -> RolloutDeviceView:
    return RolloutDeviceView(
        device=d.device,
        line=d.line,
        wave=d.wave,
        stage=d.stage,
        phase=word(d),
        reason=d.reason,
        percent=d.percent,
        updated_s=d.updated_s,
        age_s=max(0.0, now_s - d.since_s),
        attempts=d.attempts,
        behind=d.behind,
        next_s=d.next_s,
        before=d.before,
        can_approve=awaits_person(state, d),
        proposed_threshold=report.proposed_threshold if report is not None else None,
        shadow=report,
        gate=d.gate,
    )
