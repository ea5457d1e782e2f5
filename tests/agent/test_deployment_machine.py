"""What a deployment may and may not do, whatever happens in whatever order."""

from __future__ import annotations

import typing
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kenpin_agent.deployment import events as e
from kenpin_agent.deployment.machine import IllegalEventError, advance
from kenpin_agent.deployment.state import (
    MAX_CHECKS,
    MAX_FETCHES,
    MAX_STARTS,
    RESTING,
    Effect,
    Installed,
    Slot,
    State,
)
from kenpin_agent.deployment.table import TABLE
from kenpin_wire.messages import Decision, DesiredRelease, Phase, Policy, ReleaseName, ShadowPolicy

EVENT_TYPES = [t for t in typing.get_args(e.Event) if isinstance(t, type)]
NOW = datetime(2026, 11, 22, tzinfo=UTC)
SHADOW = Policy(shadow=ShadowPolicy())
APPROVAL = Policy(approval=True)
BOTH = Policy(shadow=ShadowPolicy(), approval=True)


def order(
    rev: int, file: int = 0, policy: Policy | None = None, decision: str = Decision.INSTALL
) -> DesiredRelease:
    return DesiredRelease(
        ts=NOW,
        rev=rev,
        release=ReleaseName(name="part", version=str(file)),
        sha256=f"{file:064x}",
        size=1000,
        decision=decision,
        policy=policy or Policy(),
    )


orders = st.builds(
    order,
    st.integers(0, 9),
    st.integers(0, 4),
    st.sampled_from([Policy(), SHADOW, APPROVAL, BOTH]),
    st.sampled_from([*Decision, "explode"]),
)
revs = st.none() | st.integers(0, 9)
why = st.just("it raised")
events = st.one_of(
    st.builds(e.Ordered, orders, st.sampled_from(["", "", "", "it expired"]), st.booleans()),
    st.builds(e.NotTrusted, why),
    st.builds(e.RepositoryAway, why),
    st.just(e.Fetched()),
    st.builds(e.FetchFailed, why, st.sampled_from([Phase.FAILED_NO_CHANGE, Phase.TIMED_OUT])),
    st.just(e.HashDiffers()),
    st.builds(e.SlotDamaged, why),
    st.builds(e.Verified, st.just("ab")),
    st.builds(e.Refused, why),
    st.builds(e.ShadowDone, revs),
    st.builds(e.ShadowFailed, why, revs),
    st.builds(e.ShadowTimedOut, why, revs),
    st.builds(e.Activated, revs),
    st.builds(e.TrialPassed, revs),
    st.builds(e.TrialFailed, why, revs),
    st.builds(e.CommittedLost, why),
    st.just(e.Stopping()),
    st.just(e.Restarted()),
)
histories = st.lists(events, max_size=50)
Step = tuple[State, e.Event, State]


def play(history: list[e.Event], state: State | None = None) -> list[Step]:
    """Each step that the machine took: (before, event, after). Illegal events take none."""
    state, steps = state or State(), list[Step]()
    for event in history:
        if isinstance(event, e.CommittedLost) and state.committed is None:
            continue  # there is none to lose
        try:
            after, effects = advance(state, event)
        except IllegalEventError:
            continue
        steps.append((state, event, after))
        state = after
        if Effect.TAKE_PENDING in effects and state.pending is not None:
            pending = e.Ordered(state.pending)
            after, _ = advance(state, pending)
            steps.append((state, pending, after))
            state = after
    return steps


def end(history: list[e.Event], state: State | None = None) -> State:
    steps = play(history, state)
    return steps[-1][2] if steps else state or State()


def running(rev: int = 1, file: int = 1, state: State | None = None) -> State:
    """A device on which this release was committed."""
    return end(
        [e.Ordered(order(rev, file)), e.Fetched(), e.Verified("ab"), e.Activated(), e.TrialPassed()], state
    )


