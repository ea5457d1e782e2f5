"""The loop around the sentence, with camera, link and heat in the test's hands."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from kenpin_agent import runtime
from kenpin_agent.deployment.events import Activated, TrialFailed, TrialPassed
from kenpin_agent.deployment.switch import Offer, Role
from kenpin_agent.release import Release
from kenpin_wire.messages import (
    CameraState,
    Command,
    CommandState,
    DesiredConfig,
    ReportedConfig,
    Roi,
    ScoreAggregate,
    Telemetry,
    Threshold,
    TrialPolicy,
    Verdict,
)
from kenpin_wire.topics import Channel
from support import wait_until
from support.agent_on_bench import Bench, loaded, names


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> Release:
    return loaded(tmp_path_factory.mktemp("runtime"))


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    running = Bench(tmp_path)
    yield running
    running.close()


def test_without_a_release_nothing_is_judged_and_telemetry_goes_on(bench: Bench) -> None:
    wait_until(lambda: bench.said(Channel.TELEMETRY), what="telemetry")
    assert bench.verdicts() == []


def test_a_release_is_taken_over_between_frames_and_judges_from_then_on(
    bench: Bench, release: Release
) -> None:
    bench.switch.offer(Offer(release, Role.COMMITTED))
    wait_until(lambda: len(bench.verdicts()) > 3, what="verdicts")
    assert set(bench.verdicts()) == {Verdict.NORMAL}
    bench.belt.scratched = True
    wait_until(lambda: Verdict.ANOMALY in bench.verdicts(), what="an anomaly")
    wait_until(lambda: bench.said(Channel.EVENT_ANOMALY) and bench.said(Channel.HEATMAP), what="its event")


def test_a_candidate_passes_its_trial_by_judging_as_many_frames_as_its_order_says(
    bench: Bench, release: Release
) -> None:
    bench.deaf()
    bench.switch.offer(Offer(release, Role.TRIAL, TrialPolicy(frames=25), rev=7))
    wait_until(lambda: bench.of(TrialPassed), what="the trial's end")
    assert bench.happened == [Activated(7), TrialPassed(7)]
    bench.stop.set()
    bench.thread.join(10)
    counted = [out.payload for out in bench.said(Channel.SCORE_AGG)]
    assert sum(second.n for second in counted if isinstance(second, ScoreAggregate)) >= 25


def test_a_candidate_that_fails_on_a_frame_fails_its_trial_and_the_loop_goes_on(
    bench: Bench, release: Release, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.deaf()
    real, fails = runtime.inspect, threading.Event()

    def sometimes(*args: object, **kwargs: object) -> object:
        if fails.is_set():
            raise RuntimeError("a head that divides by zero")
        return real(*args, **kwargs)  # type: ignore[arg-type]  # as it was called

    monkeypatch.setattr(runtime, "inspect", sometimes)
    fails.set()
    bench.switch.offer(Offer(release, Role.TRIAL, rev=3))
    wait_until(lambda: bench.of(TrialFailed), what="the trial's end")
    assert bench.happened[1:] == [TrialFailed("it failed on a live frame: a head that divides by zero", 3)]
    fails.clear()
    bench.switch.offer(Offer(release, Role.COMMITTED))
    wait_until(bench.verdicts, what="verdicts again")


def test_a_region_outside_the_picture_is_not_held_against_a_candidate(
    bench: Bench, release: Release, caplog: pytest.LogCaptureFixture
) -> None:
    bench.deaf()
    bench.link.deliver(Channel.SET_CONFIG, DesiredConfig(rev=1, roi=Roi(width=5000, height=5000)))
    bench.switch.offer(Offer(release, Role.TRIAL))
    wait_until(lambda: "leaves the picture" in caplog.text, what="word of the region")
    assert names(bench.happened) == ["Activated"]
    bench.link.deliver(Channel.SET_CONFIG, DesiredConfig(rev=2, roi=Roi(width=64, height=64)))
    wait_until(lambda: bench.of(TrialPassed), what="the trial's end")


def test_a_threshold_takes_effect_on_the_next_frame_and_is_reported(bench: Bench, release: Release) -> None:
    bench.switch.offer(Offer(release, Role.COMMITTED))
    wait_until(bench.verdicts, what="verdicts")
    wish = Threshold(release=release.label, value=1e-6)
    bench.link.deliver(Channel.SET_CONFIG, DesiredConfig(rev=1, threshold=wish))
    report = bench.said(Channel.REPORTED_CONFIG)[-1].payload
    assert isinstance(report, ReportedConfig)
    assert (report.rev, report.applied, report.threshold) == (1, True, 1e-6)
    wait_until(lambda: bench.verdicts()[-1] is Verdict.ANOMALY, what="a verdict by the new threshold")


def test_inspection_stops_and_starts_by_wish(bench: Bench, release: Release) -> None:
    bench.switch.offer(Offer(release, Role.COMMITTED))
    wait_until(bench.verdicts, what="verdicts")
    bench.link.deliver(Channel.SET_CONFIG, DesiredConfig(rev=1, inspection=False))
    threading.Event().wait(0.3)  # the frame that was under way
    judged = len(bench.verdicts())
    threading.Event().wait(0.3)
    assert len(bench.verdicts()) == judged
    bench.link.deliver(Channel.SET_CONFIG, DesiredConfig(rev=2, inspection=True))
    wait_until(lambda: len(bench.verdicts()) > judged, what="verdicts again")


def test_a_lost_camera_is_told_and_comes_back(bench: Bench, release: Release) -> None:
    def camera() -> Telemetry:
        payload = bench.said(Channel.TELEMETRY)[-1].payload
        assert isinstance(payload, Telemetry)
        return payload

    bench.switch.offer(Offer(release, Role.COMMITTED))
    wait_until(lambda: bench.verdicts() and bench.said(Channel.TELEMETRY), what="verdicts and telemetry")
    bench.belt.lost = True
    wait_until(lambda: camera().camera is CameraState.LOST, what="word of the loss")
    assert "unplugged" in camera().camera_detail
    bench.belt.lost = False
    wait_until(lambda: camera().camera is CameraState.OK, what="word of the return")


def test_a_snapshot_brings_picture_heatmap_and_score(bench: Bench, release: Release) -> None:
    bench.switch.offer(Offer(release, Role.COMMITTED))
    wait_until(bench.verdicts, what="verdicts")
    bench.link.deliver(Channel.CMD, Command(id="c1"), "snapshot")
    wait_until(lambda: (r := bench.reply("c1")) and r.state is CommandState.SUCCESSFUL, what="the snapshot")
    assert bench.said(Channel.PICTURE)
    assert bench.said(Channel.HEATMAP)
    bench.link.deliver(Channel.CMD, Command(id="c2"), "fly")
    refused = bench.reply("c2")
    assert refused is not None
    assert refused.state is CommandState.FAILED
    assert "knows no verb 'fly'" in refused.reason


def test_a_snapshot_of_nothing_is_refused_with_the_reason(bench: Bench, release: Release) -> None:
    def refused(command: str, reason: str) -> None:
        bench.link.deliver(Channel.CMD, Command(id=command), "snapshot")
        wait_until(lambda: (r := bench.reply(command)) and r.state is CommandState.FAILED, what="the refusal")
        told = bench.reply(command)
        assert told is not None
        assert reason in told.reason

    refused("c1", "no release runs yet")
    bench.switch.offer(Offer(release, Role.COMMITTED))
    wait_until(bench.verdicts, what="verdicts")
    bench.link.deliver(Channel.SET_CONFIG, DesiredConfig(rev=1, inspection=False))
    threading.Event().wait(0.3)  # the frame that was under way could still answer
    refused("c2", "inspection is switched off")
    bench.link.deliver(Channel.SET_CONFIG, DesiredConfig(rev=2, inspection=True))
    bench.belt.lost = True
    wait_until(lambda: bench.grabber.state is CameraState.LOST, what="the loss")
    refused("c3", "the camera is lost: belt: unplugged")
