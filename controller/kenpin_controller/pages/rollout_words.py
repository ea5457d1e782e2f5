"""Rollouts as a person reads them. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from kenpin_controller.pages import words
from kenpin_controller.rollouts.plan import Plan, Targets
from kenpin_controller.rollouts.views import (
    DisagreementRecord,
    GateState,
    RolloutDeviceView,
    RolloutView,
    Stage,
    Status,
    TimelineEntry,
    WaveView,
)
from kenpin_controller.why import score_text
from kenpin_wire.messages import Phase
from kenpin_wire.shadow import ShadowReport

KS_PLAIN, PSI_PLAIN = 0.3, 0.25
"""From here on a shift is called plain; the shadow gate's own limits by default."""
PSI_NONE = 0.1


@dataclass(frozen=True, slots=True)
class Shown:
    """A state as it stands on a page: word, level (ok, info, warn, alarm or off) and icon."""

    word: str
    level: str
    icon: str


def status_shown(view: RolloutView) -> Shown:
    """The rollout as a whole; one that waits for a person says so before anything else."""
    if view.status is Status.RUNNING and waits_for_a_person(view):
        return Shown("Waits for you", "warn", "front_hand")
    return _STATUS[view.status]


def waits_for_a_person(view: RolloutView) -> bool:
    if any(device.can_approve for device in view.devices.values()):
        return True
    running = (wave for wave in view.waves if wave.state == "running")
    return any(g.name == "approval" and g.state is GateState.WAIT for wave in running for g in wave.gates)


def device_shown(device: RolloutDeviceView, *, over: bool = False) -> Shown:
    """A device's place in the rollout (`over`: one that has ended). What it says of itself goes before our own
    word for it."""
    if over and device.stage is Stage.HELD:
        return Shown("Never got it", "off", "shield")
    if device.can_approve:
        return Shown("Waits for your yes", "warn", "front_hand")
    if device.stage is Stage.UNDER_WAY:
        level, icon = _PHASES.get(device.phase, ("info", "sync"))
        return Shown(words.phase_text(device.phase), level, icon)
    if device.stage in (Stage.DONE, Stage.FAILED) and device.phase in _PHASES:
        level, icon = _PHASES[device.phase]
        return Shown(words.phase_text(device.phase), level, icon)
    if device.behind and device.stage is Stage.WAITING:
        return Shown("Left behind", "warn", "power_off")
    return _STAGES[device.stage]


def moving(device: RolloutDeviceView) -> bool:
    """Whether something is going on with it just now."""
    return device.stage in _MOVING


def switched(device: RolloutDeviceView) -> bool:
    """Whether it runs what is rolled out, and could be sent back."""
    return device.stage is Stage.DONE


def subject_text(plan: Plan) -> str:
    """`bracket-1.3.0`, or the threshold of it that is rolled out."""
    wish, release = plan.subject.threshold, plan.subject.release
    if wish is None:
        return str(release)
    if wish.value is not None:
        return f"Threshold {score_text(wish.value)} for {release}"
    if wish.false_rejects is not None:
        return f"Threshold for {100 * wish.false_rejects:g} % false rejects, {release}"
    return f"{release}'s own threshold"


def targets_text(targets: Targets) -> str:
    """To whom, in the words of whoever asked."""
    if targets.devices is not None:
        few = len(targets.devices) <= 3
        return ", ".join(targets.devices) if few else f"{len(targets.devices)} named cameras"
    parts = [f"line {targets.line}" if targets.line else "", f"tagged {targets.tag}" if targets.tag else ""]
    return " and ".join(part for part in parts if part) or "every camera"


def wave_title(wave: WaveView, waves: Sequence[WaveView]) -> str:
    """`Canary` for a first single camera that others come after, else by its number."""
    if wave is waves[0] and len(wave.devices) == 1 and len(waves) > 1:
        return "Canary"
    return f"Wave {wave.number + 1}" if len(waves) > 1 else "All at once"


@dataclass(frozen=True, slots=True)
class Shares:
    """A wave in a bar: how many devices have it, are on their way to it, and don't get it."""

    done: int
    moving: int
    failed: int
    total: int

    @property
    def sentence(self) -> str:
        parts = [
            f"{self.done} of {self.total} have it",
            f"{self.moving} under way" if self.moving else "",
            f"{self.failed} failed or went back" if self.failed else "",
        ]
        return ", ".join(part for part in parts if part)


def wave_level(wave: WaveView, *, over: bool) -> str:
    """How a wave stands: `alarm` if a gate has closed on it, else done, running, ahead, or `spared` for one that an
    ended rollout never came to."""
    if any(gate.state is GateState.CLOSED for gate in wave.gates):
        return "alarm"
    return "spared" if over and wave.state == "ahead" else wave.state


def shares(wave: WaveView, devices: dict[str, RolloutDeviceView]) -> Shares:
    here = [devices[name] for name in wave.devices if name in devices]
    return Shares(
        done=sum(device.stage is Stage.DONE for device in here),
        moving=sum(device.stage in _MOVING - _ENDED_BADLY for device in here),
        failed=sum(device.stage in _ENDED_BADLY for device in here),
        total=len(wave.devices),
    )


