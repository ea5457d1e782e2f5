"""What leaves the controller is signed for one topic and for a time; metadata is given to whoever asks, in parts."""

import base64
import hashlib
import time
from datetime import timedelta

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from kenpin_controller.metadata_server import BURST, Allowance, read_part
from kenpin_controller.trust.desk import TrustDesk
from kenpin_controller.trust.envelope import RESIGN, VALID
from kenpin_controller.trust.keeper import Keeper
from kenpin_controller.trust.keys import CONTROLLER, KeyFolder
from kenpin_controller.trust.metadata import Named
from kenpin_wire.messages import DesiredConfig, MetadataRequest, ReleaseName, now
from kenpin_wire.metadata import PART_BYTES, unpack_metadata
from kenpin_wire.signed import Signed, signed_bytes
from kenpin_wire.topics import Address, Channel, Topic, TopicTree
from support import wait_until

METAL_1 = ReleaseName(name="metal", version="1")
CAM = Address("tokyo", "line-a", "cam-1")


@pytest.fixture
def agent(new_agent, knows):
    arrived = new_agent()
    knows("cam-1")
    return arrived


def envelopes(agent, channel):
    return [
        (TopicTree().build(topic), Signed.model_validate_json(payload))
        for topic, payload, _ in list(agent.heard)
        if topic.channel is channel
    ]


def verify(topic, envelope, public):
    assert envelope.key == hashlib.sha256(public).hexdigest()
    key = Ed25519PublicKey.from_public_bytes(public)
    key.verify(base64.b64decode(envelope.signature), signed_bytes(topic, envelope.payload))


def public_of(controller):
    return KeyFolder(controller.settings.data / "keys").load(CONTROLLER).public


def test_desired_settings_and_releases_are_signed_for_their_topic_and_for_a_week(controller, agent, make):
    controller.site.set_inspection("cam-1", False, who="ana")
    controller.site.add_release(make.release(), who="ana")
    controller.site.start_rollout(METAL_1, devices=["cam-1"], who="ana")
    for channel in (Channel.SET_CONFIG, Channel.SET_RELEASE):
        wait_until(lambda: envelopes(agent, channel), what="the message")  # noqa: B023  used at once
        topic, envelope = envelopes(agent, channel)[-1]
        verify(topic, envelope, public_of(controller))
        with pytest.raises(InvalidSignature):
            verify(topic.replace("cam-1", "cam-2"), envelope, public_of(controller))
        left = agent.of(channel)[-1].expires - now()
        assert timedelta(days=6, hours=23) < left <= VALID


def test_settings_of_a_whole_line_are_signed_for_the_line(controller):
    topic = TopicTree().build(Topic(CAM.whole_line, Channel.SET_CONFIG))
    envelope = controller.site.trust.seal(topic, DesiredConfig(rev=3))
    assert "/_all/" in topic
    verify(topic, envelope, public_of(controller))


def test_an_end_that_a_message_has_of_its_own_is_kept(controller):
    soon = now() + timedelta(minutes=5)
    sealed = controller.site.trust.seal("any", DesiredConfig(rev=1, expires=soon))
    assert DesiredConfig.model_validate_json(sealed.payload).expires == soon


def test_after_a_reconnect_the_same_revision_is_signed_anew(broker, controller, agent, new_agent):
    rev = controller.site.set_inspection("cam-1", False, who="ana")
    wait_until(lambda: agent.of(Channel.SET_CONFIG), what="the settings")
    first = agent.of(Channel.SET_CONFIG)[-1]
    broker.kill()
    wait_until(lambda: not controller.session.connected, what="the loss")
    broker.forget()
    broker.start()
    controller.session.wait_connected(20)
    late = new_agent("cam-1", silent=True)
    wait_until(lambda: late.of(Channel.SET_CONFIG), what="the settings")
    again = late.of(Channel.SET_CONFIG)[-1]
    assert again.rev == first.rev == rev
    assert again.expires > first.expires


# The keeper's round ----------------------------------------------------------------------------------------


class Day:
    def __init__(self, folder):
        self.desk = TrustDesk(folder)
        self.at_s, self.resigned = 1000.0, 0
        self.keeper = Keeper(self.desk, self.resign, wall_s=lambda: self.at_s)

    def resign(self):
        self.resigned += 1


@pytest.fixture
def day(tmp_path):
    return Day(tmp_path / "data")


