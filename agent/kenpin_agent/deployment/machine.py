"""The deployment of a release on one device, as a pure function over a table.

    advance(state, event) -> (state, effects)

This module opens no file, asks nobody and reads no clock. Whoever runs it stores the new state first and then
performs the effects, which may be repeated: after a restart the only event is `Restarted`.

Two slots hold two unpacked releases. `state.committed` names the one that the device starts with; a candidate
lies in the other, and becomes `committed` only after it has judged real frames in its trial. So whatever
happens between, a restart finds a committed release, or none if there never was one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from enum import Enum, StrEnum

from kenpin_agent.deployment.events import (
    Activated,
    CommittedLost,
    Event,
    Fetched,
    FetchFailed,
    HashDiffers,
    Ordered,
    Refused,
    Restarted,
    TrialFailed,
    TrialPassed,
    Verified,
)
from kenpin_wire.messages import DesiredRelease, Phase, ReleaseName

MAX_FETCHES = 2
"""How often one order's file is fetched anew because its hash was wrong."""
MAX_STARTS = 3
"""How often one order's candidate is taken up again because the program restarted meanwhile. A crash loop ends
here. Reboots are innocent mostly, so the file is not quarantined: a new order tries it again."""
MAX_QUARANTINE = 50


class Slot(StrEnum):
    A = "a"
    B = "b"

    @property
    def other(self) -> Slot:
        return Slot.B if self is Slot.A else Slot.A


@dataclass(frozen=True, slots=True)
class Installed:
    """A release in a slot. `rev` is that of the order it came by, 0 for a file given on the device itself."""

    slot: Slot
    release: ReleaseName
    sha256: str
    rev: int = 0


@dataclass(frozen=True, slots=True)
class State:
    """All that must survive a restart.

    Attributes:
        committed: What the device runs and starts with.
        order: The order last taken up, whatever became of it.
        pending: An order that came while a candidate was being switched in; taken up after it.
        fetches, starts: How often this order's file was fetched, and its candidate taken up again.
        quarantine: sha256 of files that failed on this device, with the reason. Not tried again.
    """

    phase: Phase = Phase.IDLE
    committed: Installed | None = None
    order: DesiredRelease | None = None
    pending: DesiredRelease | None = None
    reason: str = ""
    fetches: int = 0
    starts: int = 0
    quarantine: dict[str, str] = field(default_factory=dict)

    @property
    def candidate_slot(self) -> Slot:
        """Where the next release goes: the slot that is not committed."""
        return self.committed.slot.other if self.committed else Slot.A


class Effect(Enum):
    """What to do next. Each may be done again without harm."""

    FETCH = "fetch what is missing of the file"
    DISCARD = "delete the fetched file"
    VERIFY = "check the hash, unpack, load, run the golden pictures"
    ACTIVATE = "hand the candidate to the inspection loop"
    REVERT = "hand the committed release back to the inspection loop"
    TAKE_PENDING = "take up the order that waited"


# The table -------------------------------------------------------------------------------------------------

Guard = Callable[[State, Event], bool]


@dataclass(frozen=True, slots=True)
class Row:
    """In phase `source`, on `event`, if `guard` holds: go to `target` and do `effects`. First match wins.

    `target` None stays in the phase.
    """

    source: Phase
    event: type
    guard: Guard
    target: Phase | None
    effects: tuple[Effect, ...] = ()
    says: str = ""
    """For the drawing in the docs: what tells this row from the others, or what else it does."""

    @property
    def quiet(self) -> bool:
        """Whether the row ignores an order for good, rather than letting it wait."""
        return self.guard is _stale


def _always(_state: State, _event: Event) -> bool:
    return True


def _stale(state: State, event: Event) -> bool:
    """An order that is known already, or older than one that is. Rev 0 is the operator's, and always new."""
    assert isinstance(event, Ordered)
    return state.order is not None and 0 < event.order.rev <= state.order.rev


def _installed(state: State, event: Event) -> bool:
    assert isinstance(event, Ordered)
    return state.committed is not None and state.committed.sha256 == event.order.sha256


