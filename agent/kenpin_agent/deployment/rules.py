"""What the table's rows ask of a state, and what they make of it. Pure."""

from __future__ import annotations

from dataclasses import replace

from kenpin_agent.deployment.events import (
    CommittedLost,
    FetchFailed,
    FromLoop,
    HashDiffers,
    NotTrusted,
    Ordered,
    Refused,
    RepositoryAway,
    Restarted,
    ShadowFailed,
    ShadowTimedOut,
    SlotDamaged,
    Stopping,
    TrialFailed,
    TrialPassed,
    Verified,
)
from kenpin_agent.deployment.state import (
    MAX_CHECKS,
    MAX_FETCHES,
    MAX_QUARANTINE,
    MAX_STARTS,
    Installed,
    State,
)
from kenpin_wire.messages import Decision, DesiredRelease, Phase

# Guards: whether a row is meant -----------------------------------------------------------------------------


def always(_state: State, _event: object) -> bool:
    return True


def stale(state: State, event: Ordered) -> bool:
    """Known already, or older than one that is. Rev 0 is the operator's, and always new."""
    return not event.anew and 0 < event.order.rev <= state.seen and event.order != state.pending


def not_to_be_taken(_state: State, event: Ordered) -> bool:
    return bool(event.refusal) or not isinstance(event.order.decision, Decision)


def cancels_this(state: State, event: Ordered) -> bool:
    return _cancels(event) and _about(state.order, event)


def cancels_waiting(state: State, event: Ordered) -> bool:
    return _cancels(event) and _about(state.pending, event)


def cancels_nothing(_state: State, event: Ordered) -> bool:
    return _cancels(event)


def activates_this(state: State, event: Ordered) -> bool:
    return event.order.decision == Decision.ACTIVATE and _about(state.order, event)


def installed(state: State, event: Ordered) -> bool:
    return state.committed is not None and state.committed.sha256 == event.order.sha256


def quarantined(state: State, event: Ordered) -> bool:
    return event.order.rev > 0 and event.order.sha256 in state.quarantine


def way_back(state: State, event: Ordered) -> bool:
    return state.previous is not None and state.previous.sha256 == event.order.sha256


def check_again(state: State, _event: RepositoryAway) -> bool:
    return state.checks < MAX_CHECKS


def fetch_again(state: State, _event: HashDiffers) -> bool:
    return state.fetches < MAX_FETCHES


def start_again(state: State, _event: Restarted) -> bool:
    """An orderly end is no crash of the candidate's."""
    return state.stopped or state.starts < MAX_STARTS


def shadows(state: State, _event: Verified) -> bool:
    policy = state.order.policy if state.order else None
    return (
        not state.waited and policy is not None and policy.shadow is not None and state.committed is not None
    )


def waits_for_approval(state: State, event: object) -> bool:
    assert state.order is not None
    return not state.waited and state.order.policy.approval and current(state, event)


def current(state: State, event: object) -> bool:
    """Not about an offer that is gone."""
    return not isinstance(event, FromLoop) or event.rev is None or _rev(state) == event.rev


def current_and_alone(state: State, event: object) -> bool:
    return state.committed is None and current(state, event)


def alone(state: State, _event: object) -> bool:
    """There is no release to go back to."""
    return state.committed is None


def order_stands(state: State, _event: CommittedLost) -> bool:
    """What was ordered last is worth fetching, and is not what the other slot holds anyway."""
    order, dropped = state.order, (Phase.CANCELLED, Phase.REJECTED, Phase.ROLLED_BACK, Phase.ROLLBACK_FAILED)
    if order is None or order.sha256 in state.quarantine or state.phase in dropped:
        return False
    return state.previous is None or state.previous.sha256 != order.sha256


def has_previous(state: State, _event: CommittedLost) -> bool:
    return state.previous is not None


# Moves: the state after a row, but for its phase ------------------------------------------------------------


def same(state: State, _event: object) -> State:
    return state


def refuse(state: State, event: Ordered) -> State:
    why = event.refusal or f"this agent knows no decision {str(event.order.decision)!r}"
    return _refuse(state, event, why)


def refuse_cancel(state: State, event: Ordered) -> State:
    return _refuse(state, event, f"nothing of {event.order.release} is on its way")


def drop_waiting(state: State, event: Ordered) -> State:
    return replace(_heard(state, event), pending=None)


def wait(state: State, event: Ordered) -> State:
    return replace(_heard(state, event), pending=event.order)


def note(state: State, event: Ordered) -> State:
    return _heard(state, event)


def take_up(state: State, event: Ordered) -> State:
    """Begin with a new order; its counters start anew."""
    quarantine = {sha256: why for sha256, why in state.quarantine.items() if sha256 != event.order.sha256}
    return replace(_taken_up(state, event), quarantine=quarantine)


def take_back(state: State, event: Ordered) -> State:
    """The other slot's release becomes the candidate where it lies."""
    return replace(_taken_up(state, event), candidate=state.previous)


