"""What a person asks for is checked, stored, written down, and only then published."""

import errno
import os

import pytest
from sqlalchemy import text

from kenpin_controller.errors import ConflictError, NotFoundError, StoreError, TooLargeError
from kenpin_controller.site import MAX_RELEASE_BYTES
from kenpin_wire.errors import ConfigError, LinkError, ReleaseError
from kenpin_wire.messages import ReleaseName, Reply, ReportedConfig, ReportedRelease, Threshold
from kenpin_wire.topics import Channel
from support import wait_until

METAL_1 = ReleaseName(name="metal", version="1")


@pytest.fixture
def site(controller):
    return controller.site


@pytest.fixture
def agent(new_agent, knows):
    arrived = new_agent()
    knows("cam-1")
    return arrived


def settings_of(agent):
    return agent.of(Channel.SET_CONFIG)[-1]


def test_a_threshold_names_the_release_whose_scores_it_belongs_to(site, agent):
    rev = site.set_threshold("cam-1", false_rejects=0.02, who="ana")
    wait_until(lambda: agent.of(Channel.SET_CONFIG), what="the settings")
    assert settings_of(agent).rev == rev
    assert settings_of(agent).threshold == Threshold(release="metal-1", false_rejects=0.02)


def test_settings_accumulate_on_the_wire(site, agent):
    site.set_threshold("cam-1", value=4.5, who="ana")
    rev = site.set_inspection("cam-1", False, who="ana")
    wait_until(lambda: agent.of(Channel.SET_CONFIG) and settings_of(agent).rev == rev, what="the settings")
    assert settings_of(agent).threshold.value == 4.5
    assert settings_of(agent).inspection is False


def test_a_device_that_comes_later_finds_its_settings(site, agent, new_agent):
    site.set_inspection("cam-1", False, who="ana")
    wait_until(lambda: agent.of(Channel.SET_CONFIG), what="the settings at the broker")
    late = new_agent("cam-1", silent=True)
    wait_until(lambda: late.of(Channel.SET_CONFIG), what="the settings")
    assert any(retained for topic, _, retained in late.heard if topic.channel is Channel.SET_CONFIG)


def test_a_revision_goes_beyond_what_the_device_has_reported_even_with_a_new_database(
    site, agent, controller
):
    agent.say(Channel.REPORTED_CONFIG, ReportedConfig(rev=57, boot=1, seq=5, release="metal-1"))
    wait_until(lambda: controller.fleet.device("cam-1").config, what="the report")
    assert site.set_inspection("cam-1", True, who="ana") == 58


def test_a_threshold_that_makes_no_sense_changes_nothing(site, agent):
    both = {"value": 1.0, "false_rejects": 0.1}
    for wish in (both, {"false_rejects": 0.0}, {"false_rejects": 1.5}, {"value": float("nan")}):
        with pytest.raises(ConfigError):
            site.set_threshold("cam-1", who="ana", **wish)
    assert site.desired_revs() == {}


def test_a_device_without_a_release_gets_no_threshold(site, new_agent, controller):
    new_agent("cam-7", release="")
    wait_until(lambda: controller.fleet.device("cam-7"), what="the device")
    with pytest.raises(ConfigError, match="no release yet"):
        site.set_threshold("cam-7", value=1.0, who="ana")


def test_a_device_that_nobody_heard_is_not_found(site):
    with pytest.raises(NotFoundError, match="no such device"):
        site.set_inspection("cam-99", True, who="ana")