def on_its_way(phase: Phase, policy: Policy = BOTH) -> State:
    """Release 1 runs, and release 2 has come to this phase by order 2."""
    steps: dict[Phase, list[e.Event]] = {
        Phase.DOWNLOADING: [],
        Phase.VERIFYING: [e.Fetched()],
        Phase.SHADOWING: [e.Fetched(), e.Verified("ab")],
        Phase.STAGED: [e.Fetched(), e.Verified("ab"), e.ShadowDone()],
        Phase.ACTIVATING: [e.Fetched(), e.Verified("ab"), e.Ordered(order(3, 2, BOTH, Decision.ACTIVATE))],
        Phase.TRIAL: [
            e.Fetched(),
            e.Verified("ab"),
            e.Ordered(order(3, 2, BOTH, Decision.ACTIVATE)),
            e.Activated(),
        ],
    }
    state = end([e.Ordered(order(2, 2, policy)), *steps[phase]], running())
    assert state.phase is phase
    return state


UNDER_WAY = [phase for phase in Phase if phase not in RESTING]


# Whatever happens -------------------------------------------------------------------------------------------


@given(histories)
def test_only_a_passed_trial_or_a_lost_slot_changes_what_a_restart_runs(history: list[e.Event]) -> None:
    for before, event, after in play(history):
        same = (before.committed and before.committed.sha256) == (after.committed and after.committed.sha256)
        assert same or isinstance(event, e.TrialPassed | e.CommittedLost)


@given(histories)
def test_what_runs_was_committed_once(history: list[e.Event]) -> None:
    committed: set[str] = set()
    for _, event, after in play(history):
        if isinstance(event, e.TrialPassed):
            assert after.committed is not None
            committed.add(after.committed.sha256)
        if after.committed is not None:
            assert after.committed.sha256 in committed
        if after.previous is not None:
            assert after.previous.sha256 in committed


@given(histories)
def test_nothing_but_the_committed_release_lies_in_its_slot(history: list[e.Event]) -> None:
    for _, _, after in play(history):
        for other in (after.candidate, after.previous):
            assert other is None or other.slot is after.candidate_slot
        assert after.committed is None or after.candidate_slot is not after.committed.slot
        if after.candidate and after.previous:  # one slot cannot hold two
            assert after.candidate.sha256 == after.previous.sha256


@given(histories)
def test_every_end_that_is_no_success_gives_a_reason(history: list[e.Event]) -> None:
    for _, _, after in play(history):
        if after.phase in RESTING and after.phase not in (Phase.IDLE, Phase.COMMITTED):
            assert after.reason


@given(histories, st.booleans())
def test_crashes_alone_come_to_rest(history: list[e.Event], in_shadow: bool) -> None:
    state = end(history)
    for _ in range(2 * MAX_STARTS + 4):
        state = end([e.Restarted()], state)
        if state.phase is Phase.VERIFYING:  # and it crashes again in the loop
            state = end([e.Verified("ab"), *([] if in_shadow else [e.ShadowDone(), e.Activated()])], state)
    assert state.phase in (*RESTING, Phase.DOWNLOADING, Phase.STAGED)


@given(histories)
def test_a_file_that_failed_here_is_not_tried_again_but_by_the_operator(history: list[e.Event]) -> None:
    for before, event, after in play(history):
        if isinstance(event, e.Ordered) and after.order != before.order and event.order.rev > 0:
            failed = event.order.sha256 in before.quarantine
            new = after.phase in (Phase.DOWNLOADING, Phase.VERIFYING)
            same = before.order is not None and before.order.sha256 == event.order.sha256
            assert not (failed and new) or same


@given(histories)
def test_no_order_is_taken_up_that_is_not_newer_than_all_that_were_heard(history: list[e.Event]) -> None:
    heard = 0
    for before, event, after in play(history):
        if not isinstance(event, e.Ordered):
            continue
        rev = event.order.rev
        if 0 < rev <= heard and not event.anew and event.order != before.pending:
            assert after == before
        heard = rev if event.anew else max(heard, rev)


