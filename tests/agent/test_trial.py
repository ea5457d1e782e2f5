"""A trial: what was so before is not held against a candidate, what it brings is, and it always ends."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kenpin_agent.live_time import IDLE_AFTER_S, LONGEST_PAUSE_S
from kenpin_agent.trial import RECENT_VERDICTS, Before, RejectRate, Trial, binomial_tail
from kenpin_wire.messages import CameraState, TrialPolicy

OK, LOST = CameraState.OK, CameraState.LOST
CALM = Before(reject_rate=0.02, memory_mb=100.0, temperature_c=60.0, limit_c=80.0)


class Line:
    """A trial on a line that gives a frame every `every_s`."""

    def __init__(
        self, policy: TrialPolicy | None = None, before: Before = CALM, every_s: float = 0.5
    ) -> None:
        self.now_s, self.frames, self.every_s = 1000.0, 50, every_s
        self.trial = Trial(policy or TrialPolicy(), before, now_s=self.now_s, frames=self.frames)

    def judge(self, n: int, *, rejects: int = 0, latency_ms: float = 20.0, part: str | None = None) -> Line:
        """`n` frames come and are judged, the first `rejects` of them rejected."""
        for number in range(n):
            self.look(frames=1)
            self.trial.judged(rejects=number < rejects, part=part, latency_ms=latency_ms)
            self.look(passed_s=0.0)
        return self

    def look(
        self,
        n: int = 1,
        *,
        frames: int = 0,
        passed_s: float | None = None,
        camera: CameraState = OK,
        inspection: bool = True,
    ) -> Line:
        """Time passes `n` times, and each time so many frames come, which nobody judges."""
        for _ in range(n):
            self.now_s += self.every_s if passed_s is None else passed_s
            self.frames += frames
            self.trial.look(self.now_s, frames=self.frames, camera=camera, inspection=inspection)
        return self

    def feel(self, n: int = 1, *, memory_mb: float = 100.0, temperature_c: float | None = 60.0) -> Line:
        for _ in range(n):
            self.trial.felt(memory_mb=memory_mb, temperature_c=temperature_c)
        return self

    @property
    def end(self) -> str:
        return "passed" if self.trial.passed else self.trial.failure or "running"


def test_a_candidate_passes_with_its_last_wanted_verdict_and_not_before() -> None:
    line = Line(TrialPolicy(frames=12))
    assert line.judge(11).end == "running"
    assert line.judge(1).end == "passed"


def test_it_must_also_have_run_for_so_long() -> None:
    line = Line(TrialPolicy(frames=3, min_s=10.0), every_s=1.0)
    assert line.judge(9).end == "running"
    assert line.judge(1).end == "passed"


def test_too_few_frames_in_time_fail_it_and_the_sentence_says_how_many() -> None:
    line = Line(TrialPolicy(frames=100, max_s=20.0))
    assert line.judge(39).end == "running"
    assert "judged 39 frames in 20 s" in line.judge(1).end


@pytest.mark.parametrize("stopped", [{"camera": LOST}, {"inspection": False}])
def test_a_lost_camera_or_inspection_off_stops_the_clock(stopped: dict[str, object]) -> None:
    line = Line(TrialPolicy(frames=10, max_s=20.0))
    line.look(1000, **stopped)  # type: ignore[arg-type]  # as named
    assert line.end == "running"
    assert line.judge(10).end == "passed"


def test_a_line_that_stands_still_stops_the_clock() -> None:
    line = Line(TrialPolicy(frames=10, max_s=IDLE_AFTER_S + 20.0))
    assert line.look(1000).end == "running"
    assert line.judge(10).end == "passed"


def test_frames_that_come_and_are_not_judged_are_the_candidates_fault() -> None:
    line = Line().look(59, frames=1)
    assert line.end == "running"
    assert "60 frames came in 30 s, and it judged none of them" in line.look(1, frames=1).end


def test_frames_that_a_setting_keeps_from_being_judged_are_not() -> None:
    line = Line().look(1000, frames=1, inspection=False)
    assert line.end == "running"
    assert line.judge(10).end == "passed"


def test_an_error_on_a_live_frame_fails_it_at_once() -> None:
    line = Line()
    line.trial.broke("the head gave nan")
    assert line.end == "it failed on a live frame: the head gave nan"


# Late verdicts -----------------------------------------------------------------------------------------------


def test_more_than_one_late_verdict_in_ten_fails_it_after_twenty() -> None:
    line = Line(TrialPolicy(frames=100, late_ms=50.0)).judge(17).judge(2, latency_ms=51.0)
    assert line.end == "running"
    assert "3 of 20 verdicts came later than 50 ms" in line.judge(1, latency_ms=51.0).end


def test_two_late_in_twenty_are_allowed() -> None:
    assert Line(TrialPolicy(frames=20, late_ms=50.0)).judge(2, latency_ms=51.0).judge(18).end == "passed"


def test_one_that_is_late_from_the_start_does_not_pass_with_few_frames() -> None:
    line = Line(TrialPolicy(frames=5, late_ms=50.0)).judge(19, latency_ms=60.0)
    assert line.end == "running"
    assert "too slow for this device" in line.judge(1, latency_ms=60.0).end


# Rejects -----------------------------------------------------------------------------------------------------


def test_one_that_rejects_everything_fails_though_it_has_its_few_frames() -> None:
    line = Line(TrialPolicy(frames=10)).judge(19, rejects=19)
    assert line.end == "running"
    end = line.judge(1, rejects=1).end
    assert "reject-rate explosion: it rejects 100% (20 of 20) where 20% are allowed" in end
    assert "the release before it rejected 2%" in end


def test_on_a_line_with_many_bad_parts_three_times_as_many_are_allowed() -> None:
    before = Before(reject_rate=0.3)
    assert Line(TrialPolicy(frames=40), before).judge(40, rejects=36).end == "passed"
    assert "explosion" in Line(TrialPolicy(frames=40), Before(reject_rate=0.1)).judge(40, rejects=36).end


def test_the_policys_own_rate_comes_first() -> None:
    policy = TrialPolicy(frames=20, reject_rate=0.01)
    assert "1% are allowed" in Line(policy, Before(reject_rate=0.5)).judge(20, rejects=5).end
    assert Line(TrialPolicy(frames=20, reject_rate=1.0)).judge(20, rejects=20).end == "passed"


def test_with_no_release_before_it_there_is_nothing_to_compare_its_rejects_with() -> None:
    assert Line(before=Before()).judge(10, rejects=10).end == "passed"


def test_a_few_rejects_at_the_start_only_make_it_look_longer() -> None:
    line = Line(TrialPolicy(frames=5)).judge(5, rejects=3)
    assert line.end == "running"
    assert line.judge(20).end == "passed"


def test_one_bad_part_that_passes_slowly_is_one_reject() -> None:
    line = Line(TrialPolicy(frames=20)).judge(30, rejects=30, part="a")
    for number in range(19):
        line.judge(1, part=f"good-{number}")
    assert line.end == "passed"


def test_a_named_part_counts_once_and_by_its_worst_frame() -> None:
    rate = RejectRate()
    for part, rejects in (("a", False), ("a", True), ("a", False), ("b", False), (None, True), (None, True)):
        rate.count(part, rejects)
    assert (rate.rejects, rate.n) == (3, 4)
    for _ in range(2 * RECENT_VERDICTS):
        rate.count(None, False)
    assert (rate.rate, rate.n) == (0.0, RECENT_VERDICTS)


@settings(deadline=None)
@given(st.integers(1, 3000), st.floats(0, 1), st.floats(0.001, 0.999))
def test_the_binomial_tail_is_scipys(n: int, share: float, p: float) -> None:
    stats = pytest.importorskip("scipy.stats")
    k = round(share * n)
    expected = float(stats.binom.sf(k - 1, n, p))
    if k > n * p:
        assert binomial_tail(k, n, p) == pytest.approx(expected, rel=1e-6, abs=1e-290)
    else:
        assert expected > 0.1


@pytest.mark.parametrize(
    ("k", "n", "p", "tail"), [(0, 0, 0.2, 1.0), (1, 5, 0.0, 0.0), (5, 5, 1.0, 1.0), (0, 5, 0, 1.0)]
)
def test_the_binomial_tail_at_its_edges(k: int, n: int, p: float, tail: float) -> None:
    assert binomial_tail(k, n, p) == tail


# Heat and memory ---------------------------------------------------------------------------------------------


def test_a_board_over_its_limit_for_three_seconds_fails_it() -> None:
    line = Line().feel(2, temperature_c=81.0).feel(1, temperature_c=79.0).feel(2, temperature_c=81.0)
    assert line.end == "running"
    assert (
        "reached 81.0 °C with it, from 60.0 °C at the switch; its limit is 80 °C"
        in line.feel(1, temperature_c=81.0).end
    )


def test_heat_that_was_there_before_is_not_its_fault_but_more_is() -> None:
    line = Line(before=Before(temperature_c=84.0, limit_c=80.0)).feel(50, temperature_c=85.5)
    assert line.end == "running"
    assert "86.5 °C" in line.feel(3, temperature_c=86.5).end


def test_the_policys_own_limit_comes_first_and_a_board_without_sensor_never_fails_it() -> None:
    assert "limit is 70 °C" in Line(TrialPolicy(max_c=70.0)).feel(3, temperature_c=71.0).end
    assert Line(before=Before()).feel(50, temperature_c=None).end == "running"


def test_memory_that_grows_beyond_what_is_allowed_fails_it() -> None:
    line = Line(TrialPolicy(memory_mb=30.0)).feel(50, memory_mb=130.0)
    assert line.end == "running"
    assert "took 31 MB more memory with it, and 30 MB are allowed" in line.feel(3, memory_mb=131.0).end
    assert Line(TrialPolicy(memory_mb=None)).feel(50, memory_mb=1e6).end == "running"


# The end -----------------------------------------------------------------------------------------------------


steps = st.one_of(
    st.tuples(st.just("judge"), st.booleans(), st.floats(0, 200)),
    st.tuples(st.just("look"), st.sampled_from(list(CameraState)), st.booleans(), st.integers(0, 5)),
    st.tuples(st.just("feel"), st.floats(0, 300), st.one_of(st.none(), st.floats(20, 100))),
)
policies = st.builds(
    TrialPolicy,
    frames=st.integers(1, 200),
    min_s=st.floats(0, 1000),
    max_s=st.floats(1, 1000),
    late_ms=st.one_of(st.none(), st.floats(1, 100)),
    memory_mb=st.one_of(st.none(), st.floats(1, 100)),
    max_c=st.one_of(st.none(), st.floats(40, 90)),
    reject_rate=st.one_of(st.none(), st.floats(0, 1)),
)


@settings(max_examples=100, deadline=None)
@given(policies, st.lists(steps, max_size=60))
def test_whatever_happens_it_comes_to_one_end_and_stays_there(
    policy: TrialPolicy, happens: list[tuple[object, ...]]
) -> None:
    line, ends = Line(policy), set()

    def step(happening: tuple[object, ...]) -> None:
        match happening:
            case "judge", bool(rejects), float(latency_ms):
                line.judge(1, rejects=int(rejects), latency_ms=latency_ms)
            case "look", CameraState() as camera, bool(inspection), int(frames):
                line.look(camera=camera, inspection=inspection, frames=frames)
            case "feel", float(memory_mb), temperature_c:
                line.feel(memory_mb=memory_mb, temperature_c=temperature_c)  # type: ignore[arg-type]  # as drawn
        if line.trial.over:
            ends.add(line.end)

    for happening in happens:
        step(happening)
    line.every_s = 60.0
    for round_ in range(20_000):  # and then the same again and again, or nothing, for a fortnight
        if line.trial.over:
            break
        step(happens[round_ % len(happens)] if happens else ("look", LOST, True, 0))
        line.look(camera=LOST if round_ % 2 else OK)
    assert len({*ends, line.end}) == 1
    assert line.trial.over
    assert line.trial.passed != bool(line.trial.failure)


def test_a_camera_that_never_comes_back_does_not_keep_a_candidate_waiting_for_ever() -> None:
    line = Line(every_s=60.0).look(int(LONGEST_PAUSE_S / 60), camera=LOST)
    assert line.end == "running"
    assert "order it again when the line runs" in line.look(2, camera=LOST).end
