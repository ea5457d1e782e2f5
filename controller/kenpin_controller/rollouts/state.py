"""A rollout's state, what can happen to it, and what follows. Pure values; `machine.step` joins them.

Times are UNIX seconds. The state is what the store keeps, as JSON.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from pydantic import Field

from kenpin_controller.errors import ConflictError
from kenpin_controller.rollouts.gates import Evidence
from kenpin_controller.rollouts.plan import Plan
from kenpin_controller.rollouts.views import GateView, Stage, Status
from kenpin_wire.messages import Decision, Part, Phase, Threshold

LIVE = frozenset({Status.RUNNING, Status.PAUSED, Status.REVERTING})
"""In these a rollout is not over."""
OUT = frozenset({Stage.WAITING, Stage.UNDER_WAY, Stage.RETRYING, Stage.CANCELLING, Stage.RETURNING})
"""In these something is still to come from a device."""
ON_ITS_WAY = frozenset({Stage.WAITING, Stage.UNDER_WAY, Stage.RETRYING})
"""In these a device may still come to run it."""
FAILED_PHASES = frozenset(
    {
        Phase.REJECTED,
        Phase.FAILED_NO_CHANGE,
        Phase.ROLLED_BACK,
        Phase.ROLLBACK_FAILED,
        Phase.CANCELLED,
        Phase.TIMED_OUT,
    }
)


class NotNowError(ConflictError):
    """What was asked for makes no sense as things stand; nothing has changed."""


class DeviceState(Part):
    """A device in a rollout.

    Attributes:
        wave: From 0; None if it was passed by from the start.
        rev: Of the last order that went out to it; the store fills it in. What the device says of older ones is old.
        since_s: When it came to this stage and phase.
        before: The release that ran when it was ordered, if the controller has its file: the way back.
        before_threshold: What was desired when the rollout put another threshold in its place, if it was anything;
            the store fills it in, and `remembered`.
        own_threshold: Whether the rollout did put another in its place.
        proposed: The threshold that a person approved for this camera, until it has gone out.
        activated: Whether it was told to switch.
        approved: Whether a person said that it may.
    """

    device: str
    line: str
    wave: int | None = None
    stage: Stage = Stage.HELD
    phase: str = ""
    reason: str = ""
    percent: float = 0.0
    since_s: float
    updated_s: float
    rev: int = 0
    attempts: int = 0
    behind: bool = False
    next_s: float | None = None
    before: str = ""
    before_threshold: Threshold | None = None
    remembered: bool = False
    own_threshold: bool = False
    switched_s: float | None = None
    proposed: float | None = None
    activated: bool = False
    approved: bool = False
    gate: GateView | None = None

    @property
    def switched(self) -> bool:
        """Whether it runs what is rolled out, as far as is known."""
        return self.switched_s is not None


class RolloutState(Part):
    """A rollout.

    Attributes:
        wave: The one that runs; earlier ones are over but for those left behind.
        waves_s: When each wave began.
        approved: Who said yes to each wave's successor, by wave.
        gates: What each wave's gates last said.
        ending: What a rollout that is REVERTING ends as.
        cause: Why it ended, where it did not end well.
    """

    id: str
    plan: Plan
    who: str
    started_s: float
    status: Status = Status.RUNNING
    wave: int = 0
    waves_s: tuple[float, ...] = ()
    approved: dict[int, str] = Field(default_factory=dict)
    gates: dict[int, tuple[GateView, ...]] = Field(default_factory=dict)
    ended_s: float | None = None
    cause: str = ""
    devices: dict[str, DeviceState]

    @property
    def label(self) -> str:
        """The release."""
        return str(self.plan.subject.release)

    @property
    def waves(self) -> int:
        """How many there are."""
        return 1 + max((d.wave for d in self.devices.values() if d.wave is not None), default=-1)

    @property
    def over(self) -> bool:
        """Whether nothing is to come any more, of any device. Until then it must be watched."""
        return self.status not in LIVE and not any(d.stage in OUT for d in self.devices.values())


@dataclass(frozen=True, slots=True)
class Sight:
    """What the controller knows of a device now.

    Attributes:
        runs: The release that it runs; empty if unknown.
        kept: Whether the controller has that release's file, and nobody recalled it.
        ours: Whether the last order that went out to it is this rollout's.
        pinned: Why rollouts pass it by; empty if they do not.
    """

    online: bool = False
    runs: str = ""
    kept: bool = False
    ours: bool = False
    pinned: str = ""


Sights = Mapping[str, Sight]


@dataclass(frozen=True, slots=True)
class Tick:
    """Time has passed. All that a rollout does of itself, it does here.

    Attributes:
        hour: The local hour, 0 to 24.
        evidence: None if nothing was measured this time; then no gate is asked.
    """

    sights: Sights
    hour: float
    evidence: Evidence | None = None


@dataclass(frozen=True, slots=True)
class Reported:
    """A device has said how its deployment stands: of order `rev`, about a release. `runs` is what is committed."""

    device: str
    rev: int
    phase: str
    about: str = ""
    reason: str = ""
    percent: float = 0.0
    runs: str = ""


@dataclass(frozen=True, slots=True)
class Configured:
    """A device has said what its settings are."""

    device: str
    rev: int
    error: str = ""


@dataclass(frozen=True, slots=True)
class Pause:
    who: str


@dataclass(frozen=True, slots=True)
class Resume:
    who: str


@dataclass(frozen=True, slots=True)
class Abort:
    """End it; with `revert`, send back what has switched. Also takes back what has ended."""

    who: str
    why: str
    revert: bool
    sights: Sights


@dataclass(frozen=True, slots=True)
class ApproveWave:
    who: str


@dataclass(frozen=True, slots=True)
class ApproveDevice:
    who: str
    device: str
    threshold: float | None = None


@dataclass(frozen=True, slots=True)
class Retry:
    who: str
    device: str


@dataclass(frozen=True, slots=True)
class Skip:
    who: str
    device: str
    why: str


@dataclass(frozen=True, slots=True)
class Taken:
    """A later order has gone out to the device. `against`: by a person who took it back, which is a failure."""

    device: str
    why: str
    against: bool = False


Event = (
    Tick | Reported | Configured | Pause | Resume | Abort | ApproveWave | ApproveDevice | Retry | Skip | Taken
)


@dataclass(frozen=True, slots=True)
class Order:
    """Publish a desired release for the device: the rollout's, with this decision."""

    device: str
    decision: Decision


@dataclass(frozen=True, slots=True)
class SendBack:
    """Publish a desired release for the device: the one that ran before."""

    device: str


@dataclass(frozen=True, slots=True)
class SetThreshold:
    """Publish desired settings for the device, with this threshold."""

    device: str
    threshold: Threshold


@dataclass(frozen=True, slots=True)
class RestoreThreshold:
    """Publish desired settings for the device, with the threshold that stood there before."""

    device: str


@dataclass(frozen=True, slots=True)
class Say:
    """Write into the timeline."""

    text: str
    device: str = ""
    who: str = ""


Effect = Order | SendBack | SetThreshold | RestoreThreshold | Say
