"""The deployment's transition table. The docs are drawn from it (`kenpin_agent.deployment.drawing`)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from kenpin_agent.deployment import events as e
from kenpin_agent.deployment import rules as r
from kenpin_agent.deployment.state import RESTING, Effect, State
from kenpin_wire.messages import Phase

Guard = Callable[[State, Any], bool]
Move = Callable[[State, Any], State]


@dataclass(frozen=True, slots=True)
class Row:
    """In phase `source`, on `event`, if `guard` holds: go to `target` and do `effects`. First match wins.

    Attributes:
        target: None stays in the phase.
        move: What becomes of the rest of the state.
        says: For the docs: what tells this row from the others, or what else it does.
    """

    source: Phase
    event: type
    guard: Guard
    target: Phase | None
    effects: tuple[Effect, ...] = ()
    says: str = ""
    move: Move = r.same


_P, _E = Phase, Effect
_END = (_E.DISCARD, _E.TAKE_PENDING)
_UNDO = (_E.REVERT, *_END)


# fmt: off
def _orders_at_rest(phase: Phase) -> tuple[Row, ...]:
    return (
        Row(phase, e.Ordered, r.stale, None, (), "known already"),
        Row(phase, e.Ordered, r.not_to_be_taken, None, (), "expired, or an unknown decision: refused with a reason", r.refuse),
        Row(phase, e.Ordered, r.cancels_nothing, None, (), "nothing to cancel: refused with a reason", r.refuse_cancel),
        Row(phase, e.Ordered, r.installed, _P.COMMITTED, (), "runs already", r.keep_running),
        Row(phase, e.Ordered, r.quarantined, _P.REJECTED, (), "failed here before", r.refuse_quarantined),
        Row(phase, e.Ordered, r.way_back, _P.VERIFYING, (_E.VERIFY,), "the way back: it lies in the other slot", r.take_back),
        Row(phase, e.Ordered, r.always, _P.DOWNLOADING, (_E.FETCH,), "a new order", r.take_up),
    )


def _orders_before_activation(phase: Phase, activate: Row, *undo: Effect) -> tuple[Row, ...]:
    """A newer order takes the place of what is on its way. `undo` is what must be done first."""
    return (
        Row(phase, e.Ordered, r.stale, None, (), "known already"),
        Row(phase, e.Ordered, r.not_to_be_taken, None, (), "expired, or an unknown decision: refused with a reason", r.refuse),
        Row(phase, e.Ordered, r.cancels_this, _P.CANCELLED, (*undo, *_END), "cancelled", r.cancel),
        Row(phase, e.Ordered, r.cancels_waiting, None, (), "cancels the order that waits", r.drop_waiting),
        Row(phase, e.Ordered, r.cancels_nothing, None, (), "nothing to cancel: refused with a reason", r.refuse_cancel),
        activate,
        Row(phase, e.Ordered, r.installed, _P.COMMITTED, (*undo, _E.DISCARD), "back to what runs", r.keep_running),
        Row(phase, e.Ordered, r.quarantined, _P.REJECTED, (*undo, _E.DISCARD), "failed here before", r.refuse_quarantined),
        Row(phase, e.Ordered, r.way_back, _P.VERIFYING, (*undo, _E.VERIFY), "the way back", r.take_back),
        Row(phase, e.Ordered, r.always, _P.DOWNLOADING, (*undo, _E.FETCH), "a newer order", r.take_up),
    )


def _orders_from_activation_on(phase: Phase, cancelled: Phase) -> tuple[Row, ...]:
    """The candidate is in the loop's hands; another order waits until its trial has ended."""
    return (
        Row(phase, e.Ordered, r.stale, None, (), "known already"),
        Row(phase, e.Ordered, r.not_to_be_taken, None, (), "expired, or an unknown decision: refused with a reason", r.refuse),
        Row(phase, e.Ordered, r.cancels_this, cancelled, _UNDO, "cancelled", r.cancel),
        Row(phase, e.Ordered, r.cancels_waiting, None, (), "cancels the order that waits", r.drop_waiting),
        Row(phase, e.Ordered, r.cancels_nothing, None, (), "nothing to cancel: refused with a reason", r.refuse_cancel),
        Row(phase, e.Ordered, r.activates_this, None, (), "under way already", r.note),
        Row(phase, e.Ordered, r.installed, _P.COMMITTED, (_E.REVERT, _E.DISCARD), "back to what was committed", r.keep_running),
        Row(phase, e.Ordered, r.always, None, (), "waits for the trial's end", r.wait),
    )