@given(histories)
def test_each_counter_stays_within_its_bound(history: list[e.Event]) -> None:
    for _, _, after in play(history):
        assert after.fetches <= MAX_FETCHES
        assert after.checks <= MAX_CHECKS
        assert after.starts <= MAX_STARTS + sum(isinstance(event, e.Stopping) for event in history)


@given(histories)
def test_a_refused_order_changes_nothing_but_says_why(history: list[e.Event]) -> None:
    for before, event, after in play(history):
        if after.refusal and after.refusal != before.refusal:
            assert isinstance(event, e.Ordered)
            kept = replace(before, refusal=after.refusal, seen=after.seen, pending=after.pending)
            assert after == kept


@given(histories)
def test_no_shadow_and_no_wait_is_passed_over_but_by_a_decision_or_its_end(history: list[e.Event]) -> None:
    for before, event, after in play(history):
        if after.phase is Phase.ACTIVATING and before.phase is Phase.VERIFYING and not before.waited:
            assert after.order is not None
            assert not after.order.policy.approval
            assert after.order.policy.shadow is None or after.committed is None
        if after.phase is Phase.ACTIVATING and before.phase is Phase.SHADOWING:
            assert isinstance(event, e.ShadowDone | e.Ordered)


# Every phase and every event --------------------------------------------------------------------------------


def sample(event_type: type) -> e.Event:
    """One event of this type that is about what is under way."""
    if event_type is e.Ordered:
        return e.Ordered(order(9, 4))
    event = event_type("a reason") if "reason" in event_type.__dataclass_fields__ else event_type()
    return typing.cast("e.Event", event)


@given(histories, events)
def test_an_event_without_a_row_raises_and_changes_nothing_and_no_other_does(
    history: list[e.Event], event: e.Event
) -> None:
    state = end(history)
    rows = [row for row in TABLE if row.source is state.phase and row.event is type(event)]
    meant = any(row.guard(state, event) for row in rows)
    if meant:
        advance(state, event)
    else:
        with pytest.raises(IllegalEventError):
            advance(state, event)


@pytest.mark.parametrize("phase", list(Phase))
@pytest.mark.parametrize("event_type", EVENT_TYPES)
def test_every_pair_is_in_the_table_or_leaves_the_state_untouched(phase: Phase, event_type: type) -> None:
    state = on_its_way(phase) if phase in UNDER_WAY else replace(running(), phase=phase)
    event = sample(event_type)
    rows = [row for row in TABLE if row.source is phase and row.event is event_type]
    if rows:
        after, _ = advance(state, event)
        assert after.phase in {row.target or phase for row in rows} | {getattr(event, "phase", phase)}
    else:
        with pytest.raises(IllegalEventError):
            advance(state, event)


@pytest.mark.parametrize("phase", list(Phase))
def test_the_last_row_of_an_event_that_must_be_answered_takes_all(phase: Phase) -> None:
    for event_type in (e.Ordered, e.Restarted, e.CommittedLost):
        rows = [row for row in TABLE if row.source is phase and row.event is event_type]
        assert rows[-1].guard(State(), sample(event_type))


@pytest.mark.parametrize("phase", UNDER_WAY)
def test_a_restart_keeps_what_is_committed(phase: Phase) -> None:
    assert end([e.Restarted()], on_its_way(phase)).committed == running().committed


