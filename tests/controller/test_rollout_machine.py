"""The rollout's machine against the agent's own: whatever is interleaved, no device gets what a gate holds back."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kenpin_controller.rollouts import state as s
from kenpin_controller.rollouts.gates import CameraCounts, Counts, Evidence, Verdicts
from kenpin_controller.rollouts.machine import step
from kenpin_controller.rollouts.plan import (
    ApprovalGate,
    Gates,
    OnFailure,
    Plan,
    ShadowGate,
    Subject,
    Wave,
    Window,
)
from kenpin_controller.rollouts.telling import sentence
from kenpin_controller.rollouts.views import GateState, Stage, Status
from kenpin_wire.messages import Phase, Policy, ShadowPolicy
from support.rollout_sim import NEW, OLD, Device, World


def fleet(lines: int = 3, each: int = 4) -> list[Device]:
    return [Device(f"cam-{line}{place}", f"line-{line}") for line in range(lines) for place in range(each)]


def plan(**fields) -> Plan:
    return Plan(subject=Subject(release=NEW), **fields)


SHADOWED = {
    "policy": Policy(shadow=ShadowPolicy()),
    "gates": Gates(shadow=ShadowGate()),
}


def canary(world: World) -> Device:
    return next(world.devices[d.device] for d in world.state.devices.values() if d.wave == 0)


def run(world: World, steps: int = 12, *, well: bool = True) -> None:
    for _ in range(steps):
        for device in world.devices.values():
            device.listen()
            device.work(well=well)
        world.now_s += 5.0
        world.look()


def stages(world: World) -> dict[str, Stage]:
    return {name: d.stage for name, d in world.state.devices.items()}


def test_a_good_release_goes_from_one_canary_to_a_quarter_to_all():
    world = World(plan(), fleet())
    world.look()
    assert [d.device for d in world.state.devices.values() if d.stage is Stage.WAITING] == ["cam-00"]
    run(world, 40)
    assert world.state.status is Status.FINISHED
    assert all(device.runs == NEW for device in world.devices.values())
    assert [len([d for d in world.state.devices.values() if d.wave == w]) for w in range(3)] == [1, 2, 9]


def test_few_devices_get_it_at_once():
    world = World(plan(), fleet(1, 2))
    world.look()
    assert set(stages(world).values()) == {Stage.WAITING}


def test_a_release_that_fails_its_trial_on_the_canary_reaches_nobody_else():
    world = World(plan(), fleet())
    world.look()
    for _ in range(8):
        for device in world.devices.values():
            device.listen()
            device.work(well=device.state.phase is not Phase.TRIAL)
        world.look()
    assert world.state.status is Status.REVERTED
    assert [d.name for d in world.devices.values() if d.ever_judged_with_new] == [canary(world).name]
    assert all(device.runs == OLD for device in world.devices.values())


def bad_canary(world: World) -> Evidence:
    counts = CameraCounts(
        now=Counts(40, 22),
        before=Counts(400, 4),
        siblings_now=Counts(120, 1),
        siblings_before=Counts(900, 9),
    )
    return Evidence(cameras={canary(world).name: counts})


def test_a_release_that_rejects_good_parts_is_taken_back_from_the_canary():
    world = World(plan(gates=Gates(soak_s=600)), fleet())
    run(world)
    assert canary(world).runs == NEW
    world.evidence = bad_canary(world)
    run(world)
    assert world.state.status is Status.REVERTED
    assert "reject rate" in world.state.cause
    assert all(device.runs == OLD for device in world.devices.values())
    assert sum(device.ever_judged_with_new for device in world.devices.values()) == 1
    assert stages(world)[canary(world).name] is Stage.RETURNED


def test_a_gate_that_closes_in_the_second_wave_takes_back_the_second_wave_alone():
    world = World(plan(), fleet())
    while world.state.wave == 0:
        run(world, 1)
    for _ in range(8):
        for device in world.devices.values():
            device.listen()
            device.work(well=device.name != "cam-20" or device.state.phase is not Phase.TRIAL)
        world.look()
    assert world.state.devices["cam-20"].wave == 1
    run(world)
    assert world.state.status is Status.REVERTED
    assert [device.name for device in world.devices.values() if device.runs == NEW] == [canary(world).name]
    assert sum(device.ever_judged_with_new for device in world.devices.values()) == 3


def test_with_halt_what_has_switched_stays():
    world = World(plan(gates=Gates(soak_s=600), on_failure=OnFailure.HALT), fleet())
    run(world)
    world.evidence = bad_canary(world)
    run(world)
    assert world.state.status is Status.HALTED
    assert canary(world).runs == NEW
    assert sum(device.ever_judged_with_new for device in world.devices.values()) == 1


def test_a_bad_shadow_report_stops_it_before_anybody_judges_with_it():
    world = World(plan(**SHADOWED), fleet())
    for _ in range(12):
        for device in world.devices.values():
            device.listen()
            device.work(well=True)
            world.shadow(device.name, good=False)
        world.look()
    assert world.state.status is Status.REVERTED
    assert "KS 0.90" in world.state.cause
    assert not any(device.ever_judged_with_new for device in world.devices.values())
    assert canary(world).state.phase is Phase.CANCELLED


def test_a_report_of_an_earlier_order_opens_no_gate():
    world = World(plan(**SHADOWED), fleet(1, 1))
    run(world, 6)
    (device,) = world.devices.values()
    assert device.state.phase is Phase.STAGED
    world.shadow(device.name)
    world.reports[device.name] = world.reports[device.name].model_copy(update={"rev": 0})
    run(world, 3)
    assert device.state.phase is Phase.STAGED
    world.shadow(device.name)
    run(world, 6)
    assert device.runs == NEW


def test_a_staged_device_waits_for_a_person_and_takes_the_threshold_that_was_approved():
    world = World(plan(policy=Policy(approval=True)), fleet(1, 1))
    run(world)
    (device,) = world.devices.values()
    assert device.state.phase is Phase.STAGED
    assert "waits for a yes" in sentence(world.state)
    world.tell(s.ApproveDevice("ana", device.name, 2.5))
    _, effects = step(world.state, s.Tick(world.sights(), 12.0, Evidence()), world.now_s)
    assert [type(effect) for effect in effects] == [s.SetThreshold, s.Order, s.Say]
    assert effects[0].threshold.release == str(NEW)
    assert effects[0].threshold.value == 2.5
    run(world)
    assert device.runs == NEW


def test_the_next_wave_waits_for_a_yes_in_a_word_or_frame_by_frame():
    for yes in ("word", "frames"):
        world = World(plan(gates=Gates(approval=ApprovalGate())), fleet())
        run(world)
        assert world.state.wave == 0
        assert canary(world).runs == NEW
        world.evidence = Evidence(verdicts=Verdicts(new=9, old=3))
        run(world)
        assert world.state.wave == 0
        if yes == "word":
            world.tell(s.ApproveWave("ana"))
        else:
            world.evidence = Evidence(verdicts=Verdicts(new=11, old=1))
        run(world, 2)
        assert world.state.wave == 1


def test_a_closed_gate_cannot_be_approved():
    world = World(plan(gates=Gates(approval=ApprovalGate()), on_failure=OnFailure.HALT), fleet())
    run(world)
    world.evidence = bad_canary(world)
    world.look()
    with pytest.raises(s.NotNowError):
        step(world.state, s.ApproveWave("ana"), world.now_s)


def test_an_offline_device_holds_its_wave_up_for_a_while_and_gets_it_when_it_is_back():
    world = World(plan(waves=(Wave(count=2), Wave(share=1.0)), device_s=600), fleet(1, 4))
    world.look()
    lost = world.devices["cam-01"]
    lost.online = False
    run(world, 8)
    assert world.state.wave == 0
    world.now_s += 700
    run(world, 12)
    assert world.state.status is Status.FINISHED
    behind = world.state.devices["cam-01"]
    assert behind.behind
    assert "offline" in behind.reason
    assert not world.state.over
    lost.online = True
    run(world)
    assert lost.runs == NEW
    assert world.state.over


def test_a_device_that_comes_back_after_an_abort_does_not_get_it():
    world = World(plan(), fleet(1, 2))
    lost = world.devices["cam-01"]
    lost.online = False
    run(world, 2)
    world.tell(s.Abort("ana", "wrong product", True, world.sights()))
    run(world)
    lost.online = True
    run(world)
    assert {device.runs for device in world.devices.values()} == {OLD}
    assert world.state.status is Status.REVERTED
    assert not lost.ever_judged_with_new


def test_a_device_that_switched_before_it_heard_of_the_end_is_sent_back():
    world = World(plan(), fleet(1, 1))
    (device,) = world.devices.values()
    run(world, 3)
    device.online = False
    device.work(well=True)
    device.work(well=True)
    device.work(well=True)
    world.tell(s.Abort("ana", "wrong product", True, world.sights()))
    assert device.runs == NEW
    device.online = True
    run(world)
    assert device.runs == OLD
    assert stages(world)[device.name] is Stage.RETURNED


def test_failures_without_a_change_are_tried_again_ever_later_and_not_for_ever():
    world = World(plan(retries=2, retry_s=100), fleet(1, 1))
    (device,) = world.devices.values()
    waits = []
    for _ in range(3):
        world.look()
        device.listen()
        device.work(well=False)
        world.look()
        state = world.state.devices[device.name]
        waits.append(state.next_s - world.now_s if state.next_s else None)
        world.now_s += 1000
    assert waits == [100, 200, None]
    assert stages(world)[device.name] is Stage.FAILED
    world.look()
    assert world.state.status is Status.FAILED
    world.tell(s.Retry("ana", device.name))
    run(world, 8)
    assert world.state.status is Status.FINISHED


def test_a_rejected_release_is_not_tried_again():
    world = World(plan(), fleet(1, 1))
    (device,) = world.devices.values()
    run(world, 2)
    device.work(well=False)
    world.look()
    assert (device.state.phase, stages(world)[device.name]) == (Phase.REJECTED, Stage.FAILED)


def test_a_last_wave_that_failed_is_not_called_finished():
    world = World(plan(), fleet(1, 1))
    (device,) = world.devices.values()
    run(world, 2)
    device.work(well=False)
    run(world, 4)
    assert world.state.status is Status.FAILED
    assert "1 of 1 failed" in world.state.cause


def test_orders_start_only_inside_the_window_and_returns_at_any_time():
    world = World(plan(window=Window(from_h=22, until_h=6)), fleet(1, 2))
    run(world, 3)
    assert set(stages(world).values()) == {Stage.HELD}
    world.hour = 23.5
    run(world, 8)
    assert {device.runs for device in world.devices.values()} == {NEW}
    world.hour = 9.0
    world.tell(s.Abort("ana", "dull", True, world.sights()))
    run(world, 8)
    assert {device.runs for device in world.devices.values()} == {OLD}


def test_a_pinned_device_is_passed_by_visibly():
    world = World(plan(), fleet(1, 2))
    sights = world.sights()
    sights["cam-00"] = s.Sight(online=True, runs=str(OLD), kept=True, pinned="pinned by ana: audit")
    world.tell(s.Tick(sights, 12.0, Evidence()))
    assert stages(world) == {"cam-00": Stage.PASSED, "cam-01": Stage.WAITING}
    assert any("pinned by ana" in line for line in world.said)


def test_a_paused_rollout_orders_nothing_but_still_watches():
    world = World(plan(gates=Gates(soak_s=3600)), fleet())
    run(world)
    world.tell(s.Pause("ana"))
    run(world)
    assert world.state.wave == 0
    world.evidence = bad_canary(world)
    run(world)
    assert world.state.status is Status.REVERTED


def test_skipping_the_only_canary_does_not_open_the_gate():
    world = World(plan(), fleet())
    world.look()
    world.tell(s.Skip("ana", canary(world).name, "its lamp is broken"))
    run(world)
    assert world.state.wave == 0
    assert "0 of this wave have it" in sentence(world.state)
    world.tell(s.ApproveWave("ana"))
    run(world, 40)
    assert world.state.status is Status.FINISHED
    assert canary(world).runs == OLD


def test_a_later_order_of_another_rollout_is_never_undone():
    world = World(plan(gates=Gates(soak_s=600)), fleet())
    run(world)
    name = canary(world).name
    other = world.orders[name].model_copy(update={"rollout": "r2"})
    world.orders[name] = other
    world.evidence = bad_canary(world)
    run(world)
    assert world.state.status is Status.REVERTED
    assert world.orders[name] == other


ACTIONS = (
    "work",
    "fail",
    "offline",
    "online",
    "look",
    "late",
    "die",
    "kill",
    "broker",
    "verb",
    "bad",
    "shadow",
)


@settings(max_examples=80, deadline=None)
@given(data=st.data())
def test_whatever_is_interleaved_no_gate_is_passed_and_all_ends_well_or_says_what_it_waits_for(data):
    shadowed = data.draw(st.booleans())
    gates = Gates(
        shadow=ShadowGate() if shadowed else None,
        approval=ApprovalGate() if data.draw(st.booleans()) else None,
        success=data.draw(st.sampled_from([0.5, 0.9, 1.0])),
        soak_s=data.draw(st.sampled_from([0.0, 300.0])),
    )
    policy = Policy(shadow=ShadowPolicy() if shadowed else None, approval=data.draw(st.booleans()))
    failing = data.draw(st.sampled_from(list(OnFailure)))
    world = World(plan(gates=gates, policy=policy, on_failure=failing), fleet(2, 3))
    names = sorted(world.devices)
    for action in data.draw(st.lists(st.sampled_from(ACTIONS), min_size=5, max_size=60)):
        device = world.devices[data.draw(st.sampled_from(names))]
        world.now_s += data.draw(st.sampled_from([1.0, 30.0, 4000.0]))
        match action:
            case "work" | "fail":
                device.listen()
                device.work(well=action == "work")
            case "offline" | "online":
                device.online = action == "online"
            case "look":
                world.look()
            case "late":
                world.tell(device.report())
            case "die":
                world.look(dies_before_storing=True)
            case "kill":  # after the store, before the broker; and started again
                world.look(dies_before_publishing=True)
                world.reconnect()
            case "broker":
                world.broker_up = not world.broker_up
                if world.broker_up:
                    world.reconnect()
            case "verb":
                world.tell(data.draw(st.sampled_from(verbs(world, device.name))))
            case "bad":
                world.evidence = bad_canary(world) if data.draw(st.booleans()) else Evidence()
            case "shadow":
                world.shadow(device.name, good=data.draw(st.sampled_from([True, True, False])))
    world.drain()
    check_end(world)


def verbs(world: World, device: str) -> list:
    return [
        s.Pause("ana"),
        s.Resume("ana"),
        s.Abort("ana", "so", len(world.said) % 2 == 0, world.sights()),
        s.ApproveWave("ana"),
        s.ApproveDevice("ana", device),
        s.Retry("ana", device),
        s.Skip("ana", device, "so"),
    ]


def data_revert(world: World) -> bool:
    return len(world.said) % 2 == 0


def check_end(world: World) -> None:
    """Two undisturbed days later it is over, or says what it waits for."""
    state = world.state
    if not state.over:
        waits = state.status is Status.PAUSED or any(
            device.gate is not None or device.phase == Phase.STAGED for device in state.devices.values()
        )
        gates = [gate for gate in state.gates.get(state.wave, ()) if gate.state is GateState.WAIT]
        assert waits or gates, sentence(state)
    for name, device in state.devices.items():
        if device.stage in (Stage.CANCELLED, Stage.RETURNED, Stage.HELD):
            assert world.devices[name].runs == OLD, (name, device)
        if device.stage is Stage.DONE:
            assert world.devices[name].runs == NEW, (name, device)
    if state.status is Status.REVERTED and "ended by" in state.cause:
        assert all(device.runs == OLD for device in world.devices.values())
