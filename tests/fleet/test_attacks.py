"""Every attack that updates must withstand, on a running site: each is refused with its reason, and the line goes on.

Between the device and its broker stands a proxy that lies where a test wants it to; an intruder on the same broker
says what they please; and for what only a stolen targets key makes possible, the test signs with the site's own.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from kenpin_agent.link.session import Delivery, MqttSession, Publication
from kenpin_agent.link.settings import BrokerSettings
from kenpin_agent.release import MAX_MANIFEST_BYTES
from kenpin_controller.operations import ReleaseRecord
from kenpin_controller.store import Store
from kenpin_controller.trust.desk import TrustDesk
from kenpin_controller.trust.metadata import Named
from kenpin_wire.blocks import Block, pack_block, unpack_block
from kenpin_wire.contract import decode, encode
from kenpin_wire.errors import KenpinError
from kenpin_wire.messages import (
    DesiredConfig,
    DesiredRelease,
    MetadataRequest,
    Phase,
    Presence,
    ReleaseName,
    ReportedRelease,
    Status,
)
from kenpin_wire.metadata import PART_BYTES, MetadataPart, pack_metadata, unpack_metadata
from kenpin_wire.topics import Address, Channel, Topic, TopicTree
from support import wait_until
from support.brokers import Mosquitto
from support.flaky_proxy import FlakyProxy
from support.fleet import LINE, Fleet, disc_station, write_discs
from support.named_tests import missing_tests
from support.small_release import manifest_for, release_files, write_zip
from support.tuf_site import ControllerKey

HERE = Address("demo", LINE, "cam-1")
ANOTHER = Address("demo", LINE, "cam-2")
TREE = TopicTree()
MINE, ORDERS = TREE.build(Topic(HERE, Channel.SET_CONFIG)), TREE.build(Topic(HERE, Channel.SET_RELEASE))
RATE_HZ = 10.0
LONGEST_GAP_S = 2.0
"""Between two verdicts, on a busy machine; the figure itself is measured in bench/updates.py."""

ATTACKS = {
    "tampered block": (
        "fleet/test_attacks.py::test_a_broker_that_changes_a_block_installs_nothing",
        "agent/test_deployer.py::test_a_damaged_block_is_asked_for_again",
    ),
    "tampered metadata": (
        "fleet/test_attacks.py::test_a_broker_that_spoils_metadata_installs_nothing_until_it_is_honest_again[changed]",
        "agent/test_trust_link.py::TestReleases::test_tampered_metadata_is_refused",
    ),
    "older release": (
        "fleet/test_attacks.py::test_what_was_said_before_or_elsewhere_or_by_others_is_refused[older release]",
        "agent/test_deployment_machine.py::test_no_order_is_taken_up_that_is_not_newer_than_all_that_were_heard",
    ),
    "older settings": (
        "fleet/test_attacks.py::test_what_was_said_before_or_elsewhere_or_by_others_is_refused[older settings]",
        "agent/test_trust_link.py::TestSettings::test_a_replay_is_refused_after_a_restart",
    ),
    "another device's settings": (
        "fleet/test_attacks.py::test_what_was_said_before_or_elsewhere_or_by_others_is_refused[another device's]",
        "agent/test_trust_pure.py::TestEnvelope::test_what_was_said_elsewhere_means_nothing_here",
    ),
    "frozen metadata": (
        "agent/test_trust_link.py::TestReleases::test_frozen_metadata_is_refused_and_the_clock_is_named",
        "agent/test_trust_link.py::TestReleases::test_a_frozen_repository_is_noticed_by_a_clock_that_fell_back",
    ),
    "endless data": (
        "fleet/test_attacks.py::test_a_broker_that_spoils_metadata_installs_nothing_until_it_is_honest_again[endless]",
        "agent/test_trust_link.py::TestTheWayOfMetadata::test_endless_data_is_cut",
    ),
    "wrong golden scores": ("fleet/test_attacks.py::test_a_signed_release_that_is_bad_is_refused[golden]",),
    "oversize manifest": ("fleet/test_attacks.py::test_a_signed_release_that_is_bad_is_refused[manifest]",),
    "zip bomb": (
        "fleet/test_attacks.py::test_a_signed_release_that_is_bad_is_refused[bomb]",
        "agent/test_core_release.py::test_a_member_longer_than_promised_is_not_read_to_its_end",
        "agent/test_core_release.py::test_an_absurd_promised_size_is_refused_before_unpacking",
    ),
    "path traversal in the zip": (
        "fleet/test_attacks.py::test_a_signed_release_that_is_bad_is_refused[traversal]",
        "agent/test_core_release.py::test_a_member_that_would_land_elsewhere_refuses_the_whole",
    ),
    "NaN in the head": ("fleet/test_attacks.py::test_a_signed_release_that_is_bad_is_refused[nan]",),
}
"""The attacks of issue 4, each with the tests that try it."""


@pytest.mark.parametrize("attack", ATTACKS)
def test_every_attack_is_tried(attack: str) -> None:
    assert missing_tests(list(ATTACKS[attack])) == []


class Site:
    """A line with one camera that runs discs-1, told things by whoever is on the broker.

    Attributes:
        heard: What the controller said on the desired topics, the last of each.
    """

    def __init__(self, fleet: Fleet, proxy: FlakyProxy) -> None:
        self.fleet, self.proxy, self.story = fleet, proxy, fleet.story
        pictures = write_discs(fleet.folder / "discs")
        fleet.host([disc_station(1, pictures, rate_hz=RATE_HZ)], broker_port=proxy.port)
        self.heard: dict[str, bytes] = {}
        self._said: set[bytes] = set()
        self._intruder = MqttSession(BrokerSettings(port=fleet.broker.port), client_id="intruder")
        self._intruder.on_message = self._hear
        self._intruder.subscribe(
            TREE.filter(channel) for channel in (Channel.SET_CONFIG, Channel.SET_RELEASE)
        )
        self._intruder.start()
        self.versions = iter(range(1, 100))
        self.install()

    def close(self) -> None:
        self._intruder.stop(drain_s=0.0)

    def install(self) -> str:
        """Have the device run another sound release. Returns its version."""
        version = str(next(self.versions))
        self.story.upload(self.fleet.release(version).file)
        ended = self.fleet.ended(self.fleet.roll_out(version, devices=["cam-1"]), 60)
        assert ended["status"] == "finished", ended["sentence"]
        return version

    @property
    def report(self) -> ReportedRelease:
        said = self.story.observer.devices["cam-1"].release
        assert said is not None
        return said

    def say(self, topic: str, payload: bytes) -> None:
        """What anybody on the broker can do."""
        self._said.add(payload)
        self._intruder.publish(Publication(topic, payload, qos=1))

    def setting(self) -> bytes:
        """Have the controller change a setting of the device's. Returns the message, as it was signed."""
        before = self.heard.get(MINE)
        self.story.set_threshold("cam-1", false_rejects=0.01)
        wait_until(lambda: self.heard.get(MINE) != before, what="the message")
        return self.heard[MINE]

    def said(self) -> str:
        """The device's own log."""
        return (self.fleet.folder / "logs" / "cam-1-and-more.log").read_text()

    @contextmanager
    def going_on(self) -> Iterator[None]:
        """What happens within must not keep the line from judging with the release it has."""
        heard, runs = self.story.observer.devices["cam-1"], str(self.report.installed)
        heard.longest_gap_s = 0.0
        yield
        judged = heard.judged
        wait_until(lambda: heard.judged >= judged + 3, timeout_s=5, what="verdicts")
        assert heard.longest_gap_s < LONGEST_GAP_S
        assert str(self.report.installed) == runs

    def _hear(self, delivery: Delivery) -> None:
        if delivery.payload not in self._said:
            self.heard[delivery.topic] = delivery.payload


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with Mosquitto(tmp_path_factory.mktemp("broker")) as broker:
        fleet, proxy = Fleet(tmp_path_factory.mktemp("site"), broker), FlakyProxy(broker.port)
        try:
            running = Site(fleet, proxy)
            yield running
            running.close()
        finally:
            fleet.close()
            proxy.stop()


