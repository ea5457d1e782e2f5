"""What a rollout does of itself as time passes: orders, deadlines, gates, the next wave, the end."""

from __future__ import annotations

from kenpin_controller.rollouts import gates as g
from kenpin_controller.rollouts.plan import OnFailure
from kenpin_controller.rollouts.state import ON_ITS_WAY, DeviceState, RolloutState, Sight, Tick
from kenpin_controller.rollouts.views import GateState, GateView, Stage, Status
from kenpin_controller.rollouts.work import Work
from kenpin_wire.messages import Phase

_UNKNOWN = Sight()
_OVER = frozenset({Status.FINISHED, Status.FAILED})
"""Such a rollout still has those to serve that were left behind, or that a person has asked again."""
_WATCHED = frozenset({Status.RUNNING, Status.PAUSED}) | _OVER
_ORDERING = frozenset({Status.RUNNING}) | _OVER


def tick(work: Work, event: Tick) -> None:
    """See the module's docstring. Closed gates come before orders, and orders before the next wave."""
    _leave_behind(work, event)
    if work.state.status is Status.RUNNING and not work.state.waves_s:
        _begin(work, 0)
    if event.evidence is not None and work.state.status in _WATCHED:
        closed = _ask_shadows(work, event.evidence)
        if work.state.status not in _OVER:
            _ask_gates(work, event, event.evidence, closed)
    if work.state.status in _ORDERING:
        _order(work, event)
        _switch(work, event)
    if work.state.status in _OVER:
        _conclude(work)


def awaits_word(state: RolloutState, device: DeviceState) -> bool:
    """Whether a device has come as far as it may without a word from us."""
    return (
        device.stage is Stage.UNDER_WAY
        and device.phase == Phase.STAGED
        and state.plan.waits_staged
        and not device.activated
    )


def awaits_person(state: RolloutState, device: DeviceState) -> bool:
    """Whether it waits for a person's yes, and not (or no longer) for its shadow gate."""
    gate_open = state.plan.gates.shadow is None or (
        device.gate is not None and device.gate.state is GateState.OPEN
    )
    return awaits_word(state, device) and state.plan.policy.approval and gate_open and not device.approved


def wave_over(work: Work) -> bool:
    """Whether no device of the waves so far holds the rollout up."""
    return not any(
        d.stage is Stage.HELD or (d.stage in ON_ITS_WAY | {Stage.CANCELLING} and not d.behind)
        for d in _so_far(work)
    )


def _so_far(work: Work) -> list[DeviceState]:
    return [d for d in work.devices.values() if d.wave is not None and d.wave <= work.state.wave]


def _begin(work: Work, wave: int) -> None:
    names = [d.device for d in work.devices.values() if d.wave == wave]
    work.become(wave=wave, waves_s=(*work.state.waves_s, work.now_s))
    work.say(f"wave {wave + 1} begins: {_listed(names)}")


def _order(work: Work, event: Tick) -> None:
    """Orders for the devices whose turn it is, within the window."""
    for device in _so_far(work):
        sight = event.sights.get(device.device, _UNKNOWN)
        if device.stage is Stage.HELD and sight.pinned:
            work.move(device, stage=Stage.PASSED, reason=sight.pinned)
            work.say(f"passed by: {sight.pinned}", device.device)
            continue
        due = device.stage is Stage.HELD or (
            device.stage is Stage.RETRYING and (device.next_s or 0.0) <= work.now_s
        )
        if not due:
            continue
        wanted = work.state.plan.subject.threshold is not None
        if wanted and sight.runs != work.state.label:
            runs = sight.runs or "no release"
            work.move(device, stage=Stage.PASSED, reason=f"it runs {runs}, which this threshold is not for")
        elif not _in_window(work, event):
            reason = f"waits for {work.state.plan.window}"
            if device.reason != reason:
                work.move(device, reason=reason)
        else:
            work.install(device, runs=sight.runs, kept=sight.kept)


def _switch(work: Work, event: Tick) -> None:
    """The word for devices that wait staged: once their shadow gate is open, and a person said yes if asked for."""
    for device in _so_far(work):
        if not awaits_word(work.state, device) or not _in_window(work, event):
            continue
        if work.state.plan.gates.shadow is not None and (
            device.gate is None or device.gate.state is not GateState.OPEN
        ):
            continue
        if work.state.plan.policy.approval and not device.approved:
            continue
        work.activate(device)
        work.say("may switch", device.device)


def _ask_shadows(work: Work, evidence: g.Evidence) -> list[tuple[str, GateView]]:
    """Ask the shadow gate of each device that waits for it; returns the closed ones. A device that comes late, to a
    rollout that is finished, is only refused itself."""
    gate = work.state.plan.gates.shadow
    closed: list[tuple[str, GateView]] = []
    for device in _so_far(work) if gate is not None else []:
        assert gate is not None
        if not awaits_word(work.state, device):
            continue
        view = g.shadow(gate, evidence.reports.get(device.device))
        if view != device.gate:
            device = work.move(device, gate=view)  # noqa: PLW2901  the same device, a moment later
        if view.state is GateState.CLOSED:
            closed.append((f"shadow gate of {device.device}", view))
            if work.state.status in _OVER:
                work.withdraw(device, f"shadow gate: {view.sentence.rstrip('.')}")
    return closed


