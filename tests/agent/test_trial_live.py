"""A candidate that fails its trial is gone by the next frame, whether a broker is there or not."""

from __future__ import annotations

import json
import logging
import os
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import cv2
import pytest

from kenpin_agent import runtime
from kenpin_agent.assembly import run_agent
from kenpin_agent.config import AgentConfig
from kenpin_agent.deployment.slots import Slots
from kenpin_agent.threads import one_thread_environment
from kenpin_agent.watchdog import EXIT_STATUS, Watchdog
from kenpin_wire.messages import Phase
from support import ROOT, free_port, wait_until
from support.agent_on_bench import small_release
from support.small_release import part

HANGS = """
import sys, threading
from kenpin_agent import assembly, runtime
from kenpin_agent.config import load_config
from kenpin_agent.watchdog import Watchdog
from pathlib import Path

def inspect(frame, release, *args, real=runtime.inspect, **kwargs):
    if release.label == "discs-2":
        threading.Event().wait()
    return real(frame, release, *args, **kwargs)

runtime.inspect = inspect
assembly.Watchdog = lambda: Watchdog(patience_s=1.0)
assembly.run_agent(load_config(Path(sys.argv[1])), threading.Event())
"""


@pytest.fixture
def device(tmp_path: Path) -> Path:
    """A device's folder with a committed release, discs-1, that has seen sound parts. There is no broker."""
    (tmp_path / "parts").mkdir()
    for number in range(10, 16):
        cv2.imwrite(str(tmp_path / "parts" / f"{number}.png"), part(number))
    run(tmp_path, small_release(tmp_path, "1"), until=lambda: phase(tmp_path) is Phase.COMMITTED)
    return tmp_path


@pytest.fixture(autouse=True)
def own_log_handlers() -> Iterator[None]:
    root = logging.getLogger()
    before = list(root.handlers)
    yield
    root.handlers[:] = before


def settings(folder: Path, release: Path) -> dict[str, object]:
    return {
        "site": "s",
        "line": "l",
        "device": "d",
        "state_dir": str(folder / "state"),
        "release": str(release),
        "broker": {"port": free_port()},
        "camera": {"kind": "folder", "path": str(folder / "parts"), "rate_hz": 20.0},
        "thermometer": {"kind": "none"},
    }


def run(folder: Path, release: Path, *, until: object) -> None:
    """Run the agent, put together as on a device, until something is so."""
    assert callable(until)
    stop = threading.Event()
    config = AgentConfig.model_validate(settings(folder, release))
    thread = threading.Thread(target=run_agent, args=(config, stop))
    thread.start()
    try:
        wait_until(until, timeout_s=30, what="what the agent was run for")
    finally:
        stop.set()
        thread.join(20)


def phase(folder: Path) -> Phase:
    return Slots(folder / "state").load().phase


def judged_by(folder: Path) -> list[str]:
    """Which release the seconds' scores are from that wait for the broker, in order."""
    with sqlite3.connect(f"file:{folder / 'state' / 'outbox.sqlite'}?mode=ro", uri=True) as outbox:
        table = outbox.execute(
            "select name from sqlite_master where type = 'table' and name not like 'sqlite%'"
        )
        rows = outbox.execute(
            f"select payload from {table.fetchone()[0]} where channel = 'score/agg' order by id"
        )
        return [str(json.loads(payload)["release"]) for (payload,) in rows]


def test_without_a_broker_a_candidate_that_rejects_everything_is_put_back_by_itself(device: Path) -> None:
    wrong = small_release(
        device, "2", threshold=1e-6
    )  # its golden pictures give their scores; only it judges wrong
    before = len(judged_by(device))

    def old_one_judges_again() -> bool:
        since = judged_by(device)[before:]
        return phase(device) is Phase.ROLLED_BACK and "discs-2" in since and since[-1] == "discs-1"

    run(device, wrong, until=old_one_judges_again)
    state = Slots(device / "state").load()
    assert "reject-rate explosion: it rejects 100%" in state.reason
    assert state.committed is not None
    assert str(state.committed.release) == "discs-1"


def test_without_a_broker_a_candidate_that_fails_on_a_frame_is_gone_by_the_next(
    device: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    judged: list[str] = []
    real = runtime.inspect

    def fails(frame: object, release: runtime.Release, *args: object, **kwargs: object) -> object:
        judged.append(release.label)
        if release.label == "discs-2":
            raise RuntimeError("no such tensor")
        return real(frame, release, *args, **kwargs)  # type: ignore[arg-type]  # as it was called

    monkeypatch.setattr(runtime, "inspect", fails)
    run(
        device,
        small_release(device, "2"),
        until=lambda: phase(device) is Phase.ROLLED_BACK and judged[-1] == "discs-1",
    )
    assert "it failed on a live frame: no such tensor" in Slots(device / "state").load().reason
    assert judged.count("discs-2") <= 20  # as many frames as come while the deployer stores that it failed


def test_a_candidate_that_hangs_ends_the_process_and_the_next_start_is_without_it(device: Path) -> None:
    config = device / "agent.toml"
    candidate = small_release(device, "2")
    wanted = settings(device, candidate)
    lines = [f"{key} = {json.dumps(value)}" for key, value in wanted.items() if not isinstance(value, dict)]
    for name, table in wanted.items():
        if isinstance(table, dict):
            lines += [f"[{name}]", *(f"{key} = {json.dumps(value)}" for key, value in table.items())]
    config.write_text("\n".join(lines))
    hung = subprocess.run(
        [sys.executable, "-c", HANGS, str(config)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={**one_thread_environment(), "PYTHONPATH": os.pathsep.join(sys.path)},
        cwd=ROOT,
    )
    assert hung.returncode == EXIT_STATUS, hung.stderr
    assert "Traceback" not in hung.stderr
    state = Slots(device / "state").load()
    assert state.phase is Phase.ROLLED_BACK
    assert "did not come back from a live frame within 1 s" in state.reason
    assert state.committed is not None
    assert str(state.committed.release) == "discs-1"
    before = len(judged_by(device))
    run(device, candidate, until=lambda: len(judged_by(device)) > before + 1)
    assert set(judged_by(device)[before:]) == {"discs-1"}
    assert phase(device) in (Phase.ROLLED_BACK, Phase.REJECTED)


def test_the_watchdog_lets_work_that_returns_be() -> None:
    left: list[int] = []
    hung: list[str] = []
    watchdog = Watchdog(patience_s=0.3, leave=left.append)
    watchdog.start()
    for _ in range(30):
        with watchdog.over(hung.append):
            threading.Event().wait(0.02)
    threading.Event().wait(0.5)  # and what is not watched may take its time
    assert (left, hung) == ([], [])
    with watchdog.over(hung.append):
        wait_until(lambda: left, what="the end")
    assert (left, len(hung)) == ([EXIT_STATUS], 1)
    watchdog.stop()
