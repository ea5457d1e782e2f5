"""From an order to its end, with the real deployer and the real loop: what its policy asks for is what happens."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from kenpin_agent.deployment.slots import Slots
from kenpin_agent.shadow import beside
from kenpin_agent.watchdog import EXIT_STATUS, Watchdog
from kenpin_wire.messages import (
    DesiredRelease,
    Phase,
    Policy,
    ReleaseName,
    ReportedRelease,
    ShadowPolicy,
    TrialPolicy,
)
from kenpin_wire.shadow import ShadowReport
from kenpin_wire.topics import Channel
from support import wait_until
from support.agent_on_bench import Bench, small_release

SHADOW = ShadowPolicy(frames=30)


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    """A line that discs-1 inspects."""
    running = Bench(tmp_path / "state", every_s=0.02)
    order(running, tmp_path, 1, small_release(tmp_path, "1"))
    wait_until(lambda: phase(running) is Phase.COMMITTED, timeout_s=20, what="the first release")
    yield running
    running.close()


def order(bench: Bench, folder: Path, rev: int, file: Path, policy: Policy | None = None) -> None:
    """Order a release whose file is on the device already."""
    content = file.read_bytes()
    sha256 = hashlib.sha256(content).hexdigest()
    Slots(folder / "state").blob(sha256).write_bytes(content)
    name, version = file.stem.rsplit("-", 1)
    bench.link.deliver(
        Channel.SET_RELEASE,
        DesiredRelease(
            rev=rev,
            release=ReleaseName(name=name, version=version),
            sha256=sha256,
            size=len(content),
            rollout="r1",
            policy=policy or Policy(),
        ),
    )


def phase(bench: Bench) -> Phase:
    return bench.deployer.state.phase


def phases(bench: Bench, rev: int = 2) -> list[str]:
    reports = [out.payload for out in bench.said(Channel.REPORTED_RELEASE)]
    said = [
        str(report.phase) for report in reports if isinstance(report, ReportedRelease) and report.rev == rev
    ]
    return [one for before, one in zip([None, *said], said, strict=False) if one != before]


def report(bench: Bench) -> ShadowReport:
    payload = bench.said(Channel.REPORTED_SHADOW)[-1].payload
    assert isinstance(payload, ShadowReport)
    return payload


def test_a_candidate_shadows_then_stands_its_trial_then_is_committed(bench: Bench, tmp_path: Path) -> None:
    policy = Policy(shadow=SHADOW, trial=TrialPolicy(frames=20))
    order(bench, tmp_path, 2, small_release(tmp_path, "2"), policy)
    wait_until(lambda: phases(bench)[-1:] == ["committed"], timeout_s=20, what="the end")
    assert phases(bench)[-4:] == ["shadowing", "activating", "trial", "committed"]
    assert (report(bench).finished, report(bench).frames, report(bench).agree) == (True, 30, 1.0)
    wait_until(lambda: bench.scores()[-1].release == "discs-2", what="its verdicts")


def test_a_wrong_candidate_is_told_by_its_shadow_and_waits_for_a_person(bench: Bench, tmp_path: Path) -> None:
    wrong = small_release(tmp_path, "2", threshold=1e-6)
    order(bench, tmp_path, 2, wrong, Policy(shadow=SHADOW, approval=True))
    wait_until(lambda: phase(bench) is Phase.STAGED, timeout_s=20, what="the shadow's end")
    assert report(bench).candidate.reject_rate == 1.0
    assert report(bench).only_candidate == 30
    assert {score.release for score in bench.scores()} == {"discs-1"}


def test_a_wrong_candidate_without_a_shadow_is_put_back_by_its_trial(bench: Bench, tmp_path: Path) -> None:
    order(bench, tmp_path, 2, small_release(tmp_path, "2", threshold=1e-6))
    wait_until(lambda: phase(bench) is Phase.ROLLED_BACK, timeout_s=20, what="the way back")
    judged = len(bench.scores())
    wait_until(lambda: len(bench.scores()) > judged + 5, what="verdicts")
    assert bench.scores()[-1].release == "discs-1"
    assert "reject-rate explosion" in bench.deployer.state.reason


def test_on_a_line_that_rejects_everything_the_next_release_may_too_however_soon_it_comes(
    bench: Bench, tmp_path: Path
) -> None:
    every_part = TrialPolicy(reject_rate=1.0)
    order(bench, tmp_path, 2, small_release(tmp_path, "2", threshold=1e-6), Policy(trial=every_part))
    third = small_release(tmp_path, "3", threshold=1e-6)
    wait_until(lambda: phases(bench)[-1:] == ["committed"], timeout_s=20, what="the second release")
    order(bench, tmp_path, 3, third)
    wait_until(lambda: phases(bench, 3)[-1:] == ["committed"], timeout_s=20, what="the end")


def test_a_candidate_that_hangs_in_its_shadow_ends_the_process_and_is_not_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    left: list[int] = []
    real, free = beside.inspect, threading.Event()

    def leave(status: int) -> None:
        left.append(status)
        free.set()  # a process would be gone now

    def hangs(*args: object, **kwargs: object) -> object:
        free.wait()
        return real(*args, **kwargs)  # type: ignore[arg-type]  # as it was called

    monkeypatch.setattr(beside, "inspect", hangs)
    bench = Bench(tmp_path / "state", every_s=0.02, watchdog=Watchdog(patience_s=1.0, leave=leave))
    try:
        order(bench, tmp_path, 1, small_release(tmp_path, "1"))
        wait_until(lambda: phase(bench) is Phase.COMMITTED, timeout_s=20, what="the first release")
        order(bench, tmp_path, 2, small_release(tmp_path, "2"), Policy(shadow=SHADOW))
        wait_until(lambda: left, timeout_s=20, what="the end")
    finally:
        free.set()
        bench.close()
    assert left == [EXIT_STATUS]
    stored = Slots(tmp_path / "state").load()
    assert stored.phase is Phase.REJECTED
    assert "did not come back from a live frame" in stored.reason
    assert stored.order is not None
    assert stored.order.sha256 in stored.quarantine


def test_a_shadow_that_gets_no_frames_times_out_and_says_why(bench: Bench, tmp_path: Path) -> None:
    bench.thermometer.reading = type(bench.thermometer.reading)(84.5)  # at the limit: below the full rate
    wait_until(lambda: bench._agent._heat.allowance.rate < 1.0, timeout_s=20, what="the governor's answer")
    policy = Policy(shadow=ShadowPolicy(frames=30, max_s=1.0))
    order(bench, tmp_path, 2, small_release(tmp_path, "2"), policy)
    wait_until(lambda: phase(bench) is Phase.TIMED_OUT, timeout_s=30, what="the end")
    assert "were left out because the board was too warm" in bench.deployer.state.reason
    assert report(bench).skipped > 0
