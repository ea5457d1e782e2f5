"""An agent is killed at any moment, again and again, also while releases are switched."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from kenpin_controller.demo.plan import agent_toml
from support.fleet import Fleet, disc_station, write_discs

KILLS = 50
RELEASES = 12
LONGEST_LIFE_S = 2.0
"""Long enough for a release to be verified and stand its trial of ten frames now and then."""
SEED = 7


def state(state_dir: Path) -> dict[str, Any]:
    """What is stored; a fresh device's before anything was."""
    file = state_dir / "deployment.json"
    return dict(json.loads(file.read_bytes())) if file.exists() else {"phase": "idle"}


def committed(state_dir: Path) -> str:
    """What the state file says is committed; empty before the first."""
    installed = state(state_dir).get("committed")
    return f"{installed['release']['name']}-{installed['release']['version']}" if installed else ""


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_an_agent_killed_fifty_times_always_comes_back_on_a_committed_release(fleet: Fleet) -> None:
    story, seat, chance = (
        fleet.story,
        disc_station(1, write_discs(fleet.folder / "discs"), rate_hz=30),
        random.Random(SEED),
    )
    config, state_dir = fleet.folder / "cam-1.toml", fleet.folder / "cam-1"
    config.write_text(agent_toml(seat, fleet.broker.port, state_dir, story.root))
    versions = [str(number) for number in range(1, RELEASES + 1)]
    files = {version: fleet.release(version).file for version in versions}
    for version in versions:
        story.upload(files[version])
    running: set[str] = set()
    phases: set[str] = set()
    left = list(versions)

    def start() -> subprocess.Popen[bytes]:
        with (fleet.folder / "cam-1.log").open("ab") as log:
            return subprocess.Popen(
                [sys.executable, "-m", "kenpin_agent.cli", "run", "--config", str(config)],
                stdout=log,
                stderr=log,
            )

    agent = start()
    try:
        story.wait_known("cam-1")
        for kill in range(KILLS):
            if kill % 4 == 0 and left:
                story.roll_out("discs", left.pop(0), ["cam-1"])
            time.sleep(chance.uniform(0.0, LONGEST_LIFE_S))
            os.kill(agent.pid, signal.SIGKILL)
            agent.wait()
            before = committed(state_dir)
            phases.add(state(state_dir)["phase"])
            boot = int((state_dir / "boot").read_text())
            agent = start()
            back = story.observer.wait(
                "cam-1", lambda heard, b=boot: heard.release is not None and heard.release.boot > b, 20
            )
            assert back is not None, f"it did not come back after kill {kill}"
            said = story.observer.devices["cam-1"].first_release_of_boot
            assert said is not None
            assert str(said.installed or "") == before
            running.add(before)
    finally:
        agent.kill()
        agent.wait()
    print("phases that a kill met:", sorted(phases), "ran:", sorted(running))
    assert len(running - {""}) >= 3, "too few releases were switched for this to show anything"
    assert phases - {"committed", "idle"}, "no kill met a deployment under way"
