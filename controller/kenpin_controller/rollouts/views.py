"""How rollouts fare, for pages, REST and commands: immutable records, nothing else. Times are UNIX seconds, UTC."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from kenpin_controller.rollouts.plan import Plan
from kenpin_wire.messages import ReleaseName
from kenpin_wire.shadow import ShadowReport


class Status(StrEnum):
    """Where a rollout stands as a whole."""

    RUNNING = "running"
    PAUSED = "paused"
    REVERTING = "reverting"
    """A gate closed, or a person took it back: devices are on their way to what ran before."""
    FINISHED = "finished"
    FAILED = "failed"
    """All waves are over, and too few devices have it. A device that is asked again can still mend that."""
    HALTED = "halted"
    """A gate closed, and what had switched was left as it is."""
    REVERTED = "reverted"
    ABORTED = "aborted"


class Stage(StrEnum):
    """Where a device stands in a rollout."""

    HELD = "held"
    """Its wave has not begun."""
    PASSED = "passed"
    """It does not get it: pinned, skipped, or it does not run the threshold's release."""
    WAITING = "waiting"
    """The order is out, and the device has not said anything about it."""
    UNDER_WAY = "under way"
    """See the device's own phase."""
    RETRYING = "retrying"
    """It failed without a change, and is asked again at `next_s`."""
    DONE = "done"
    FAILED = "failed"
    CANCELLING = "cancelling"
    CANCELLED = "cancelled"
    RETURNING = "returning"
    """On its way back to what ran before."""
    RETURNED = "returned"
    SUPERSEDED = "superseded"
    """A later order, of another rollout or a person, took the device from this one."""


class GateState(StrEnum):
    OPEN = "open"
    WAIT = "wait"
    CLOSED = "closed"


@dataclass(frozen=True, slots=True)
class GateView:
    """What a gate says: `name` is success, soak, reject rate, heat, shadow, approval; `sentence` why."""

    name: str
    state: GateState
    sentence: str


@dataclass(frozen=True, slots=True)
class RolloutDeviceView:
    """A device of a rollout.

    Attributes:
        phase: One word for people: the device's own phase while it is under way or ended by itself (`trial`,
            `committed`, `rolled_back` ...), else the stage (`held`, `waiting`, `returned` ...).
        reason: Why, in the device's words or ours.
        wave: From 0; None if the rollout passes it by from the start.
        age_s: How long it has been where it is.
        behind: It no longer holds its wave up, but still gets it when it is back.
        next_s: When something is tried again; None if nothing is.
        before: The release that it goes back to; empty if there is none that the controller has.
        can_approve: Whether it waits for a person's yes to switch.
        proposed_threshold: What its shadowing proposes for this camera.
        shadow: The candidate beside the incumbent here, as last reported.
        gate: What the shadow gate says of it.
    """

    device: str
    line: str
    wave: int | None
    stage: Stage
    phase: str
    reason: str
    percent: float
    updated_s: float
    age_s: float
    attempts: int
    behind: bool
    next_s: float | None
    before: str
    can_approve: bool
    proposed_threshold: float | None
    shadow: ShadowReport | None
    gate: GateView | None


@dataclass(frozen=True, slots=True)
class WaveView:
    """A wave. `state` is `done`, `running` or `ahead`; `gates` what stood or stands between it and the next."""

    number: int
    devices: tuple[str, ...]
    state: str
    started_s: float | None
    gates: tuple[GateView, ...]


@dataclass(frozen=True, slots=True)
class TimelineEntry:
    """Something that happened. `who` is empty where nobody asked for it."""

    time_s: float
    who: str
    text: str
    device: str = ""


@dataclass(frozen=True, slots=True)
class RolloutView:
    """A rollout, whole.

    Attributes:
        sentence: How it stands and what it waits for, in one line.
        finished: Whether nothing of it is under way any more, well or not.
        disagreements: How many frames were told apart: `new`, `old` (which is right, by a person) and `open`.
    """

    id: str
    release: ReleaseName
    plan: Plan
    status: Status
    sentence: str
    finished: bool
    started_s: float
    ended_s: float | None
    who: str
    waves: tuple[WaveView, ...]
    devices: dict[str, RolloutDeviceView]
    timeline: tuple[TimelineEntry, ...]
    """Oldest first; empty in lists."""
    disagreements: dict[str, int]


class WhoIsRight(StrEnum):
    """A person's verdict on a disagreement."""

    NEW = "new"
    OLD = "old"


@dataclass(frozen=True, slots=True)
class DisagreementRecord:
    """A frame that candidate and incumbent judge differently. Its pictures come by their hashes."""

    id: str
    time_s: float
    rollout: str
    line: str
    device: str
    frame: int
    part: str | None
    incumbent: str
    incumbent_score: float
    incumbent_threshold: float | None
    candidate: str
    candidate_score: float
    candidate_threshold: float | None
    picture_sha256: str | None
    incumbent_heatmap_sha256: str | None
    candidate_heatmap_sha256: str | None
    right: WhoIsRight | None
    """Which of the two, by a person; None until somebody has looked."""
    judged_by: str
    judged_s: float | None


@dataclass(frozen=True, slots=True)
class Pin:
    """A device that rollouts pass by."""

    device: str
    release: str
    who: str
    why: str
    time_s: float

    @property
    def words(self) -> str:
        """Why it is passed by."""
        return f"pinned to {self.release or 'what it runs'} by {self.who}: {self.why}"


@dataclass(frozen=True, slots=True)
class AuditRecord:
    """Who did what."""

    id: int
    time_s: float
    who: str
    action: str
    subject: str
    detail: dict[str, Any]


@dataclass(frozen=True, slots=True)
class RecallResult:
    """A release that no rollout may use any more: who runs it, who was sent back, and who could not be and why."""

    release: ReleaseName
    running_on: tuple[str, ...]
    sent_back: tuple[str, ...]
    left: dict[str, str]