# Who can publish on the broker ----------------------------------------------------------------------------


Said = tuple[str, bytes]
"""A topic, and what the intruder says there."""


def not_signed(_site: Site) -> Said:
    wish = DesiredRelease(rev=10_000, release=ReleaseName(name="discs", version="x"), sha256="0" * 64, size=9)
    return ORDERS, encode(wish)


def signed_by_another(_site: Site) -> Said:
    return MINE, encode(ControllerKey().seal(MINE, DesiredConfig(rev=10_000, inspection=False)))


def older_settings(site: Site) -> Said:
    first = site.setting()
    site.setting()
    return MINE, first


def older_release(site: Site) -> Said:
    first = site.heard[ORDERS]
    site.install()
    return ORDERS, first


def another_devices(site: Site) -> Said:
    """The intruder brings a camera of their own, and has the controller switch that off."""
    site.say(TREE.build(Topic(ANOTHER, Channel.STATUS)), encode(Status(state=Presence.ONLINE)))
    site.story.wait_known("cam-2")
    topic = TREE.build(Topic(ANOTHER, Channel.SET_CONFIG))
    off = httpx.put(f"{site.story.page}/api/v1/devices/cam-2/inspection", json={"on": False}, timeout=30)
    assert off.is_success, off.text
    wait_until(lambda: topic in site.heard, what="the other device's settings")
    return MINE, site.heard[topic]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("prepare", "reason"),
    [
        pytest.param(not_signed, "not signed", id="not signed"),
        pytest.param(signed_by_another, "not the controller's", id="signed by another"),
        pytest.param(older_settings, r"replaced by \d+ before", id="older settings"),
        pytest.param(older_release, r"replaced by \d+ before", id="older release"),
        pytest.param(another_devices, "said to another device", id="another device's"),
    ],
)
def test_what_was_said_before_or_elsewhere_or_by_others_is_refused(
    site: Site, prepare: Callable[[Site], Said], reason: str
) -> None:
    topic, payload = prepare(site)
    before = len(site.said())
    with site.going_on():
        site.say(topic, payload)
        wait_until(lambda: re.search(reason, site.said()[before:]), timeout_s=15, what=f"{reason!r}")
    assert site.story.set_threshold("cam-1", false_rejects=0.02), "the controller is no longer heard"


