"""A shadow in the real loop: it sees the line's own frames, tells what it found, and the line never waits for it."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from kenpin_agent.deployment.events import ShadowDone, ShadowFailed, ShadowTimedOut
from kenpin_agent.deployment.switch import Offer, Role
from kenpin_agent.encoder import Features
from kenpin_agent.heads import Assessment, Head
from kenpin_agent.inspect import inspect
from kenpin_agent.judge import Judge, JudgeState
from kenpin_agent.release import Release
from kenpin_agent.seams import Allowance, Frame
from kenpin_agent.shadow.beside import REPORT_EVERY_S, Beside, Errand
from kenpin_agent.testing import FakeClock
from kenpin_wire.contract import MAX_JPEG_BYTES
from kenpin_wire.messages import CameraState, DesiredConfig, ShadowPolicy, Threshold
from kenpin_wire.shadow import MAX_DISAGREEMENTS, Disagreement, ShadowReport
from kenpin_wire.topics import Channel
from support import wait_until
from support.agent_on_bench import Bench, loaded
from support.small_release import part

LABELS = ("discs-1", "discs-2")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("shadow")


@pytest.fixture(scope="module")
def incumbent(folder: Path) -> Release:
    return loaded(folder)


@pytest.fixture(scope="module")
def candidate(folder: Path) -> Release:
    return loaded(folder, "2")


@pytest.fixture(scope="module")
def strict(folder: Path) -> Release:
    """Rejects every part."""
    return loaded(folder, "3", threshold=1e-6)


@pytest.fixture
def bench(tmp_path: Path, incumbent: Release) -> Iterator[Bench]:
    running = Bench(tmp_path, every_s=0.05)
    running.deaf()
    running.switch.offer(Offer(incumbent, Role.COMMITTED))
    yield running
    running.close()


class Odd:
    """A head that does something else before it judges."""

    def __init__(self, head: Head, before: object) -> None:
        self._head, self._before = head, before

    def assess(self, features: Features) -> Assessment:
        assert callable(self._before)
        self._before()
        return self._head.assess(features)


def odd(release: Release, before: object) -> Release:
    return replace(release, head=Odd(release.head, before))  # type: ignore[arg-type]  # what inspect asks of a head


def reports(bench: Bench) -> list[ShadowReport]:
    return [
        out.payload for out in bench.said(Channel.REPORTED_SHADOW) if isinstance(out.payload, ShadowReport)
    ]


def shadow(release: Release | None, frames: int = 30, **limits: float) -> Offer:
    return Offer(
        release,
        Role.SHADOW,
        shadow=ShadowPolicy(frames=frames, **limits),  # type: ignore[arg-type]  # as named
        rollout="r1",
        rev=4,
    )


def test_a_candidate_judges_the_same_frames_and_the_report_says_how_it_fared(
    bench: Bench, candidate: Release
) -> None:
    bench.switch.offer(shadow(candidate))
    wait_until(lambda: bench.of(ShadowDone), what="the shadow's end")
    assert bench.happened == [ShadowDone(4)]
    report = reports(bench)[-1]
    assert (report.finished, report.frames, report.wanted, report.rollout, report.rev) == (
        True,
        30,
        30,
        "r1",
        4,
    )
    assert (str(report.incumbent.release), str(report.candidate.release)) == LABELS
    assert report.incumbent.quantiles == pytest.approx(report.candidate.quantiles)
    assert (report.ks, report.psi, report.agree) == (0.0, 0.0, 1.0)
    assert report.candidate.latency_ms > 0
    assert report.peak_c in (None, 45.0)
    assert {score.release for score in bench.scores()} == {"discs-1"}
    assert not bench.said(Channel.EVENT_DISAGREEMENT)


def test_disagreements_come_with_their_pictures_and_never_as_the_last_anomaly(
    bench: Bench, strict: Release
) -> None:
    bench.switch.offer(shadow(strict))
    wait_until(lambda: bench.of(ShadowDone), timeout_s=20, what="the shadow's end")
    report = reports(bench)[-1]
    assert (report.only_candidate, report.only_incumbent, report.agree) == (30, 0, 0.0)
    events = [out.payload for out in bench.said(Channel.EVENT_DISAGREEMENT)]
    assert len(events) == MAX_DISAGREEMENTS
    jpegs = [out.payload for out in bench.said(Channel.EVENT_PICTURE) if isinstance(out.payload, bytes)]
    assert all(len(jpeg) <= MAX_JPEG_BYTES for jpeg in jpegs)
    sent = {hashlib.sha256(jpeg).hexdigest() for jpeg in jpegs}
    for event in events:
        assert isinstance(event, Disagreement)
        assert event.candidate_threshold is not None
        assert event.candidate_score > event.candidate_threshold
        named = {event.picture_sha256, event.incumbent_heatmap_sha256, event.candidate_heatmap_sha256}
        assert named <= sent
    assert not bench.said(Channel.PICTURE)
    assert not bench.said(Channel.HEATMAP)


def test_a_verdict_is_out_before_the_candidate_begins(bench: Bench, candidate: Release) -> None:
    late: list[int] = []
    follow = Beside.follow

    def look_first(self: Beside, inspection: object, *args: object) -> None:
        judged = {score.frame for score in bench.scores()}
        if (index := inspection.frame.index) not in judged:  # type: ignore[attr-defined]  # an Inspection
            late.append(index)
        follow(self, inspection, *args)  # type: ignore[arg-type]  # as it was called

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Beside, "follow", look_first)
        bench.switch.offer(shadow(candidate, frames=15))
        wait_until(lambda: bench.of(ShadowDone), what="the shadow's end")
    assert late == []


def test_a_candidate_that_raises_ends_its_shadow_and_the_line_goes_on(
    bench: Bench, candidate: Release
) -> None:
    def fail() -> None:
        raise ZeroDivisionError("a head that divides by zero")

    bench.switch.offer(shadow(odd(candidate, fail)))
    wait_until(lambda: bench.of(ShadowFailed), what="the shadow's end")
    assert bench.happened == [ShadowFailed("it failed on a live frame: a head that divides by zero", 4)]
    judged = len(bench.scores())
    wait_until(lambda: len(bench.scores()) > judged + 5, what="verdicts")
    assert reports(bench)[-1].finished


def test_a_candidate_too_slow_for_the_line_gets_few_frames(bench: Bench, candidate: Release) -> None:
    slow = odd(candidate, lambda: threading.Event().wait(0.2))
    bench.switch.offer(shadow(slow, frames=1000))
    wait_until(lambda: len(bench.scores()) > 50, what="verdicts")
    bench.switch.offer(shadow(None))
    wait_until(lambda: reports(bench)[-1:] and reports(bench)[-1].finished, what="the last report")
    assert reports(bench)[-1].skipped > 3 * reports(bench)[-1].frames > 0


def test_a_threshold_that_waits_for_the_candidate_is_the_one_it_is_judged_by(
    bench: Bench, candidate: Release
) -> None:
    wish = Threshold(release="discs-2", value=123.5)
    bench.link.deliver(Channel.SET_CONFIG, DesiredConfig(rev=1, threshold=wish))
    bench.switch.offer(shadow(candidate, frames=5))
    wait_until(lambda: bench.of(ShadowDone), what="the shadow's end")
    assert reports(bench)[-1].candidate.threshold == 123.5
    assert reports(bench)[-1].incumbent.threshold != 123.5


def test_a_shadow_that_is_called_off_ends_with_a_report_and_without_a_word_to_the_deployer(
    bench: Bench, candidate: Release, incumbent: Release
) -> None:
    for end in (shadow(None), Offer(incumbent, Role.COMMITTED), Offer(incumbent, Role.TRIAL)):
        before = len(reports(bench))
        bench.switch.offer(shadow(candidate, frames=100_000))
        threading.Event().wait(0.3)
        bench.switch.offer(end)
        wait_until(
            lambda n=before: len(reports(bench)) > n and reports(bench)[-1].finished, what="the report"
        )
    assert bench.of(ShadowDone) is None


def test_with_nothing_that_runs_there_is_nothing_to_compare_with(tmp_path: Path, candidate: Release) -> None:
    bench = Bench(tmp_path)
    bench.deaf()
    try:
        bench.switch.offer(shadow(candidate))
        wait_until(lambda: bench.of(ShadowDone), what="the shadow's end")
    finally:
        bench.close()


# One shadow by hand, with a clock that the test turns ---------------------------------------------------------


class ByHand:
    """A `Beside` whose line is the test."""

    def __init__(self, incumbent: Release, candidate: Release, policy: ShadowPolicy) -> None:
        self.clock, self.frames = FakeClock(), 0
        self._incumbent, self._state = incumbent, JudgeState()
        errand = Errand(candidate, policy, "", 1)
        self.beside = Beside(errand, incumbent, window=1, frames=0, monotonic_s=self.clock.monotonic_s)

    def frame(self, *, rate: float = 1.0, every_s: float = 1.0) -> None:
        self.clock.advance(every_s)
        self.frames += 1
        frame = Frame(part(self.frames), self.frames, self.clock.monotonic_s(), str(self.frames))
        self._state, found = inspect(
            frame,
            self._incumbent,
            self._state,
            Judge(self._incumbent.manifest.calibration.threshold),
            wanted=lambda _: False,
            monotonic_s=self.clock.monotonic_s,
        )
        if self.beside.may_follow(frame, Allowance(rate=rate)):
            self.beside.follow(found, found.score, 1.0, None)
        self.look()

    def look(self, camera: CameraState = CameraState.OK, *, inspection: bool = True) -> None:
        self.beside.look(frames=self.frames, camera=camera, inspection=inspection)

    @property
    def report(self) -> ShadowReport:
        report = self.beside.close()[-1].payload
        assert isinstance(report, ShadowReport)
        return report


def test_below_its_full_rate_a_warm_board_leaves_every_frame_to_the_release_that_runs(
    incumbent: Release, candidate: Release
) -> None:
    line = ByHand(incumbent, candidate, ShadowPolicy(max_s=20.0, min_frames=5))
    for _ in range(25):
        line.frame(rate=0.99)
    assert (line.report.frames, line.report.skipped) == (0, 25)
    assert isinstance(line.beside.ending, ShadowTimedOut)
    assert "judged 0 live frames in 20 s and 5 are wanted; 20 were left out" in line.beside.ending.reason


def test_when_its_time_is_up_the_frames_that_it_has_are_enough(
    incumbent: Release, candidate: Release
) -> None:
    line = ByHand(incumbent, candidate, ShadowPolicy(max_s=20.0, min_frames=5))
    for _ in range(19):
        line.frame()
    assert line.beside.ending is None
    line.frame()
    assert line.beside.ending == ShadowDone(1)


@pytest.mark.parametrize(("camera", "inspection"), [(CameraState.LOST, True), (CameraState.OK, False)])
def test_time_without_a_camera_or_with_inspection_off_does_not_count(
    incumbent: Release, candidate: Release, camera: CameraState, inspection: bool
) -> None:
    line = ByHand(incumbent, candidate, ShadowPolicy(frames=10, max_s=20.0))
    for _ in range(1000):
        line.clock.advance(1.0)
        line.look(camera, inspection=inspection)
    assert line.beside.ending is None
    for _ in range(10):
        line.frame()
    assert line.beside.ending == ShadowDone(1)


def test_a_report_is_due_every_few_seconds(incumbent: Release, candidate: Release) -> None:
    line = ByHand(incumbent, candidate, ShadowPolicy())
    due = []
    for _ in range(20):
        line.frame()
        due += line.beside.felt(memory_mb=3.0, temperature_c=51.0)
    assert len(due) == 20 // REPORT_EVERY_S
    assert all(isinstance(out.payload, ShadowReport) and not out.payload.finished for out in due)
    assert (line.report.memory_mb, line.report.peak_c) == (3.0, 51.0)


def test_both_sides_are_averaged_over_the_frames_that_both_saw(
    incumbent: Release, candidate: Release
) -> None:
    line = ByHand(incumbent, candidate, ShadowPolicy())
    line.beside._window = 10
    for number in range(60):
        line.frame(rate=1.0 if number % 3 == 0 else 0.5)
    assert line.report.incumbent.quantiles == pytest.approx(line.report.candidate.quantiles)