# Shadow, approval, trial ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("policy", "phases"),
    [
        (Policy(), [Phase.ACTIVATING]),
        (SHADOW, [Phase.SHADOWING, Phase.ACTIVATING]),
        (APPROVAL, [Phase.STAGED, Phase.VERIFYING, Phase.ACTIVATING]),
        (BOTH, [Phase.SHADOWING, Phase.STAGED, Phase.VERIFYING, Phase.ACTIVATING]),
    ],
)
def test_a_release_goes_the_way_of_its_policy(policy: Policy, phases: list[Phase]) -> None:
    steps = play(
        [
            e.Ordered(order(2, 2, policy)),
            e.Fetched(),
            e.Verified("ab"),
            e.ShadowDone(2),
            *(
                [e.Ordered(order(3, 2, policy, Decision.ACTIVATE)), e.Verified("ab")]
                if policy.approval
                else []
            ),
            e.Activated(),
            e.TrialPassed(),
        ],
        running(),
    )
    assert [s[2].phase for s in steps] == [
        Phase.DOWNLOADING,
        Phase.VERIFYING,
        *phases,
        Phase.TRIAL,
        Phase.COMMITTED,
    ]
    final = steps[-1][2]
    assert final.committed is not None
    assert (final.committed.slot, final.committed.manifest_sha256) == (Slot.B, "ab")
    assert final.previous == running().committed


def test_a_first_release_has_nothing_to_shadow_beside() -> None:
    assert end([e.Ordered(order(1, 1, SHADOW)), e.Fetched(), e.Verified()]).phase is Phase.ACTIVATING


def test_a_shadow_that_fails_is_quarantined_and_one_without_frames_is_not() -> None:
    failed = end([e.ShadowFailed("it raised", 2)], on_its_way(Phase.SHADOWING))
    assert (failed.phase, failed.quarantine) == (Phase.REJECTED, {f"{2:064x}": "it raised"})
    late = end([e.ShadowTimedOut("4 frames of 30 came", 2)], on_its_way(Phase.SHADOWING))
    assert (late.phase, late.reason, late.quarantine) == (Phase.TIMED_OUT, "4 frames of 30 came", {})


def test_what_the_loop_says_of_a_candidate_that_is_gone_is_not_taken_for_the_next_ones() -> None:
    state = on_its_way(Phase.SHADOWING)
    for late in (e.ShadowDone(1), e.ShadowFailed("it raised", 1)):
        with pytest.raises(IllegalEventError):
            advance(state, late)
    with pytest.raises(IllegalEventError):
        advance(on_its_way(Phase.TRIAL), e.TrialPassed(2))  # its offer was order 3's


@pytest.mark.parametrize("phase", UNDER_WAY)
def test_a_cancelled_release_leaves_everything_as_it_was(phase: Phase) -> None:
    state = end([e.Ordered(order(4, 2, BOTH, Decision.CANCEL))], on_its_way(phase))
    in_trial = phase is Phase.TRIAL
    assert state.phase is (Phase.ROLLED_BACK if in_trial else Phase.CANCELLED)
    assert state.reason == ("taken back by order 4" if in_trial else "cancelled by order 4")
    assert state.committed == running().committed
    assert not state.quarantine
    again = end([e.Ordered(order(5, 2))], state)
    assert again.phase is Phase.DOWNLOADING


@pytest.mark.parametrize(
    ("decision", "says"),
    [("explode", "no decision 'explode'"), (Decision.CANCEL, "nothing of part-3 is on its way")],
)
@pytest.mark.parametrize("phase", list(Phase))
def test_a_decision_that_means_nothing_here_is_refused_with_a_reason(
    phase: Phase, decision: str, says: str
) -> None:
    before = on_its_way(phase) if phase in UNDER_WAY else replace(running(), phase=phase)
    after, effects = advance(before, e.Ordered(order(9, 3, decision=decision)))
    assert says in after.refusal
    assert (after.phase, after.order, after.committed, effects) == (
        phase,
        before.order,
        before.committed,
        (),
    )
    assert advance(after, e.Ordered(order(8, 3)))[0] == after  # what is older than it stays refused