def _restarts(phase: Phase, end: Phase) -> tuple[Row, ...]:
    """The program ended while the candidate was in its memory."""
    return (
        Row(phase, e.Restarted, r.start_again, _P.VERIFYING, (_E.VERIFY,), "taken up again, a bounded number of times", r.restart),
        *((Row(phase, e.Restarted, r.alone, _P.ROLLBACK_FAILED, _END, "a crash loop, and nothing to go back to", r.give_up),) if end is _P.ROLLED_BACK else ()),
        Row(phase, e.Restarted, r.always, end, _END, "a crash loop", r.give_up),
        Row(phase, e.Stopping, r.always, None, (), "so that the restart is no crash", r.stop),
    )


def _wrong_hashes(phase: Phase) -> tuple[Row, ...]:
    return (
        Row(phase, e.HashDiffers, r.fetch_again, _P.DOWNLOADING, (_E.DISCARD, _E.FETCH), "fetched anew, a bounded number of times", r.count_fetch),
        Row(phase, e.HashDiffers, r.always, _P.REJECTED, _END, "wrong again and again", r.fail_hash),
    )


TABLE: tuple[Row, ...] = (
    *(row for phase in Phase for row in (
        Row(phase, e.CommittedLost, r.order_stands, _P.DOWNLOADING, (), "fetched anew at the restart", r.lose_committed),
        Row(phase, e.CommittedLost, r.has_previous, _P.ROLLED_BACK, (), "what ran before it runs", r.lose_committed),
        Row(phase, e.CommittedLost, r.always, _P.ROLLBACK_FAILED, (), "nothing is left to run", r.lose_committed),
    )),

    *(row for phase in RESTING for row in (
        *_orders_at_rest(phase),
        Row(phase, e.Restarted, r.always, None, (_E.TAKE_PENDING,)),
    )),

    *_orders_before_activation(
        _P.DOWNLOADING,
        Row(_P.DOWNLOADING, e.Ordered, r.activates_this, None, (), "it need not wait any more", r.decide),
    ),
    Row(_P.DOWNLOADING, e.NotTrusted, r.always, _P.REJECTED, _END, "not signed", r.fail),
    Row(_P.DOWNLOADING, e.RepositoryAway, r.check_again, None, (_E.FETCH_LATER,), "asked again, a bounded number of times", r.count_check),
    Row(_P.DOWNLOADING, e.RepositoryAway, r.always, _P.FAILED_NO_CHANGE, _END, "nobody can say whether it is signed", r.fail),
    Row(_P.DOWNLOADING, e.FetchFailed, r.always, _P.FAILED_NO_CHANGE, _END, "or the event's own end phase", r.fail),
    *_wrong_hashes(_P.DOWNLOADING),
    Row(_P.DOWNLOADING, e.Fetched, r.always, _P.VERIFYING, (_E.VERIFY,), "the other slot is the candidate's from here on", r.begin_verifying),
    Row(_P.DOWNLOADING, e.Restarted, r.always, None, (_E.FETCH,), "goes on where it was"),

    *_orders_before_activation(
        _P.VERIFYING,
        Row(_P.VERIFYING, e.Ordered, r.activates_this, None, (), "it need not wait any more", r.decide),
    ),
    Row(_P.VERIFYING, e.Verified, r.shadows, _P.SHADOWING, (_E.SHADOW,), "its policy asks for a shadow", r.keep_candidate),
    Row(_P.VERIFYING, e.Verified, r.waits_for_approval, _P.STAGED, (_E.WITHDRAW,), "its policy asks for approval", r.keep_candidate),
    Row(_P.VERIFYING, e.Verified, r.always, _P.ACTIVATING, (_E.ACTIVATE,), "", r.keep_candidate_to_run),
    *_wrong_hashes(_P.VERIFYING),
    Row(_P.VERIFYING, e.SlotDamaged, r.always, _P.DOWNLOADING, (_E.FETCH,), "fetched after all", r.mistrust_slot),
    Row(_P.VERIFYING, e.Refused, r.always, _P.REJECTED, _END, "quarantined", r.condemn),
    Row(_P.VERIFYING, e.FetchFailed, r.always, _P.FAILED_NO_CHANGE, _END, "the disk, say", r.fail),
    *_restarts(_P.VERIFYING, _P.FAILED_NO_CHANGE),

    *_orders_before_activation(
        _P.STAGED,
        Row(_P.STAGED, e.Ordered, r.activates_this, _P.VERIFYING, (_E.VERIFY,), "approved; looked through once more", r.decide),
    ),
    Row(_P.STAGED, e.Restarted, r.always, None, (), "goes on waiting"),

    *_orders_before_activation(
        _P.SHADOWING,
        Row(_P.SHADOWING, e.Ordered, r.activates_this, _P.ACTIVATING, (_E.ACTIVATE,), "approved before the shadow's end", r.decide),
        _E.WITHDRAW,
    ),
    Row(_P.SHADOWING, e.ShadowDone, r.waits_for_approval, _P.STAGED, (_E.WITHDRAW,), "its policy asks for approval"),
    Row(_P.SHADOWING, e.ShadowDone, r.current, _P.ACTIVATING, (_E.ACTIVATE,), "", r.to_run),
    Row(_P.SHADOWING, e.ShadowFailed, r.current, _P.REJECTED, (_E.WITHDRAW, *_END), "quarantined", r.condemn),
    Row(_P.SHADOWING, e.ShadowTimedOut, r.current, _P.TIMED_OUT, (_E.WITHDRAW, *_END), "", r.fail),
    *_restarts(_P.SHADOWING, _P.FAILED_NO_CHANGE),

    *_orders_from_activation_on(_P.ACTIVATING, _P.CANCELLED),
    Row(_P.ACTIVATING, e.NotTrusted, r.always, _P.REJECTED, (_E.WITHDRAW, *_END), "no longer signed", r.fail),
    Row(_P.ACTIVATING, e.Activated, r.current, _P.TRIAL),
    Row(_P.ACTIVATING, e.TrialFailed, r.current_and_alone, _P.ROLLBACK_FAILED, _UNDO, "quarantined, and nothing to go back to", r.condemn_alone),
    Row(_P.ACTIVATING, e.TrialFailed, r.current, _P.ROLLED_BACK, _UNDO, "quarantined", r.condemn),
    *_restarts(_P.ACTIVATING, _P.ROLLED_BACK),

    *_orders_from_activation_on(_P.TRIAL, _P.ROLLED_BACK),
    Row(_P.TRIAL, e.TrialPassed, r.current, _P.COMMITTED, _END, "what ran before stays in the other slot", r.commit),
    Row(_P.TRIAL, e.TrialFailed, r.current_and_alone, _P.ROLLBACK_FAILED, _UNDO, "quarantined, and nothing to go back to", r.condemn_alone),
    Row(_P.TRIAL, e.TrialFailed, r.current, _P.ROLLED_BACK, _UNDO, "quarantined", r.condemn),
    *_restarts(_P.TRIAL, _P.ROLLED_BACK),
)
# fmt: on