def test_a_bad_release_is_refused_and_the_list_is_as_it_was(site, make, controller):
    kept = site.add_release(make.release(), who="ana")
    folder = controller.store.releases.path(kept.sha256).parent
    files = sorted(path.name for path in folder.iterdir())
    good = make.release(version="2")
    half, cut, altered = good[: len(good) // 2], good[:-30], good.replace(b"encoder", b"ENCODER")
    for bad in (b"", b"this is no release", half, cut, altered):
        with pytest.raises(ReleaseError) as refused:
            site.add_release(bad, who="ana")
        assert refused.value.where == "the uploaded release"
        assert "/" not in str(refused.value)
    assert site.releases() == [kept]
    assert sorted(path.name for path in folder.iterdir()) == files


def test_a_release_that_the_disk_cannot_take_leaves_the_list_as_it_was(site, make, monkeypatch):
    def no_space(path, data):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    kept = site.add_release(make.release(), who="ana")
    with monkeypatch.context() as full:
        full.setattr("kenpin_controller.store.releases.write_atomically", no_space)
        with pytest.raises(StoreError, match="No space left"):
            site.add_release(make.release(version="2"), who="ana")
    assert site.releases() == [kept]
    assert len([site.add_release(make.release(version="2"), who="ana"), *site.releases()]) == 3


def test_a_tampered_release_and_one_too_large_are_refused(site, make):
    with pytest.raises(ReleaseError):
        site.add_release(make.release(tamper=True), who="ana")
    with pytest.raises(TooLargeError):
        site.add_release(bytes(MAX_RELEASE_BYTES + 1), who="ana")
    assert site.releases() == []


def test_the_same_file_is_the_same_release_and_another_under_its_name_is_refused(site, make):
    first = site.add_release(make.release(), who="ana")
    assert first.summary["head"] == "knn"
    assert site.add_release(make.release(), who="ben").sha256 == first.sha256
    with pytest.raises(ConflictError):
        site.add_release(make.release(filler=b"another encoder"), who="ana")
    assert site.releases() == [first]


def test_a_rollout_tells_each_device_and_follows_what_it_reports(site, make, agent, new_agent, knows):
    other = new_agent("cam-2", "line-b")
    knows("cam-2")
    record = site.add_release(make.release(), who="ana")
    rollout = site.start_rollout(METAL_1, who="ana")
    assert {name: d.phase for name, d in rollout.devices.items()} == {
        "cam-1": "waiting",
        "cam-2": "waiting",
    }
    for device in (agent, other):
        wait_until(lambda: device.of(Channel.SET_RELEASE), what="the order")  # noqa: B023  used at once
        order = device.of(Channel.SET_RELEASE)[-1]
        assert (order.release, order.sha256, order.size) == (METAL_1, record.sha256, record.size)
        assert (order.rollout, order.rev) == (rollout.id, 1)

    agent.say(Channel.REPORTED_RELEASE, report(rollout, "committed", 2))
    other.say(Channel.REPORTED_RELEASE, report(rollout, "rejected", 2, reason="golden picture 0 differs"))
    wait_until(lambda: site.rollouts()[0].finished, what="the end")
    devices = site.rollouts()[0].devices
    assert devices["cam-1"].phase == "committed"
    assert (devices["cam-2"].phase, devices["cam-2"].reason) == ("rejected", "golden picture 0 differs")


def report(rollout, phase, seq, **fields):
    return ReportedRelease(rev=1, boot=1, seq=seq, latest=METAL_1, phase=phase, rollout=rollout.id, **fields)


def test_a_line_s_rollout_leaves_other_lines_alone(site, make, agent, new_agent, knows):
    new_agent("cam-2", "line-b")
    knows("cam-2")
    site.add_release(make.release(), who="ana")
    assert set(site.start_rollout(METAL_1, line="line-b", who="ana").devices) == {"cam-2"}


def test_a_rollout_to_nowhere_is_refused_and_tells_nobody(site, make, agent):
    site.add_release(make.release(), who="ana")
    for where, error in (
        ({"devices": ["cam-1", "cam-99"]}, NotFoundError),
        ({"devices": []}, NotFoundError),
        ({"line": "line-z"}, NotFoundError),
        ({"line": "line-a", "devices": ["cam-1"]}, ConfigError),
    ):
        with pytest.raises(error):
            site.start_rollout(METAL_1, who="ana", **where)
    assert site.rollouts() == []
    assert agent.of(Channel.SET_RELEASE) == []


def test_a_release_that_is_not_here_cannot_be_rolled_out(site, agent):
    with pytest.raises(NotFoundError, match="no such release"):
        site.start_rollout(METAL_1, who="ana")


def test_revisions_of_releases_grow_across_restarts(site, make, agent, new_controller, controller):
    site.add_release(make.release(), who="ana")
    site.start_rollout(METAL_1, who="ana")
    site.start_rollout(METAL_1, who="ana")
    controller.stop()
    again = new_controller()
    again.site.start_rollout(METAL_1, who="ana")
    wait_until(lambda: agent.of(Channel.SET_RELEASE)[-1].rev == 3, what="the orders")
    revs = [order.rev for order in agent.of(Channel.SET_RELEASE)]
    assert revs == sorted(revs)


def test_a_command_s_reply_is_followed(site, agent):
    command_id = site.send_command("cam-1", "ping", {"n": 1}, who="ana")
    wait_until(lambda: agent.of(Channel.CMD), what="the command")
    (command,) = agent.of(Channel.CMD)
    assert (command.id, command.arguments) == (command_id, {"n": 1})
    assert site.command(command_id).state == "init"
    agent.say(Channel.REPLY, Reply(id=command_id, state="executing"), argument=command_id)
    agent.say(Channel.REPLY, Reply(id=command_id, state="successful", result={"n": 2}), argument=command_id)
    found = site.command(command_id, wait_s=5)
    assert (found.state, found.result) == ("successful", {"n": 2})


def test_another_device_cannot_answer_for_the_one_that_was_asked(site, agent, new_agent, controller):
    command_id = site.send_command("cam-1", "ping", {}, who="ana")
    liar = new_agent("cam-2")
    liar.say(Channel.REPLY, Reply(id=command_id, state="failed"), argument=command_id)
    wait_until(lambda: controller.ingest.counts["reply"] == 1, what="the reply")
    assert site.command(command_id).state == "init"


def test_without_a_broker_a_command_is_refused_and_a_setting_waits(site, agent, broker, controller):
    broker.kill()
    wait_until(lambda: not controller.session.connected, what="the loss")
    with pytest.raises(LinkError, match="broker is away"):
        site.send_command("cam-1", "ping", {}, who="ana")
    rev = site.set_inspection("cam-1", False, who="ana")
    broker.start()
    controller.session.wait_connected(15)
    wait_until(lambda: len(agent.of(Channel.SET_CONFIG)) > 0, timeout_s=20, what="the setting")
    assert settings_of(agent).rev == rev


def test_what_cannot_be_a_verb_is_refused(site, agent):
    for verb in ("", "Ping", "ping/x", "+", "#", "x" * 40):
        with pytest.raises(ConfigError):
            site.send_command("cam-1", verb, {}, who="ana")


def test_every_deed_is_written_down_with_who_did_it(site, agent, make, controller):
    site.set_threshold("cam-1", value=2.0, who="ana")
    site.set_inspection("cam-1", False, who="ben")
    site.add_release(make.release(), who="cy")
    site.start_rollout(METAL_1, who="dan")
    site.send_command("cam-1", "ping", {}, who="eve")
    with controller.store.engine.connect() as connection:
        rows = connection.execute(text("select who, action, subject from audit order by id")).all()
    assert [tuple(row) for row in rows] == [
        ("ana", "set threshold", "cam-1"),
        ("ben", "set inspection", "cam-1"),
        ("cy", "add release", "metal-1"),
        ("dan", "start rollout", "metal-1"),
        ("eve", "command ping", "cam-1"),
    ]
