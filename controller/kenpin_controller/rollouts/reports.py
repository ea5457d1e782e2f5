"""What a device's own words make of its stage."""

from __future__ import annotations

from kenpin_controller.rollouts.state import (
    FAILED_PHASES,
    LIVE,
    Configured,
    DeviceState,
    Reported,
)
from kenpin_controller.rollouts.views import Stage, Status
from kenpin_controller.rollouts.work import Work
from kenpin_wire.messages import Phase

_RETRIED = frozenset({Phase.FAILED_NO_CHANGE, Phase.TIMED_OUT})
_AT_REST = FAILED_PHASES | {Phase.COMMITTED, Phase.IDLE}
_TO_COME = frozenset({Stage.WAITING, Stage.UNDER_WAY})


def reported(work: Work, event: Reported) -> None:
    """A deployment's report: news of our own last order, or of none of ours any more."""
    device = work.devices.get(event.device)
    if device is None or work.state.plan.subject.threshold is not None or not device.rev:
        return
    runs_it, answers = event.runs == work.state.label, event.rev >= device.rev
    ours = answers and event.about in ("", work.state.label)
    match device.stage:
        case Stage.WAITING | Stage.UNDER_WAY if ours:
            _forward(work, device, event, runs_it=runs_it)
        case Stage.DONE if ours and event.phase in FAILED_PHASES and not runs_it:
            _fail(work, device, event)
        case Stage.CANCELLING | Stage.CANCELLED:  # a device that never took it up answers with an older order
            _cancel(work, device, event, runs_it=runs_it)
        case Stage.RETURNING if answers:
            _back(work, device, event)
        case _:
            pass


def configured(work: Work, event: Configured) -> None:
    """A settings report, for rollouts of thresholds."""
    device = work.devices.get(event.device)
    if (
        device is None
        or work.state.plan.subject.threshold is None
        or event.rev < device.rev
        or not device.rev
    ):
        return
    if device.stage in _TO_COME and not event.error:
        work.move(
            device, stage=Stage.DONE, phase=Phase.COMMITTED, reason="", percent=100.0, switched_s=work.now_s
        )
    elif device.stage in _TO_COME:
        work.move(device, stage=Stage.FAILED, phase=Phase.REJECTED, reason=event.error)
        work.say(f"the settings were refused: {event.error}", device.device)
    elif device.stage is Stage.RETURNING:
        work.move(device, stage=Stage.RETURNED, phase="", switched_s=None)


def _forward(work: Work, device: DeviceState, event: Reported, *, runs_it: bool) -> None:
    phase = event.phase
    if phase == Phase.COMMITTED or (phase == Phase.IDLE and runs_it):
        work.move(
            device,
            stage=Stage.DONE,
            phase=Phase.COMMITTED,
            reason=event.reason,
            percent=100.0,
            switched_s=device.switched_s or work.now_s,
        )
        work.say("committed", device.device)
    elif phase in _RETRIED and device.attempts < work.state.plan.retries and work.state.status in LIVE:
        delay_s = work.state.plan.retry_s * 2**device.attempts
        work.move(
            device,
            stage=Stage.RETRYING,
            phase=phase,
            reason=event.reason,
            attempts=device.attempts + 1,
            next_s=work.now_s + delay_s,
        )
        work.say(f"{_words(phase)}, asked again in {delay_s:g} s: {event.reason}", device.device)
    elif phase in FAILED_PHASES:
        _fail(work, device, event)
    elif phase != Phase.IDLE:
        switched_s = device.switched_s or (work.now_s if phase == Phase.TRIAL else None)
        if (phase, event.reason, event.percent) != (device.phase, device.reason, device.percent):
            work.move(
                device,
                stage=Stage.UNDER_WAY,
                phase=phase,
                reason=event.reason,
                percent=event.percent,
                switched_s=switched_s,
            )


def _fail(work: Work, device: DeviceState, event: Reported) -> None:
    work.move(
        device, stage=Stage.FAILED, phase=event.phase, reason=event.reason, switched_s=None, behind=False
    )
    work.restore_threshold(device)
    work.say(f"{_words(event.phase)}: {event.reason}", device.device)


def _cancel(work: Work, device: DeviceState, event: Reported, *, runs_it: bool) -> None:
    """It may have switched before it heard of the end: then it is sent back, or left, as its wave was."""
    if event.phase in _AT_REST and runs_it:
        moved = work.move(device, phase=Phase.COMMITTED, switched_s=work.now_s)
        if work.state.status in (Status.REVERTING, Status.REVERTED):
            work.send_back(moved, device.reason)
            if work.devices[device.device].stage is not Stage.RETURNING:
                work.move(work.devices[device.device], stage=Stage.DONE)
        else:
            work.move(moved, stage=Stage.DONE, reason="it had switched before it heard of the end")
    elif device.stage is Stage.CANCELLING and event.phase in _AT_REST:
        work.move(device, stage=Stage.CANCELLED, phase=event.phase, switched_s=None)


def _back(work: Work, device: DeviceState, event: Reported) -> None:
    if event.runs == device.before and event.phase in _AT_REST:
        work.move(device, stage=Stage.RETURNED, phase=event.phase, switched_s=None, behind=False)
        work.say(f"runs {device.before} again", device.device)
    elif event.phase in FAILED_PHASES:
        reason = f"could not go back to {device.before}: {event.reason or _words(event.phase)}"
        work.move(device, stage=Stage.FAILED, phase=event.phase, reason=reason, behind=False)
        work.say(reason, device.device)
    elif (event.phase, event.percent) != (device.phase, device.percent):
        work.move(device, phase=event.phase, percent=event.percent)


def _words(phase: str) -> str:
    return phase.replace("_", " ")