# A broker that lies ---------------------------------------------------------------------------------------


def changed_block(topic: Topic, payload: bytes) -> bytes:
    """Its check sum is right again; only the file's hash is not."""
    if topic.channel is not Channel.SET_BLOB:
        return payload
    block = unpack_block(payload)
    return pack_block(Block(block.index, block.data[:-1] + bytes([block.data[-1] ^ 1])))


def changed_metadata(topic: Topic, payload: bytes) -> bytes:
    if topic.channel is not Channel.SET_META:
        return payload
    part = unpack_metadata(payload)
    return pack_metadata(MetadataPart(part.offset, part.size, part.data.replace(b"2", b"3")))


class EndlessMetadata:
    """Whatever is asked for, there is always more of it."""

    def __init__(self) -> None:
        self._offsets: dict[str, int] = {}

    def __call__(self, topic: Topic, payload: bytes) -> bytes:
        if topic.channel is Channel.META_REQ:
            request = decode(Channel.META_REQ, payload)
            assert isinstance(request, MetadataRequest)
            self._offsets[request.id] = request.offset
        if topic.channel is not Channel.SET_META:
            return payload
        return pack_metadata(MetadataPart(self._offsets[topic.argument], 2**32 - 1, b" " * PART_BYTES))


def honest(_topic: Topic, payload: bytes) -> bytes:
    return payload


@pytest.fixture
def lying(site: Site) -> Iterator[Callable[..., None]]:
    """Have the broker lie in this way from now on, until the test ends."""

    def forge(how: Callable[[Topic, bytes], bytes]) -> None:
        site.proxy.forge = how

    yield forge
    site.proxy.forge = honest


