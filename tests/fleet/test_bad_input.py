"""A whole fleet is told nonsense, loses its camera, and finds files gone: it inspects on, and says what is wrong."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import cv2
import httpx
import paho.mqtt.client as mqtt
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from kenpin_agent.cameras.config import FolderConfig
from kenpin_agent.config import load_config
from kenpin_agent.pictures import list_pictures
from kenpin_controller.demo.plan import Station, agent_toml
from kenpin_controller.demo.processes import Programs
from kenpin_controller.demo.teach import split_pictures
from kenpin_wire.contract import CONTRACT, Sender, decode
from kenpin_wire.errors import ConfigError
from kenpin_wire.messages import CameraState, Telemetry
from kenpin_wire.topics import Address, Channel, Topic, TopicTree
from support import wait_until
from support.fleet import LINE, Fleet, station
from support.small_release import part

SITE = "demo"
DEVICE = Address(SITE, LINE, "cam-1")
TREE = TopicTree()

NO_MESSAGE = (
    b"",
    b"\xff\xfe\x00",
    b"{",
    b"[]",
    b"null",
    b'{"ts": "never"}',
    b'{"boot": "first", "seq": {}}',
    b'{"seq": 99999999999999999999999}',
    b"[" * 50_000,
    b"x" * 200_000,
    b"KB01" + bytes(8) + b"damaged",
    b"\xff\xd8\xff\xd9",
)
"""Breaks the contract of every channel."""
NO_WISH = (b"{}", b'{"rev": -1}', b'{"rev": 1e400}', b'{"rev": "5"}', b'{"id": "%s"}' % (b"y" * 70))
"""Breaks the contract of what a controller says."""
ARGUMENTS = {
    Channel.SET_BLOB: "0" * 64,
    Channel.SET_META: "nobody-asked",
    Channel.CMD: "selfdestruct",
    Channel.REPLY: "nobody-asked",
}


class Stranger:
    """Somebody on the broker who may publish anything anywhere."""

    def __init__(self, port: int) -> None:
        self.telemetry: Telemetry | None = None
        self._client = mqtt.Client(CallbackAPIVersion.VERSION2, protocol=mqtt.MQTTv5)
        self._client.on_message = self._hear
        self._client.connect("127.0.0.1", port)
        self._client.subscribe(TREE.build(Topic(DEVICE, Channel.TELEMETRY)), qos=1)
        self._client.loop_start()

    def say(self, topic: str, payload: bytes, *, retain: bool = False) -> None:
        self._client.publish(topic, payload, qos=1, retain=retain).wait_for_publish(10)

    def stop(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()

    def _hear(self, _client: mqtt.Client, _userdata: object, message: mqtt.MQTTMessage) -> None:
        if message.payload not in NO_MESSAGE:
            self.telemetry = decode(Channel.TELEMETRY, message.payload)


@pytest.fixture
def stranger(fleet: Fleet) -> Iterator[Stranger]:
    someone = Stranger(fleet.broker.port)
    yield someone
    someone.stop()


@pytest.mark.slow
def test_nonsense_on_every_topic_stops_neither_agent_nor_controller(fleet: Fleet, stranger: Stranger) -> None:
    story = fleet.story
    story.start_agents([station(1, rate_hz=10)])
    story.send(fleet.release("1"))
    story.move_threshold("cam-1", 0.05)
    heard = story.observer.devices["cam-1"]
    judged, events = heard.judged, len(story.events("cam-1"))
    heard.longest_gap_s = 0.0
    for channel, spec in CONTRACT.items():
        wrong = NO_MESSAGE + NO_WISH * (spec.sender is Sender.CONTROLLER and channel is not Channel.SET_ACK)
        for address in (DEVICE, DEVICE.whole_line) if channel is Channel.SET_CONFIG else (DEVICE,):
            topic = TREE.build(Topic(address, channel, ARGUMENTS.get(channel, "")))
            for payload in wrong:
                stranger.say(topic, payload)
            stranger.say(topic, b"{", retain=True)
            stranger.say(topic, b"", retain=True)
    for tail in ("score/agg/more", "set/blob/short", "set", "nonsense", "cmd/" + "v" * 99):
        stranger.say(f"{TREE.prefix}/{SITE}/{LINE}/cam-1/{tail}", b"{}")
    stale = b'{"rev": 0, "inspection": false}'
    stranger.say(TREE.build(Topic(DEVICE, Channel.SET_CONFIG)), stale)
    stranger.say(TREE.build(Topic(DEVICE, Channel.CMD, "ping")), b'{"id": "twice"}')
    stranger.say(TREE.build(Topic(DEVICE, Channel.CMD, "ping")), b'{"id": "twice"}')

    assert story.command("cam-1", "ping")["state"] == "successful"
    assert story.command("cam-1", "dance")["state"] == "failed"
    story.move_threshold("cam-1", 0.1)
    story.send(fleet.release("2"))
    assert story.failures == []
    assert heard.judged > judged
    assert heard.longest_gap_s < 2.0
    assert story.healthy()
    wait_until(lambda: len(story.events("cam-1")) > events, what="an anomaly after the storm")
    counts = httpx.get(f"{story.page}/healthz").json()["messages"]
    assert counts["dropped: malformed"] > len(NO_MESSAGE)
    wait_until(
        lambda: stranger.telemetry is not None and stranger.telemetry.rejected_messages > len(NO_MESSAGE),
        timeout_s=15,
        what="the agent's own count",
    )


@pytest.mark.slow
def test_a_camera_that_dies_is_named_and_taken_up_again(fleet: Fleet, stranger: Stranger) -> None:
    folder = fleet.folder / "belt"
    folder.mkdir()
    for number in range(3):
        cv2.imwrite(str(folder / f"ü {number}.png"), part(number))
    (folder / "broken\nname.png").write_bytes(b"no picture")
    camera = {"kind": "folder", "path": str(folder), "rate_hz": 20}
    fleet.story.start_agents([Station(LINE, "cam-1", "discs", camera, {"kind": "simulated"})])
    fleet.story.send(fleet.release("1"))
    heard = fleet.story.observer.devices["cam-1"]

    def camera_is(state: CameraState) -> bool:
        return stranger.telemetry is not None and stranger.telemetry.camera == state

    folder.rename(fleet.folder / "away")
    wait_until(lambda: camera_is(CameraState.LOST), what="the loss")
    wait_until(
        lambda: stranger.telemetry is not None and "no such folder" in stranger.telemetry.camera_detail,
        timeout_s=15,
        what="the reason",
    )
    (fleet.folder / "away").rename(folder)
    judged = heard.judged
    wait_until(lambda: camera_is(CameraState.OK), timeout_s=20, what="the camera's return")
    wait_until(lambda: heard.judged > judged, what="a verdict")
    log = (fleet.folder / "logs" / "cam-1.log").read_text()
    assert log.count(r"broken\nname.png: not a picture") >= 1
    assert "Traceback" not in log


@pytest.mark.slow
def test_an_agent_whose_first_release_is_gone_from_the_disk_goes_on_with_what_it_installed(
    fleet: Fleet,
) -> None:
    file = fleet.folder / "first.kenpin"
    shutil.copy(fleet.release("1").file, file)
    config, state_dir = fleet.folder / "cam-1.toml", fleet.folder / "cam-1"
    text = agent_toml(station(1), fleet.broker.port, state_dir)
    config.write_text(f'release = "{file}"\n{text}')
    programs = Programs(fleet.folder / "own")

    def run_until_it_judges(first: bool) -> None:
        programs.start("cam-1", "kenpin_agent.cli", "run", "--config", str(config))
        judged = 0 if first else fleet.story.observer.devices["cam-1"].judged
        back_s = fleet.story.observer.wait(
            "cam-1",
            lambda heard: (
                heard.judged > judged and heard.release is not None and heard.release.installed is not None
            ),
            20,
        )
        assert back_s is not None, (fleet.folder / "own" / "cam-1.log").read_text()
        programs.stop()

    try:
        run_until_it_judges(first=True)
        file.unlink()
        run_until_it_judges(first=False)
        file.mkdir()
        run_until_it_judges(first=False)
    finally:
        programs.stop()
    log = (fleet.folder / "own" / "cam-1.log").read_text()
    assert "first.kenpin: No such file or directory. Check the path. Going on with discs-1." in log
    assert "Traceback" not in log


def test_a_demonstration_on_one_s_own_pictures_leaves_out_by_name_what_cannot_be_read(tmp_path: Path) -> None:
    source, told = tmp_path / "Größe [5]", list[str]()
    for name, count in (("good", 6), ("bad", 1)):
        (source / name).mkdir(parents=True)
        for number in range(count):
            cv2.imwrite(str(source / name / f"{number}.png"), part(number, scratched=name == "bad"))
    (source / "good" / "cut.png").write_bytes((source / "good" / "0.png").read_bytes()[:-50])
    parted = split_pictures(source, tmp_path / "demo", told.append)
    assert parted.name == "grosse-5"
    assert [line.rsplit("/", 1)[1].split(".")[0] for line in told] == ["cut"]
    assert len(list_pictures(parted.fit)) + parted.played == 7

    (source / "bad" / "0.png").write_bytes(b"")
    with pytest.raises(ConfigError, match="bad: none of its pictures can be read"):
        split_pictures(source, tmp_path / "again", told.append)
    (source / "bad" / "0.png").unlink()
    with pytest.raises(ConfigError, match="bad: holds no picture"):
        split_pictures(source, tmp_path / "again", told.append)
    shutil.rmtree(source / "good")
    with pytest.raises(ConfigError, match="good: no such folder"):
        split_pictures(source, tmp_path / "again", told.append)


def test_a_folder_of_any_name_can_stand_in_a_camera_s_configuration(tmp_path: Path) -> None:
    folder = tmp_path / 'Größe "5" \\ a\nb'
    folder.mkdir()
    camera = {"kind": "folder", "path": str(folder)}
    file = tmp_path / "agent.toml"
    file.write_text(
        agent_toml(Station(LINE, "cam-1", "discs", camera, {"kind": "none"}), 1883, folder / "state")
    )
    config = load_config(file)
    assert config.state_dir == folder / "state"
    assert isinstance(config.camera, FolderConfig)
    assert config.camera.path == folder