def test_an_approval_of_what_is_still_being_fetched_spares_it_the_wait() -> None:
    approved = e.Ordered(order(3, 2, BOTH, Decision.ACTIVATE))
    for phase in (Phase.DOWNLOADING, Phase.VERIFYING):
        state = end([approved], on_its_way(phase))
        assert state.phase is phase
        assert end([e.Fetched(), e.Verified()], state).phase is Phase.ACTIVATING


def test_a_restart_in_its_trial_does_not_send_a_candidate_back_into_the_shadow() -> None:
    state = end([e.Restarted(), e.Verified("ab")], on_its_way(Phase.TRIAL))
    assert state.phase is Phase.ACTIVATING
    assert state.candidate is not None


def test_a_newer_order_takes_the_place_of_one_that_waits_or_shadows() -> None:
    for phase in (Phase.STAGED, Phase.SHADOWING):
        state, effects = advance(on_its_way(phase), e.Ordered(order(7, 3)))
        assert (state.phase, state.order) == (Phase.DOWNLOADING, order(7, 3))
        assert (Effect.WITHDRAW in effects) == (phase is Phase.SHADOWING)


def test_an_order_of_what_runs_ends_a_trial() -> None:
    state, effects = advance(on_its_way(Phase.TRIAL), e.Ordered(order(7, 1)))
    assert state.phase is Phase.COMMITTED
    assert Effect.REVERT in effects
    assert state.committed is not None
    assert state.committed.rev == 7


def test_an_order_during_a_trial_waits_for_its_end_and_can_be_cancelled() -> None:
    waiting = end([e.Ordered(order(7, 3))], on_its_way(Phase.TRIAL))
    assert end([e.TrialPassed()], waiting).order == order(7, 3)
    cancelled = end([e.Ordered(order(8, 3, decision=Decision.CANCEL))], waiting)
    assert (cancelled.phase, cancelled.pending) == (Phase.TRIAL, None)


def test_an_order_that_waited_is_taken_up_though_the_power_went_at_the_trials_end() -> None:
    waiting = end([e.Ordered(order(7, 3))], on_its_way(Phase.TRIAL))
    stored, _ = advance(waiting, e.TrialPassed())
    final = end([e.Restarted()], stored)
    assert (final.phase, final.order) == (Phase.DOWNLOADING, order(7, 3))


def test_a_first_release_that_fails_its_trial_leaves_nothing_to_go_back_to() -> None:
    state = end(
        [e.Ordered(order(1, 1)), e.Fetched(), e.Verified(), e.Activated(), e.TrialFailed("it raised")]
    )
    assert state.phase is Phase.ROLLBACK_FAILED
    assert state.reason == "it raised; there is no release to go back to"


# The way back -----------------------------------------------------------------------------------------------


def test_the_way_back_needs_no_fetching() -> None:
    two = running(2, 2, running())
    steps = play([e.Ordered(order(3, 1)), e.Verified("ab"), e.Activated(), e.TrialPassed()], two)
    assert [s[2].phase for s in steps] == [
        Phase.VERIFYING,
        Phase.ACTIVATING,
        Phase.TRIAL,
        Phase.COMMITTED,
    ]
    final = steps[-1][2]
    assert final.committed == Installed(Slot.A, order(3, 1).release, f"{1:064x}", 3, "ab")
    assert final.previous == two.committed


def test_a_fetch_that_fails_leaves_the_way_back() -> None:
    two = running(2, 2, running())
    for failure in (e.FetchFailed("the disk is full"), e.NotTrusted("not signed")):
        assert end([e.Ordered(order(3, 3)), failure], two).previous == two.previous
    assert end([e.Ordered(order(3, 3)), e.Fetched()], two).previous is None


def test_a_damaged_way_back_is_fetched() -> None:
    two = running(2, 2, running())
    state = end([e.Ordered(order(3, 1)), e.SlotDamaged("head.npz was altered")], two)
    assert (state.phase, state.previous, state.candidate) == (Phase.DOWNLOADING, None, None)