def _quarantined(state: State, event: Event) -> bool:
    assert isinstance(event, Ordered)
    return event.order.sha256 in state.quarantine


def _fetch_again(state: State, _event: Event) -> bool:
    return state.fetches < MAX_FETCHES


def _start_again(state: State, _event: Event) -> bool:
    return state.starts < MAX_STARTS


def _order_is_sound(state: State, _event: Event) -> bool:
    return state.order is not None and state.order.sha256 not in state.quarantine


_P, _E = Phase, Effect

RESTING = (
    _P.IDLE,
    _P.COMMITTED,
    _P.REJECTED,
    _P.FAILED_NO_CHANGE,
    _P.ROLLED_BACK,
    _P.ROLLBACK_FAILED,
    _P.CANCELLED,
    _P.TIMED_OUT,
)
"""Phases in which nothing is under way."""

# fmt: off
TABLE: tuple[Row, ...] = (
    *(row for phase in Phase for row in (
        Row(phase, CommittedLost, _order_is_sound, _P.DOWNLOADING, (), "fetched anew at Restarted"),
        Row(phase, CommittedLost, _always, _P.IDLE),
    )),

    *(row for phase in RESTING for row in (
        Row(phase, Ordered, _stale, None, (), "known already"),
        Row(phase, Ordered, _installed, _P.COMMITTED, (), "runs already"),
        Row(phase, Ordered, _quarantined, _P.REJECTED, (), "failed here before"),
        Row(phase, Ordered, _always, _P.DOWNLOADING, (_E.FETCH,), "new order"),
        Row(phase, Restarted, _always, None, (_E.TAKE_PENDING,)),
    )),

    Row(_P.DOWNLOADING, Ordered, _stale, None, (), "known already"),
    Row(_P.DOWNLOADING, Ordered, _installed, _P.COMMITTED, (_E.DISCARD,), "back to what runs"),
    Row(_P.DOWNLOADING, Ordered, _quarantined, _P.REJECTED, (_E.DISCARD,), "failed here before"),
    Row(_P.DOWNLOADING, Ordered, _always, _P.DOWNLOADING, (_E.FETCH,), "a newer order"),
    Row(_P.DOWNLOADING, Fetched, _always, _P.VERIFYING, (_E.VERIFY,)),
    Row(_P.DOWNLOADING, FetchFailed, _always, _P.FAILED_NO_CHANGE, (), "the event's own end phase"),
    Row(_P.DOWNLOADING, Restarted, _always, _P.DOWNLOADING, (_E.FETCH,), "resumes"),

    Row(_P.VERIFYING, Ordered, _always, None, (), "waits as pending"),
    Row(_P.VERIFYING, Verified, _always, _P.ACTIVATING, (_E.ACTIVATE,)),
    Row(_P.VERIFYING, HashDiffers, _fetch_again, _P.DOWNLOADING, (_E.DISCARD, _E.FETCH), "fetched anew"),
    Row(_P.VERIFYING, HashDiffers, _always, _P.REJECTED, (_E.DISCARD, _E.TAKE_PENDING)),
    Row(_P.VERIFYING, Refused, _always, _P.REJECTED, (_E.DISCARD, _E.TAKE_PENDING), "quarantined"),
    Row(_P.VERIFYING, FetchFailed, _always, _P.FAILED_NO_CHANGE, (_E.TAKE_PENDING,), "the disk, say"),
    Row(_P.VERIFYING, Restarted, _start_again, _P.VERIFYING, (_E.VERIFY,)),
    Row(_P.VERIFYING, Restarted, _always, _P.FAILED_NO_CHANGE, (_E.DISCARD, _E.TAKE_PENDING), "a crash loop"),

    Row(_P.ACTIVATING, Ordered, _always, None, (), "waits as pending"),
    Row(_P.ACTIVATING, Activated, _always, _P.TRIAL),
    Row(_P.ACTIVATING, TrialFailed, _always, _P.ROLLED_BACK, (_E.REVERT, _E.DISCARD, _E.TAKE_PENDING), "quarantined"),
    Row(_P.ACTIVATING, Restarted, _start_again, _P.VERIFYING, (_E.VERIFY,)),
    Row(_P.ACTIVATING, Restarted, _always, _P.ROLLED_BACK, (_E.DISCARD, _E.TAKE_PENDING), "a crash loop"),

    Row(_P.TRIAL, Ordered, _always, None, (), "waits as pending"),
    Row(_P.TRIAL, TrialPassed, _always, _P.COMMITTED, (_E.DISCARD, _E.TAKE_PENDING)),
    Row(_P.TRIAL, TrialFailed, _always, _P.ROLLED_BACK, (_E.REVERT, _E.DISCARD, _E.TAKE_PENDING), "quarantined"),
    Row(_P.TRIAL, Restarted, _start_again, _P.VERIFYING, (_E.VERIFY,)),
    Row(_P.TRIAL, Restarted, _always, _P.ROLLED_BACK, (_E.DISCARD, _E.TAKE_PENDING), "a crash loop"),
)
# fmt: on