def _ask_gates(work: Work, event: Tick, evidence: g.Evidence, closed: list[tuple[str, GateView]]) -> None:
    over = wave_over(work)
    views = _wave_gates(work, evidence, over=over)
    closed += [(f"{view.name} gate", view) for view in views if view.state is GateState.CLOSED]
    wave = work.state.wave
    if views != work.state.gates.get(wave):
        work.become(gates=work.state.gates | {wave: views})
    if closed:
        _halt(work, event, *closed[0])
    elif work.state.status is not Status.RUNNING or not over:
        pass
    elif wave + 1 < work.state.waves:
        waits = [view for view in views if view.state is not GateState.OPEN]
        if not waits or wave in work.state.approved:
            _begin(work, wave + 1)
    elif all(view.state is GateState.OPEN for view in views if view.name == "soak"):
        _finish(work)


def _wave_gates(work: Work, evidence: g.Evidence, *, over: bool) -> tuple[GateView, ...]:
    """All gates between waves; behind the last wave only those that watch what runs."""
    state = work.state
    plan, wave = state.plan.gates, state.wave
    last = wave + 1 == state.waves
    here = [d for d in work.devices.values() if d.wave == wave]
    switched = {d.device for d in here if d.switched}
    views: list[GateView] = []
    if not last:
        views.append(g.success(plan, _tally(work), wave_over=over))
    if plan.soak_s:
        newest_s = max((d.switched_s for d in here if d.switched_s is not None), default=None)
        views.append(g.soak(plan, newest_s, work.now_s))
    if plan.reject_rate is not None:
        cameras = {name: evidence.cameras.get(name) for name in switched}
        views.append(g.reject_rate(plan.reject_rate, cameras))
    if plan.heat is not None:
        peaks_c = {name: peak_c for name, peak_c in evidence.peaks_c.items() if name in switched}
        views.append(g.heat(plan.heat, peaks_c, evidence.throttled & switched))
    if plan.approval is not None and not last:
        approved_by = state.approved.get(wave, "")
        views.append(g.approval(plan.approval, evidence.verdicts, approved_by=approved_by))
    return tuple(views)


def _tally(work: Work) -> g.Tally:
    so_far = _so_far(work)
    here = [d for d in so_far if d.wave == work.state.wave]
    return g.Tally(
        done=sum(d.stage is Stage.DONE for d in so_far),
        failed=sum(d.stage is Stage.FAILED for d in so_far),
        pending=sum(d.stage in ON_ITS_WAY or d.stage is Stage.HELD for d in so_far),
        done_here=sum(d.stage is Stage.DONE for d in here),
        size_here=sum(d.stage not in (Stage.PASSED, Stage.CANCELLED, Stage.SUPERSEDED) for d in here),
    )


def _halt(work: Work, event: Tick, what: str, view: GateView) -> None:
    cause = f"{what}: {view.sentence.rstrip('.')}"
    revert = work.state.plan.on_failure is OnFailure.HALT_AND_REVERT
    status = Status.REVERTING if revert else Status.HALTED
    work.become(status=status, cause=cause, ended_s=None if revert else work.now_s)
    work.say(f"closed: {cause}")
    wave = work.state.wave
    work.take_back(cause, event.sights, revert=revert, waves=range(wave, wave + 1))


def _finish(work: Work) -> None:
    work.become(ended_s=work.now_s)
    _conclude(work)
    done = sum(d.stage is Stage.DONE for d in work.devices.values())
    work.say(f"{work.state.status}: {done} of {len(work.devices)} devices have it")


def _conclude(work: Work) -> None:
    """Where too many failed nobody shall read "finished"."""
    view = g.success(work.state.plan.gates, _tally(work), wave_over=True)
    if view.state is GateState.CLOSED:
        work.become(status=Status.FAILED, cause=view.sentence.rstrip("."))
    else:
        work.become(status=Status.FINISHED, cause="")


def _leave_behind(work: Work, event: Tick) -> None:
    """Devices that are silent, or take too long, hold nobody up any more. A wait for a person has no deadline."""
    state = work.state
    began_s = state.waves_s[-1] if state.waves_s else work.now_s
    for device in list(work.devices.values()):
        out = device.stage in (Stage.WAITING, Stage.UNDER_WAY, Stage.CANCELLING, Stage.RETURNING)
        if not out or device.behind or awaits_person(state, device):
            continue
        since_s = device.since_s if device.percent == 0 else device.updated_s  # blocks that come are news
        late = work.now_s - since_s > _allowed_s(state, device)
        if not late and work.now_s - began_s <= state.plan.wave_s:
            continue
        online = event.sights.get(device.device, _UNKNOWN).online
        why = "offline; it gets it when it is back" if not online else f"still {device.phase or device.stage}"
        work.move(device, behind=True, reason=device.reason or why)
        work.say(f"left behind: {why}", device.device)


def _allowed_s(state: RolloutState, device: DeviceState) -> float:
    """How long a device may stay in its phase without being left behind."""
    policy, allowed_s = state.plan.policy, state.plan.device_s
    if device.phase == Phase.SHADOWING and policy.shadow is not None:
        return allowed_s + policy.shadow.max_s
    if device.phase == Phase.TRIAL:
        return allowed_s + policy.trial.max_s
    return allowed_s


def _in_window(work: Work, event: Tick) -> bool:
    window = work.state.plan.window
    return window is None or window.holds(event.hour)


def _listed(names: list[str]) -> str:
    return ", ".join(names) if len(names) <= 6 else f"{', '.join(names[:5])} and {len(names) - 5} more"