def test_the_first_start_makes_the_keys_and_only_that_one(day, tmp_path):
    day.keeper.begin()
    assert day.keeper.first_day
    root = day.desk.root()
    second = Keeper(TrustDesk(tmp_path / "data"), lambda: None)
    second.begin()
    assert not second.first_day
    assert TrustDesk(tmp_path / "data").root() == root


def test_desired_state_is_signed_anew_each_day_well_before_it_ends(day):
    day.keeper.begin()
    for _ in range(48):
        day.at_s += 3600
        day.keeper.keep()
    assert day.resigned == 2
    assert RESIGN * 3 < VALID


@pytest.mark.parametrize("years", [2, -2])
def test_a_clock_that_is_set_right_has_everything_signed_anew_at_once(day, years):
    day.keeper.begin()
    day.keeper.keep()
    day.at_s += years * 365 * 86_400
    day.keeper.keep()
    day.keeper.keep()
    assert day.resigned == 1


def test_a_new_controller_key_signs_everything_anew_at_once(day, tmp_path):
    day.keeper.begin()
    day.keeper.keep()
    TrustDesk(tmp_path / "data").rotate(CONTROLLER)
    day.keeper.keep()
    assert day.resigned == 1


def test_a_controller_that_lost_its_key_says_so_once_and_goes_on(day, tmp_path, caplog):
    day.keeper.begin()
    (tmp_path / "data" / "keys" / "controller.pem").unlink()
    (tmp_path / "data" / "tuf" / "1.snapshot.json").write_bytes(b"{")
    for _ in range(3):
        day.keeper.keep()
    assert caplog.text.count("keys:") == 1


# Metadata --------------------------------------------------------------------------------------------------


def fetch(agent, name, offset=0, request_id="r1"):
    before = len(agent.heard)
    agent.say(Channel.META_REQ, MetadataRequest(id=request_id, name=name, offset=offset))
    wait_until(lambda: len(agent.heard) > before, what="the part")
    topic, payload, retained = agent.heard[-1]
    assert (topic.channel, topic.argument, retained) == (Channel.SET_META, request_id, False)
    return unpack_metadata(payload)


def test_a_device_gets_the_metadata_that_it_asks_for_and_hears_what_is_not_there(controller, agent):
    part = fetch(agent, "timestamp.json", request_id="a-1")
    assert part.data == (controller.settings.data / "tuf" / "timestamp.json").read_bytes()
    assert (part.offset, part.size) == (0, len(part.data))
    for absent in ("2.root.json", "..", "..keys.root.pem", "root.pem", ".lock"):
        assert fetch(agent, absent).size == 0
    assert fetch(agent, "controller.json").data.startswith(b'{"keys": [')


def test_a_large_file_comes_in_parts_that_fit_together(controller, agent):
    files = [Named(f"release-{number}.kenpin", "ab" * 32, 1) for number in range(1200)]
    controller.site.trust.sign(files)
    whole = controller.site.trust.repository.read("2.targets.json")
    assert len(whole) > 2 * PART_BYTES
    got = b""
    while len(got) < len(whole):
        part = fetch(agent, "2.targets.json", offset=len(got))
        assert (part.offset, part.size) == (len(got), len(whole))
        got += part.data
    assert got == whole
    assert fetch(agent, "2.targets.json", offset=10**12).data == b""


def test_no_request_leaves_the_repository(controller):
    (controller.settings.data / "tuf" / "secret.txt").write_text("not for devices")
    for name in ("secret.txt", "..", ".", ".lock", "-", "kenpin.db"):
        assert read_part(controller.site.trust.repository, MetadataRequest(id="a", name=name)).size == 0


def test_a_device_that_asks_without_end_is_answered_at_a_measured_rate_and_others_at_once():
    at_s = 0.0
    allowance = Allowance(lambda: at_s)
    taken = 0
    for step in range(1000):
        at_s = step * 0.01
        taken += allowance.take(CAM)
    assert BURST + 95 <= taken <= BURST + 105
    assert allowance.take(Address("tokyo", "line-a", "cam-2"))


def test_a_flood_of_requests_does_not_keep_others_waiting(controller, agent, new_agent):
    for number in range(300):
        agent.say(Channel.META_REQ, MetadataRequest(id=f"f{number}", name="timestamp.json"))
    other = new_agent("cam-2")
    began_s = time.monotonic()
    assert fetch(other, "timestamp.json").size
    assert time.monotonic() - began_s < 2.0
    wait_until(lambda: len(agent.of(Channel.SET_META)) >= BURST, what="the first answers")
    assert len(agent.of(Channel.SET_META)) < 200