def keep_running(state: State, event: Ordered) -> State:
    assert state.committed is not None
    return replace(_taken_up(state, event), committed=replace(state.committed, rev=event.order.rev))


def refuse_quarantined(state: State, event: Ordered) -> State:
    why = state.quarantine[event.order.sha256]
    return replace(_taken_up(state, event), reason=f"failed on this device before: {why}")


def decide(state: State, event: Ordered) -> State:
    """Go on with the same release under the newer order, without waiting."""
    return replace(_heard(state, event), order=event.order, waited=True)


def cancel(state: State, event: Ordered) -> State:
    verb = "taken back" if state.phase is Phase.TRIAL else "cancelled"
    ended = _end(_heard(state, event), f"{verb} by order {event.order.rev}")
    return replace(ended, order=event.order)


def count_check(state: State, _event: RepositoryAway) -> State:
    return replace(state, checks=state.checks + 1)


def count_fetch(state: State, _event: HashDiffers) -> State:
    return replace(state, fetches=state.fetches + 1, candidate=None)


def begin_verifying(state: State, _event: object) -> State:
    """From here on the other slot is the candidate's."""
    return replace(state, previous=None, candidate=None)


def mistrust_slot(state: State, _event: SlotDamaged) -> State:
    return replace(state, previous=None, candidate=None)


def keep_candidate(state: State, event: Verified) -> State:
    return replace(state, candidate=_candidate(state, event.manifest_sha256))


def keep_candidate_to_run(state: State, event: Verified) -> State:
    return replace(keep_candidate(state, event), waited=True)


def to_run(state: State, _event: object) -> State:
    return replace(state, waited=True)


def fail(state: State, event: FetchFailed | NotTrusted | RepositoryAway | ShadowTimedOut) -> State:
    return _end(state, event.reason)


def fail_hash(state: State, _event: HashDiffers) -> State:
    return _end(state, f"the file's sha256 was wrong {state.fetches + 1} times")


def condemn(state: State, event: Refused | ShadowFailed | TrialFailed) -> State:
    assert state.order is not None
    quarantine = {**state.quarantine, state.order.sha256: event.reason}
    while len(quarantine) > MAX_QUARANTINE:
        del quarantine[next(iter(quarantine))]
    return replace(_end(state, event.reason), quarantine=quarantine)


def condemn_alone(state: State, event: TrialFailed) -> State:
    return replace(condemn(state, event), reason=f"{event.reason}; there is no release to go back to")


def commit(state: State, _event: TrialPassed) -> State:
    assert state.order is not None
    candidate = replace(state.candidate or _candidate(state, ""), rev=state.order.rev)
    return replace(_end(state, ""), committed=candidate, previous=state.committed)


def stop(state: State, _event: Stopping) -> State:
    return replace(state, stopped=True)


def restart(state: State, _event: Restarted) -> State:
    return replace(state, starts=state.starts + (not state.stopped), stopped=False)


def give_up(state: State, _event: Restarted) -> State:
    return _end(state, f"the program ended {state.starts + 1} times while this release was switched in")


def lose_committed(state: State, event: CommittedLost) -> State:
    """What ran before runs again, if it is there."""
    lost, back = state.committed, state.previous
    reason = f"{lost.release} can no longer be read ({event.reason})" if lost else event.reason
    if back is not None:
        reason += f"; {back.release}, which ran before it, runs again"
    fresh = replace(state, fetches=0, checks=0, starts=0, stopped=False)
    return replace(fresh, committed=back, previous=None, candidate=None, reason=reason)


# Helpers ----------------------------------------------------------------------------------------------------


def _cancels(event: Ordered) -> bool:
    return event.order.decision == Decision.CANCEL


def _about(order: DesiredRelease | None, event: Ordered) -> bool:
    return order is not None and order.sha256 == event.order.sha256


def _rev(state: State) -> int | None:
    return state.order.rev if state.order else None


def _heard(state: State, event: Ordered) -> State:
    rev = event.order.rev
    return replace(state, seen=rev if event.anew else max(state.seen, rev), refusal="")


def _refuse(state: State, event: Ordered, why: str) -> State:
    order = event.order
    pending = None if order == state.pending else state.pending
    refusal = f"order {order.rev} of {order.release} was not taken up: {why}"
    return replace(_heard(state, event), pending=pending, refusal=refusal)


def _taken_up(state: State, event: Ordered) -> State:
    return State(
        committed=state.committed,
        previous=state.previous,
        order=event.order,
        seen=_heard(state, event).seen,
        waited=event.order.decision == Decision.ACTIVATE,
        quarantine=state.quarantine,
    )


def _end(state: State, reason: str) -> State:
    return replace(state, reason=reason, candidate=None, stopped=False)


def _candidate(state: State, manifest_sha256: str) -> Installed:
    assert state.order is not None
    order = state.order
    return Installed(state.candidate_slot, order.release, order.sha256, order.rev, manifest_sha256)
