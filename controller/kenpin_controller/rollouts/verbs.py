"""What people ask of a rollout, where it makes sense; else `NotNowError`, and nothing has changed."""

from __future__ import annotations

from kenpin_controller.rollouts.state import (
    LIVE,
    ON_ITS_WAY,
    Abort,
    ApproveDevice,
    ApproveWave,
    Configured,
    DeviceState,
    Event,
    NotNowError,
    Pause,
    Reported,
    Resume,
    Retry,
    Skip,
    Taken,
    Tick,
)
from kenpin_controller.rollouts.views import GateState, Stage, Status
from kenpin_controller.rollouts.waves import awaits_person, wave_over
from kenpin_controller.rollouts.work import Work


def obey(work: Work, event: Event) -> None:
    """Carry out a person's wish, or take notice that another order took a device."""
    match event:
        case Pause():
            _need(work, Status.RUNNING, verb="be paused")
            work.become(status=Status.PAUSED)
            work.say("paused", who=event.who)
        case Resume():
            _need(work, Status.PAUSED, verb="go on")
            work.become(status=Status.RUNNING)
            work.say("resumed", who=event.who)
        case Abort():
            _abort(work, event)
        case ApproveWave():
            _approve_wave(work, event)
        case ApproveDevice():
            _approve_device(work, event)
        case Retry():
            _retry(work, event)
        case Skip():
            _skip(work, event)
        case Taken():
            _taken(work, event)
        case Tick() | Reported() | Configured():
            raise TypeError(f"{event!r} is nobody's wish")


def _abort(work: Work, event: Abort) -> None:
    if work.state.status is Status.REVERTING or (work.state.status not in LIVE and not event.revert):
        raise NotNowError(
            f"it is {work.state.status} already",
            where=f"rollout {work.state.id}",
            remedy="To take back what it switched, return it.",
        )
    cause = f"ended by {event.who}: {event.why}"
    status = Status.REVERTING if event.revert else Status.ABORTED
    work.become(status=status, cause=cause, ended_s=None if event.revert else work.now_s)
    work.take_back(cause, event.sights, revert=event.revert, waves=range(work.state.waves))
    work.say(f"{'taken back' if event.revert else 'aborted'}: {event.why}", who=event.who)


def _approve_wave(work: Work, event: ApproveWave) -> None:
    _need(work, Status.RUNNING, Status.PAUSED, verb="be approved")
    wave = work.state.wave
    waiting = [d for d in work.devices.values() if awaits_person(work.state, d)]
    at_gate = wave_over(work) and wave + 1 < work.state.waves and wave not in work.state.approved
    if not waiting and not at_gate:
        raise NotNowError(
            "nothing waits for a yes",
            where=f"rollout {work.state.id}",
            remedy="A wave can be approved once its devices are done, a device once it is staged.",
        )
    for device in waiting:
        work.move(device, approved=True)
    if at_gate:
        closed = [g for g in work.state.gates.get(wave, ()) if g.state is GateState.CLOSED]
        if closed:
            raise NotNowError(closed[0].sentence, where=f"rollout {work.state.id}")
        work.become(approved=work.state.approved | {wave: event.who})
    what = f"wave {wave + 1}" if at_gate else f"{len(waiting)} staged"
    work.say(f"approved {what}", who=event.who)


def _approve_device(work: Work, event: ApproveDevice) -> None:
    _need(work, Status.RUNNING, Status.PAUSED, Status.FINISHED, Status.FAILED, verb="be approved")
    device = _device(work, event.device)
    if not awaits_person(work.state, device):
        raise NotNowError(
            "it does not wait for a yes", where=device.device, remedy="Only a device that is staged does."
        )
    work.move(device, approved=True, proposed=event.threshold)
    with_threshold = f" with threshold {event.threshold:.4g}" if event.threshold is not None else ""
    work.say(f"approved{with_threshold}", device.device, event.who)


def _retry(work: Work, event: Retry) -> None:
    _need(work, Status.RUNNING, Status.PAUSED, Status.FINISHED, Status.FAILED, verb="be retried")
    device = _device(work, event.device)
    if device.stage is not Stage.FAILED and not (device.behind and device.stage in ON_ITS_WAY):
        raise NotNowError(
            f"it is {device.stage}",
            where=device.device,
            remedy="Only a device that failed or was left behind can be asked again.",
        )
    work.move(device, stage=Stage.RETRYING, next_s=work.now_s, attempts=0, approved=False, behind=False)
    work.say("asked again", device.device, event.who)


def _skip(work: Work, event: Skip) -> None:
    _need(work, *LIVE, verb="skip a device")
    device = _device(work, event.device)
    reason = f"skipped by {event.who}: {event.why}"
    if device.stage in (Stage.HELD, Stage.FAILED):
        work.move(device, stage=Stage.PASSED, reason=reason, behind=False)
    elif device.stage in ON_ITS_WAY and not device.switched:
        work.withdraw(device, reason)
    else:
        raise NotNowError(
            f"it is {device.phase or device.stage}",
            where=device.device,
            remedy="Return it to what ran before instead.",
        )
    work.say(f"skipped: {event.why}", device.device, event.who)


def _taken(work: Work, event: Taken) -> None:
    device = work.devices.get(event.device)
    if device is None:
        return
    if event.against and device.stage in ON_ITS_WAY | {Stage.DONE}:
        work.move(device, stage=Stage.FAILED, reason=event.why, switched_s=None, behind=False)
        work.restore_threshold(device)
        work.say(event.why, device.device)
    elif device.stage in ON_ITS_WAY | {Stage.HELD, Stage.CANCELLING, Stage.RETURNING}:
        work.move(device, stage=Stage.SUPERSEDED, reason=event.why, behind=False)


def _need(work: Work, *statuses: Status, verb: str) -> None:
    if work.state.status not in statuses:
        raise NotNowError(f"it is {work.state.status} and cannot {verb}", where=f"rollout {work.state.id}")


def _device(work: Work, name: str) -> DeviceState:
    device = work.devices.get(name)
    if device is None:
        raise NotNowError("it is not part of this rollout", where=name)
    return device
