"""What a deployment may and may not do, whatever happens in whatever order."""

from __future__ import annotations

import typing

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kenpin_agent.deployment import events as e
from kenpin_agent.deployment import machine as m
from kenpin_agent.deployment.fetch import Fetch
from kenpin_wire.messages import DesiredRelease, Phase, ReleaseName

EVENT_TYPES = typing.get_args(e.Event)


def order(rev: int, file: int = 0) -> DesiredRelease:
    return DesiredRelease(
        rev=rev, release=ReleaseName(name="part", version=str(file)), sha256=f"{file:064x}", size=1000
    )


orders = st.builds(order, st.integers(0, 6), st.integers(0, 4))
events = st.one_of(
    st.builds(e.Ordered, orders),
    st.just(e.Fetched()),
    st.builds(e.FetchFailed, st.just("the disk is full")),
    st.just(e.HashDiffers()),
    st.just(e.Verified()),
    st.builds(e.Refused, st.just("golden picture 1 differs")),
    st.just(e.Activated()),
    st.just(e.TrialPassed()),
    st.builds(e.TrialFailed, st.just("it raised")),
    st.builds(e.CommittedLost, st.just("unreadable")),
    st.just(e.Restarted()),
)


def play(history: list[e.Event], state: m.State | None = None) -> list[tuple[m.State, e.Event, m.State]]:
    """Each step that the machine took: (before, event, after). Illegal events take none."""
    state, steps = state or m.State(), []
    for event in history:
        try:
            after, effects = m.advance(state, event)
        except m.IllegalEventError:
            continue
        steps.append((state, event, after))
        state = after
        if m.Effect.TAKE_PENDING in effects and state.pending is not None:
            pending = e.Ordered(state.pending)
            after, _ = m.advance(state, pending)
            steps.append((state, pending, after))
            state = after
    return steps


def deployed(rev: int = 1, file: int = 1) -> m.State:
    happy = [e.Ordered(order(rev, file)), e.Fetched(), e.Verified(), e.Activated(), e.TrialPassed()]
    return play(happy)[-1][2]


def test_a_release_is_committed_after_its_trial_and_not_before() -> None:
    phases = [
        after.phase
        for _, _, after in play(
            [e.Ordered(order(1, 1)), e.Fetched(), e.Verified(), e.Activated(), e.TrialPassed()]
        )
    ]
    assert phases == [Phase.DOWNLOADING, Phase.VERIFYING, Phase.ACTIVATING, Phase.TRIAL, Phase.COMMITTED]
    assert deployed().committed == m.Installed(
        m.Slot.A, ReleaseName(name="part", version="1"), f"{1:064x}", 1
    )


@given(st.lists(events, max_size=40))
def test_only_a_passed_trial_changes_what_a_restart_runs(history: list[e.Event]) -> None:
    for before, event, after in play(history):
        same = (before.committed and before.committed.sha256) == (after.committed and after.committed.sha256)
        assert same or isinstance(event, e.TrialPassed | e.CommittedLost)


@given(st.lists(events, max_size=40))
def test_the_candidate_never_lies_in_the_committed_slot(history: list[e.Event]) -> None:
    for _, _, after in play(history):
        assert after.committed is None or after.candidate_slot is not after.committed.slot


@given(st.lists(events, max_size=40))
def test_every_end_that_is_no_success_gives_a_reason(history: list[e.Event]) -> None:
    for _, _, after in play(history):
        if after.phase in m.RESTING and after.phase not in (Phase.IDLE, Phase.COMMITTED):
            assert after.reason


@given(st.lists(events, max_size=30))
def test_restarts_alone_come_to_rest(history: list[e.Event]) -> None:
    steps = play(history)
    state = steps[-1][2] if steps else m.State()
    for _ in range(m.MAX_STARTS + 2):
        state, _ = m.advance(state, e.Restarted())
        if state.phase is Phase.VERIFYING:  # and it crashes again in its trial
            state, _ = m.advance(state, e.Verified())
            state, _ = m.advance(state, e.Activated())
    assert state.phase in (*m.RESTING, Phase.DOWNLOADING)


@given(st.lists(events, max_size=30))
def test_a_file_that_failed_here_is_not_tried_again(history: list[e.Event]) -> None:
    for before, event, after in play(history):
        if isinstance(event, e.Ordered) and event.order.sha256 in before.quarantine:
            assert after.phase is not Phase.DOWNLOADING or before.phase is Phase.DOWNLOADING


@pytest.mark.parametrize("phase", list(Phase))
@pytest.mark.parametrize("event_type", EVENT_TYPES)
def test_an_event_without_a_row_raises_and_changes_nothing(phase: Phase, event_type: type) -> None:
    event = {e.Ordered: e.Ordered(order(5, 2))}.get(event_type) or (
        event_type("a reason") if "reason" in event_type.__dataclass_fields__ else event_type()
    )
    state = m.State(phase, deployed().committed, order(4, 3))
    if any(row.source is phase and row.event is event_type for row in m.TABLE):
        m.advance(state, event)
    else:
        with pytest.raises(m.IllegalEventError):
            m.advance(state, event)