@pytest.mark.slow
def test_a_broker_that_changes_a_block_installs_nothing(site: Site, lying: Callable[..., None]) -> None:
    version = str(next(site.versions))
    site.story.upload(site.fleet.release(version).file)
    lying(changed_block)
    with site.going_on():
        rollout = site.fleet.ended(site.fleet.roll_out(version, devices=["cam-1"], retries=0), 60)
    assert rollout["devices"]["cam-1"]["stage"] == "failed"
    assert "sha256 was wrong" in rollout["devices"]["cam-1"]["reason"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("how", "reason"),
    [
        pytest.param(changed_metadata, "not what the site's keys signed", id="changed"),
        pytest.param(EndlessMetadata(), "exceeding the maximum allowed length", id="endless"),
    ],
)
def test_a_broker_that_spoils_metadata_installs_nothing_until_it_is_honest_again(
    site: Site, lying: Callable[..., None], how: Callable[[Topic, bytes], bytes], reason: str
) -> None:
    version = str(next(site.versions))
    site.story.upload(site.fleet.release(version).file)
    lying(how)
    before = len(site.said())
    with site.going_on():
        rollout = site.fleet.roll_out(version, devices=["cam-1"])
        wait_until(lambda: reason in site.said()[before:], timeout_s=15, what=f"{reason!r}")
    lying(honest)
    assert site.fleet.ended(rollout, 60)["status"] == "finished"


# Who has the targets key ----------------------------------------------------------------------------------


def bad_release(version: str, kind: str) -> dict[str, bytes]:
    """The members of a release that no device may take."""
    files = release_files()
    manifest: dict[str, Any] = json.loads(manifest_for(files, version=version).model_dump_json())
    extra: dict[str, bytes] = {}
    match kind:
        case "golden":
            manifest["golden"][0]["score"] += 1.0
        case "manifest":
            manifest["provenance"] = "x" * MAX_MANIFEST_BYTES
        case "bomb":
            files["head.npz"] += bytes(200_000_000)
        case "traversal":
            extra["../../../../evil"] = b"x"
        case "nan":
            with np.load(io.BytesIO(files["head.npz"])) as arrays:
                spoiled = {name: np.full_like(arrays[name], np.nan) for name in arrays.files}
            stored = io.BytesIO()
            np.savez_compressed(stored, allow_pickle=False, **spoiled)
            files["head.npz"] = stored.getvalue()
            entry = {"sha256": hashlib.sha256(files["head.npz"]).hexdigest(), "size": len(files["head.npz"])}
            manifest["head"] |= entry
    return {"manifest.json": json.dumps(manifest).encode(), **files, **extra}


def smuggle(site: Site, file: Path, version: str) -> None:
    """Have the controller hold and the targets key sign what the controller itself would not take in."""
    data, name = file.read_bytes(), ReleaseName(name="discs", version=version)
    sha256 = hashlib.sha256(data).hexdigest()
    store = Store.open(site.fleet.folder / "site")
    try:
        store.releases.add(ReleaseRecord(name, sha256, len(data), time.time()), data, who="thief")
    finally:
        store.close()
    desk = TrustDesk(site.fleet.folder / "site")
    assert desk.sign([Named(f"{name}.kenpin", sha256, len(data))])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "reason", "taken_in"),
    [
        pytest.param("golden", r"golden/0\.png scores", True, id="golden"),
        pytest.param("manifest", "manifest.json is larger than", False, id="manifest"),
        pytest.param("bomb", "head.npz is longer than its manifest says", False, id="bomb"),
        pytest.param("traversal", "land outside its folder", False, id="traversal"),
        pytest.param("nan", "no finite score|not finite|NaN", True, id="nan"),
    ],
)
def test_a_signed_release_that_is_bad_is_refused(site: Site, kind: str, reason: str, taken_in: bool) -> None:
    version = f"{next(site.versions)}-{kind}"
    file = write_zip(site.fleet.folder / f"{kind}.kenpin", bad_release(version, kind))
    if taken_in:  # what can only be seen by running it, a controller leaves to the device
        site.story.upload(file)
    else:
        with pytest.raises(KenpinError, match=reason):
            site.story.upload(file)
        smuggle(site, file, version)
    with site.going_on():
        rollout = site.fleet.ended(site.fleet.roll_out(version, devices=["cam-1"]), 40)
        assert site.report.phase == Phase.REJECTED
        assert re.search(reason, site.report.reason), site.report.reason
    assert rollout["devices"]["cam-1"]["stage"] == "failed"
    assert not list(site.fleet.folder.parent.rglob("evil"))