def to_look_at(names: Sequence[str], devices: dict[str, RolloutDeviceView], limit: int) -> list[str]:
    """Of many devices those that a person wants to see first, in their own order."""
    if len(names) <= limit:
        return list(names)
    ranked = sorted(names, key=lambda name: _RANK.get(devices[name].stage, 9) if name in devices else 9)
    chosen = set(ranked[:limit])
    return [name for name in names if name in chosen]


def clock_text(time_s: float, now_s: float) -> str:
    """`14:03:22` today, with the date before."""
    then = datetime.fromtimestamp(time_s)
    same_day = then.date() == datetime.fromtimestamp(now_s).date()
    return then.strftime("%H:%M:%S" if same_day else "%d %b %H:%M")


def entry_text(entry: TimelineEntry) -> str:
    """What happened, as a sentence where it begins one."""
    begins = not (entry.who or entry.device)
    return f"{entry.text[:1].upper()}{entry.text[1:]}" if begins else entry.text


def shift_shown(report: ShadowReport) -> Shown:
    """Whether the two releases see the same parts, in a word. Never red: whether it is too much, and more than chance
    would do, says the shadow gate."""
    if report.ks >= KS_PLAIN or report.psi >= PSI_PLAIN:
        return Shown("plain shift", "warn", "call_split")
    if report.psi >= PSI_NONE:
        return Shown("some shift", "warn", "call_split")
    return Shown("no shift", "ok", "check")


def verdict_text(score: float, threshold: float | None) -> str:
    """`rejects: 2.31 over 1.60`."""
    if threshold is None:
        return f"score {score_text(score)}"
    word, side = ("rejects", "over") if score > threshold else ("passes", "under")
    return f"{word}: {score_text(score, threshold)} {side} {score_text(threshold)}"


def answers_text(plan: Plan) -> str:
    """What it does to say which of the two releases is right about a frame."""
    question = "Look at each part: which of the two judged it rightly?"
    if plan.gates.approval is None:
        return f"{question} Nothing goes on by these answers alone; they stand with the rollout."
    share = plan.gates.approval.verdicts_share
    return (
        f"{question} Your answers are the approval: with all given, {share:.0%} for the new one, it goes on."
    )


def judged_text(records: Iterable[DisagreementRecord]) -> str:
    """How far the looking has come."""
    shown = list(records)
    new = sum(record.right == "new" for record in shown)
    old = sum(record.right == "old" for record in shown)
    left = len(shown) - new - old
    rest = f"{left} to look at" if left else "all looked at"
    return f"{new} for the new one · {old} for the old one · {rest}"


_STATUS = {
    Status.RUNNING: Shown("Running", "info", "play_circle"),
    Status.PAUSED: Shown("Paused", "warn", "pause_circle"),
    Status.REVERTING: Shown("Going back", "alarm", "undo"),
    Status.FINISHED: Shown("Finished", "ok", "check_circle"),
    Status.FAILED: Shown("Failed", "alarm", "report"),
    Status.HALTED: Shown("Halted", "alarm", "report"),
    Status.REVERTED: Shown("Went back", "alarm", "report"),
    Status.ABORTED: Shown("Aborted", "warn", "cancel"),
}
_STAGES = {
    Stage.HELD: Shown("Its wave has not begun", "off", "schedule"),
    Stage.PASSED: Shown("Passed by", "off", "redo"),
    Stage.WAITING: Shown("Asked, no answer yet", "info", "hourglass_empty"),
    Stage.UNDER_WAY: Shown("Under way", "info", "sync"),
    Stage.RETRYING: Shown("Asked again soon", "warn", "replay"),
    Stage.DONE: Shown("In use", "ok", "check_circle"),
    Stage.FAILED: Shown("Failed", "alarm", "report"),
    Stage.CANCELLING: Shown("Being cancelled", "warn", "cancel"),
    Stage.CANCELLED: Shown("Cancelled", "off", "cancel"),
    Stage.RETURNING: Shown("Going back", "warn", "undo"),
    Stage.RETURNED: Shown("Back on the old one", "warn", "undo"),
    Stage.SUPERSEDED: Shown("Has a later order", "off", "swap_horiz"),
}
_PHASES = {
    Phase.DOWNLOADING.value: ("info", "downloading"),
    Phase.VERIFYING.value: ("info", "fact_check"),
    Phase.STAGED.value: ("info", "inventory_2"),
    Phase.SHADOWING.value: ("info", "compare"),
    Phase.ACTIVATING.value: ("info", "sync"),
    Phase.TRIAL.value: ("info", "science"),
    Phase.COMMITTED.value: ("ok", "check_circle"),
    Phase.REJECTED.value: ("alarm", "report"),
    Phase.FAILED_NO_CHANGE.value: ("alarm", "report"),
    Phase.ROLLED_BACK.value: ("alarm", "undo"),
    Phase.ROLLBACK_FAILED.value: ("alarm", "report"),
    Phase.TIMED_OUT.value: ("alarm", "timer_off"),
}
_MOVING = frozenset({Stage.WAITING, Stage.UNDER_WAY, Stage.RETRYING, Stage.CANCELLING, Stage.RETURNING})
_ENDED_BADLY = frozenset({Stage.FAILED, Stage.RETURNED, Stage.RETURNING})
_RANK = {
    Stage.FAILED: 0,
    Stage.RETRYING: 1,
    Stage.RETURNING: 2,
    Stage.UNDER_WAY: 3,
    Stage.WAITING: 4,
    Stage.RETURNED: 5,
    Stage.DONE: 6,
}