def test_a_release_that_can_no_longer_be_read_gives_way_to_the_one_before_and_is_fetched_anew() -> None:
    two = running(2, 2, running())
    state, _ = advance(two, e.CommittedLost("head.npz was altered"))
    assert state.committed == two.previous
    assert (state.phase, state.order) == (Phase.DOWNLOADING, order(2, 2))
    assert "part-1, which ran before it, runs again" in state.reason


def test_a_lost_release_is_not_replaced_by_one_that_failed_here() -> None:
    failed = end([e.Ordered(order(2, 2)), e.Refused("golden 1 scores 3, not 2")], on_its_way(Phase.VERIFYING))
    final, effects = advance(failed, e.CommittedLost("head.npz was altered"))
    assert (final.phase, final.committed, effects) == (Phase.ROLLBACK_FAILED, None, ())
    assert "head.npz was altered" in final.reason


# Bounds -----------------------------------------------------------------------------------------------------


def test_a_known_or_older_order_is_ignored() -> None:
    state = running(rev=3)
    for rev in (2, 3):
        assert advance(state, e.Ordered(order(rev, 2))) == (state, ())
    assert end([e.Ordered(order(2, 2), anew=True)], state).phase is Phase.DOWNLOADING


def test_a_file_given_on_the_device_itself_does_not_bring_old_orders_back() -> None:
    state = end([e.Ordered(order(0, 4))], running(rev=5))
    assert state.phase is Phase.DOWNLOADING
    assert advance(state, e.Ordered(order(5, 1))) == (state, ())


def test_wrong_golden_scores_leave_the_old_release_and_quarantine_the_file() -> None:
    final = end([e.Refused("golden 1 scores 3, not 2")], on_its_way(Phase.VERIFYING))
    assert (final.phase, final.reason) == (Phase.REJECTED, "golden 1 scores 3, not 2")
    assert final.committed == running().committed
    again = end([e.Ordered(order(5, 2))], final)
    assert again.phase is Phase.REJECTED
    assert "golden 1 scores 3" in again.reason
    assert end([e.Ordered(order(0, 2))], again).phase is Phase.DOWNLOADING


def test_what_is_not_signed_is_refused_but_may_be_signed_later() -> None:
    final = end([e.NotTrusted("not signed")], on_its_way(Phase.DOWNLOADING))
    assert (final.phase, final.quarantine) == (Phase.REJECTED, {})
    assert end([e.Ordered(order(5, 2))], final).phase is Phase.DOWNLOADING


def test_a_repository_that_is_away_is_asked_a_bounded_number_of_times() -> None:
    steps = play([e.RepositoryAway("nobody answers")] * (MAX_CHECKS + 1), on_its_way(Phase.DOWNLOADING))
    assert [s[2].phase for s in steps].count(Phase.DOWNLOADING) == MAX_CHECKS
    assert steps[-1][2].phase is Phase.FAILED_NO_CHANGE


def test_a_wrong_hash_is_fetched_again_but_not_for_ever() -> None:
    steps = play([e.HashDiffers()] * (MAX_FETCHES + 1), on_its_way(Phase.DOWNLOADING))
    assert [s[2].phase for s in steps].count(Phase.DOWNLOADING) == MAX_FETCHES
    assert steps[-1][2].phase is Phase.REJECTED
    assert not steps[-1][2].quarantine


def test_an_orderly_restart_is_no_crash_of_the_candidates() -> None:
    state = on_its_way(Phase.TRIAL)
    for _ in range(3 * MAX_STARTS):
        state = end([e.Stopping(), e.Restarted(), e.Verified("ab"), e.Activated()], state)
        assert (state.phase, state.starts) == (Phase.TRIAL, 0)
    for _ in range(MAX_STARTS):
        state = end([e.Restarted(), e.Verified("ab"), e.Activated()], state)
        assert state.phase is Phase.TRIAL
    final = end([e.Restarted()], state)
    assert final.phase is Phase.ROLLED_BACK
    assert not final.quarantine