@pytest.mark.parametrize("phase", sorted({row.source for row in m.TABLE if row.event is e.Restarted}))
def test_a_restart_keeps_what_is_committed(phase: Phase) -> None:
    state, _ = m.advance(m.State(phase, deployed().committed, order(4, 3)), e.Restarted())
    assert state.committed == deployed().committed


def test_every_phase_that_can_be_reached_has_a_row_for_a_restart() -> None:
    reached = {row.target for row in m.TABLE if row.target} | {Phase.IDLE}
    assert reached <= {row.source for row in m.TABLE if row.event is e.Restarted}


def test_a_lost_release_is_not_replaced_by_one_that_failed_here() -> None:
    steps = play([e.Ordered(order(2, 2)), e.Fetched(), e.Refused("golden 1 scores 3, not 2")], deployed())
    final, effects = m.advance(steps[-1][2], e.CommittedLost("head.npz was altered"))
    assert (final.phase, final.committed, effects) == (Phase.IDLE, None, ())
    assert final.reason == "head.npz was altered"


def test_an_order_that_waited_is_taken_up_though_the_power_went_at_the_trials_end() -> None:
    trial = [e.Ordered(order(1, 1)), e.Fetched(), e.Verified(), e.Activated(), e.Ordered(order(2, 2))]
    stored, _ = m.advance(play(trial)[-1][2], e.TrialPassed())
    final = play([e.Restarted()], stored)[-1][2]
    assert final.phase is Phase.DOWNLOADING
    assert final.order is not None
    assert final.order.rev == 2


def test_an_older_order_is_ignored_and_the_same_one_is_no_new_deployment() -> None:
    state = deployed(rev=3)
    for rev in (2, 3):
        assert m.advance(state, e.Ordered(order(rev, 2))) == (state, ())


def test_an_order_during_a_trial_waits_for_its_end() -> None:
    trial = [e.Ordered(order(1, 1)), e.Fetched(), e.Verified(), e.Activated()]
    steps = play([*trial, e.Ordered(order(2, 2)), e.TrialPassed()])
    final = steps[-1][2]
    assert final.phase is Phase.DOWNLOADING
    assert final.order is not None
    assert final.order.rev == 2
    assert final.committed is not None
    assert final.committed.sha256 == order(1, 1).sha256


def test_wrong_golden_scores_leave_the_old_release_and_quarantine_the_file() -> None:
    steps = play([e.Ordered(order(2, 2)), e.Fetched(), e.Refused("golden 1 scores 3, not 2")], deployed())
    final = steps[-1][2]
    assert (final.phase, final.reason) == (Phase.REJECTED, "golden 1 scores 3, not 2")
    assert final.committed == deployed().committed
    again = play([e.Ordered(order(3, 2))], final)[-1][2]
    assert again.phase is Phase.REJECTED
    assert "golden 1 scores 3" in again.reason


def test_a_wrong_hash_is_fetched_again_but_not_for_ever() -> None:
    steps = play([e.Ordered(order(1, 1)), *[e.Fetched(), e.HashDiffers()] * (m.MAX_FETCHES + 1)])
    assert [after.phase for *_, after in steps].count(Phase.DOWNLOADING) == m.MAX_FETCHES + 1
    assert steps[-1][2].phase is Phase.REJECTED


@given(
    st.integers(1, 5000),
    st.integers(1, 300),
    st.lists(st.tuples(st.integers(0, 40), st.booleans()), max_size=60),
    st.integers(0, 3),
)
def test_a_file_is_put_together_whatever_order_its_blocks_come_in(
    size: int, block_size: int, noise: list[tuple[int, bool]], there: int
) -> None:
    content = bytes(i * 7 % 251 for i in range(size))
    fetch = Fetch(size, block_size, written=min(there, size // block_size))
    file = content[: fetch.written * block_size]

    def block(index: int) -> bytes:
        return content[index * block_size : (index + 1) * block_size]

    for index, short in noise:  # never asked for, repeated, cut short
        file += fetch.take(index, block(index)[: -1 if short else None])
    while not fetch.complete:
        ask = fetch.ask()
        for index in reversed(range(ask.start, ask.start + ask.count)):
            file += fetch.take(index, block(index))
    assert file == content


def test_asking_in_vain_waits_longer_and_ends() -> None:
    fetch = Fetch(1000, 100)
    patience = []
    while not fetch.hopeless:
        fetch.ask()
        patience.append(fetch.patience_s)
    assert patience == sorted(patience)
    assert 120 < sum(patience) < 600