class IllegalEventError(Exception):
    """The event cannot happen in this phase; the state is as it was."""


def advance(state: State, event: Event) -> tuple[State, tuple[Effect, ...]]:
    """What `event` makes of `state`, and what to do about it.

    Raises:
        IllegalEventError: if the table has no row for it.
    """
    for row in TABLE:
        if row.source is state.phase and row.event is type(event) and row.guard(state, event):
            return _move(state, event, row), row.effects
    raise IllegalEventError(f"{type(event).__name__} in phase {state.phase.value}")


def _move(state: State, event: Event, row: Row) -> State:
    """The state after `row`: everything that is more than a change of phase."""
    target = row.target
    if isinstance(event, Ordered):
        if target is not None:
            return _take_up(state, event.order, target)
        newest = state.pending or state.order
        waits = not row.quiet and (newest is None or event.order.rev > newest.rev)
        return replace(state, pending=event.order) if waits else state
    match event:
        case CommittedLost():
            assert target is not None
            return replace(state, phase=target, committed=None, reason=event.reason)
        case FetchFailed():
            return replace(state, phase=event.phase, reason=event.reason)
        case HashDiffers() if target is Phase.DOWNLOADING:
            return replace(state, phase=target, fetches=state.fetches + 1)
        case HashDiffers():
            reason = f"the file's sha256 was wrong {state.fetches + 1} times"
            return replace(state, phase=Phase.REJECTED, reason=reason)
        case Refused() | TrialFailed():
            assert target is not None
            return _condemn(state, target, event.reason)
        case TrialPassed():
            return replace(state, phase=Phase.COMMITTED, committed=_candidate(state), reason="")
        case Restarted() if target is Phase.VERIFYING:
            return replace(state, phase=target, starts=state.starts + 1)
        case Restarted() if target in (Phase.FAILED_NO_CHANGE, Phase.ROLLED_BACK):
            reason = f"the program restarted {state.starts + 1} times while this release was switched in"
            return replace(state, phase=target, reason=reason)
    return state if target is None else replace(state, phase=target)


def _take_up(state: State, order: DesiredRelease, target: Phase) -> State:
    """Begin with a new order; its counters start anew."""
    reason = ""
    if target is Phase.REJECTED:
        reason = f"failed on this device before: {state.quarantine[order.sha256]}"
    committed = state.committed
    if target is Phase.COMMITTED and committed is not None:
        committed = replace(committed, rev=order.rev)
    return State(target, committed, order, reason=reason, quarantine=state.quarantine)


def _condemn(state: State, target: Phase, reason: str) -> State:
    assert state.order is not None
    quarantine = {**state.quarantine, state.order.sha256: reason}
    while len(quarantine) > MAX_QUARANTINE:
        del quarantine[next(iter(quarantine))]
    return replace(state, phase=target, reason=reason, quarantine=quarantine)


def _candidate(state: State) -> Installed:
    assert state.order is not None
    return Installed(state.candidate_slot, state.order.release, state.order.sha256, state.order.rev)
