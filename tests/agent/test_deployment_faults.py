"""A deployment is killed, loses its power or its disk at every point of it, and again and again at random: the device
always runs a release that was committed, and says how it ended."""

from __future__ import annotations

import logging
import os
import random

import pytest

from kenpin_agent.deployment import download
from kenpin_agent.deployment.slots import Slots
from kenpin_agent.deployment.state import MAX_STARTS, RESTING
from kenpin_wire.messages import Phase, Policy, ShadowPolicy
from support.sim_device import BLOCK, FOLDER, Fault, Faults, File, Scenario, SimDevice, prepared

OLD, NOW, NEW = File("old"), File("now"), File("new")
DEADLY = File("deadly", deadly=True)
SHADOW = Policy(shadow=ShadowPolicy())
BOTH = Policy(shadow=ShadowPolicy(), approval=True)
SCENARIOS = [
    Scenario("a first release", [], NEW),
    Scenario("a release after two others", [OLD, NOW], NEW),
    Scenario("shadow and approval", [NOW], NEW, BOTH),
    Scenario("approval", [NOW], NEW, Policy(approval=True)),
    Scenario("cancelled in its shadow", [NOW], NEW, BOTH, cancelled=True),
    Scenario("the way back", [OLD, NOW], OLD),
    Scenario("wrong golden scores", [NOW], File("bad", golden=False)),
    Scenario("fails in its shadow", [NOW], File("bad", in_shadow=False), SHADOW),
    Scenario("kills the program", [OLD, NOW], DEADLY),
    Scenario("kills the program in its shadow", [NOW], DEADLY, SHADOW),
    Scenario("fails in its trial", [OLD, NOW], File("bad", in_trial=False)),
]
RANDOM_SCHEDULES = int(os.environ.get("KENPIN_FAULT_SCHEDULES", "2000"))
AT_EACH_POINT = [Fault.KILL, Fault.CUT, Fault.CUT, Fault.CUT, Fault.FULL, Fault.BROKEN]
READY = {scenario.name: prepared(scenario) for scenario in SCENARIOS}


@pytest.fixture(autouse=True)
def _few_bytes_at_stake(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """So that a file of ten small blocks is synced on the way, as one of five megabytes is."""
    caplog.set_level(logging.CRITICAL, "kenpin_agent")
    monkeypatch.setattr(download, "UNSYNCED_BYTES", 3 * BLOCK)


def play(scenario: Scenario, plan: dict[int, Fault], seed: int = 0) -> SimDevice:
    disk, proven = READY[scenario.name]
    device = SimDevice(scenario, disk.copy(Faults(plan), random.Random(seed)), proven)
    device.run()
    return device


def judge(device: SimDevice) -> None:
    """What must hold at the end of every schedule."""
    state, scenario = device.deployer.state, device.scenario
    struck, device.faults.plan = device.faults.struck, {}
    assert Slots(FOLDER, device.disk).load() == state, "the end is stored"
    assert state.phase in RESTING
    assert state.phase is Phase.COMMITTED or state.reason
    if state.committed is None:
        assert not scenario.before
        assert device.runs is None
    else:
        assert state.committed.sha256 in device.proven, "only what stood its trial is committed"
        assert device.runs is not None
        assert device.runs.version == state.committed.release.version
    for installed in (state.committed, state.previous):
        if installed is not None:
            file = next(f for f in (OLD, NOW, NEW, scenario.file) if f.sha256 == installed.sha256)
            slot = Slots(FOLDER, device.disk).check(installed)
            assert device.disk.read(slot / "head") == file.data, "its bytes are intact"
    kills = sum(fault in (Fault.KILL, Fault.CUT) for fault in struck)
    assert device.deaths <= MAX_STARTS + 1
    assert device.restarts <= device.deaths + kills + sum(
        fault in (Fault.FULL, Fault.BROKEN) for fault in struck
    )
    assert device.blocks_sent <= 10 * (len(struck) + 1), "nothing is fetched again without need"
    if kills == len(struck) and kills <= MAX_STARTS:
        expected(device)
    if scenario.file.good:
        assert not state.quarantine, "nothing is held against a good release"


def expected(device: SimDevice) -> None:
    """Mere kills and power cuts change nothing of how it ends."""
    state, scenario = device.deployer.state, device.scenario
    if scenario.cancelled:
        assert state.phase is Phase.CANCELLED
    elif scenario.file.deadly:
        assert state.phase in (Phase.FAILED_NO_CHANGE, Phase.ROLLED_BACK)
        assert "the program ended" in state.reason
        assert not state.quarantine
    elif scenario.file.good:
        assert state.phase is Phase.COMMITTED
        assert state.committed is not None
        assert state.committed.sha256 == scenario.file.sha256
    else:
        assert state.phase is (Phase.REJECTED if scenario.file.in_trial else Phase.ROLLED_BACK)
        assert scenario.file.sha256 in state.quarantine
        assert state.committed is not None
        assert state.committed.sha256 == NOW.sha256


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda s: s.name.replace(" ", "-"))
def test_one_fault_at_any_point(scenario: Scenario) -> None:
    undisturbed = play(scenario, {})
    judge(undisturbed)
    points = undisturbed.faults.count
    for point in range(points):
        for seed, fault in enumerate(AT_EACH_POINT):
            device = play(scenario, {point: fault}, seed)
            try:
                judge(device)
            except AssertionError as error:
                raise AssertionError(f"{fault} at {point} of {points}, seed {seed}: {error}") from error


def test_there_are_enough_schedules() -> None:
    points = sum(play(scenario, {}).faults.count for scenario in SCENARIOS)
    assert points * len(AT_EACH_POINT) + RANDOM_SCHEDULES >= 10_000


def test_many_faults_at_random() -> None:
    for seed in range(RANDOM_SCHEDULES):
        chance = random.Random(seed)
        scenario = chance.choice(SCENARIOS)
        kinds = [Fault.KILL, Fault.CUT] if chance.random() < 0.5 else list(Fault)
        plan = {chance.randint(0, 400): chance.choice(kinds) for _ in range(chance.randint(1, 9))}
        device = play(scenario, plan, seed)
        try:
            judge(device)
        except AssertionError as error:
            raise AssertionError(f"seed {seed}, {scenario.name}, {plan}: {error}") from error
