"""What agents say reaches the live picture and the store: everything once, and nothing stops it."""

import itertools
import json
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import event as sa_event
from sqlalchemy import text

from kenpin_agent.link.session import Delivery
from kenpin_agent.link.settings import BrokerSettings
from kenpin_controller.controller import Controller, Settings
from kenpin_controller.fleet import Fleet
from kenpin_controller.ingest import Ingest
from kenpin_controller.intake import believable_s, check_jpeg
from kenpin_controller.publisher import Publisher
from kenpin_controller.restore import restore
from kenpin_controller.store import Store
from kenpin_wire.contract import CONTRACT, MAX_JPEG_BYTES
from kenpin_wire.errors import ConfigError, WireError
from kenpin_wire.messages import (
    AnomalyData,
    AnomalyEvent,
    ReleaseName,
    ReportedRelease,
    Score,
    ScoreAggregate,
    Telemetry,
    pack_scores,
)
from kenpin_wire.topics import Address, Channel, Topic, TopicTree
from support import wait_until

TREE = TopicTree()
CAM = Address("tokyo", "line-a", "cam-1")


class FakeSession:
    """Stands in for the MQTT session where a test feeds deliveries itself."""

    def __init__(self):
        self.connected, self.in_flight = True, 0
        self.acknowledged, self.published = [], []
        self.on_message = None
        self.subscriptions = 0

    def subscribe(self, filters, qos=1):
        self.subscriptions += 1

    def acknowledge(self, delivery):
        self.acknowledged.append(delivery.mid)

    def publish(self, publication):
        self.published.append(publication)
        return len(self.published)


class Desk:
    """An ingest on a fake session and a real store."""

    def __init__(self, folder):
        self.session, self.fleet, self.store = FakeSession(), Fleet(), Store.open(folder)
        self.ingest = Ingest(
            self.session,
            TREE,
            self.store.readings,
            self.fleet,
            Publisher(self.session, TREE, seal=None),
            on_block_request=lambda *_: None,
            on_metadata_request=lambda *_: None,
            on_reply=lambda *_: None,
        )
        self.ingest.start()
        self._mids = itertools.count(1)

    def deliver(self, topic, payload, *, qos=1, retain=False):
        mid = next(self._mids)
        self.ingest.receive(Delivery(topic, payload, qos, retain, 1, mid))
        return mid

    def say(self, channel, message, *, address=CAM, retain=False):
        payload = message if isinstance(message, bytes) else message.model_dump_json().encode()
        qos = CONTRACT[channel].qos
        return self.deliver(TREE.build(Topic(address, channel)), payload, qos=qos, retain=retain)

    def acks(self):
        found = [p for p in self.session.published if p.topic.endswith("set/ack")]
        return [event_id for p in found for event_id in json.loads(p.payload)["ids"]]

    def close(self):
        self.ingest.stop()
        self.store.close()


@pytest.fixture
def desk(tmp_path):
    opened = Desk(tmp_path)
    yield opened
    opened.close()


def an_event(event_id="e1", **data):
    return AnomalyEvent(id=event_id, data=AnomalyData(score=3.0, **data))


def test_an_event_said_ten_times_is_one_row_and_is_confirmed_each_time(controller, new_agent):
    agent = new_agent()
    for _ in range(10):
        agent.say(Channel.EVENT_ANOMALY, an_event())
    wait_until(lambda: agent.acked().count("e1") >= 1, what="the confirmation")
    wait_until(lambda: controller.ingest.counts["event/anomaly"] == 10, what="all ten")
    assert [e.id for e in controller.site.events()] == ["e1"]
    assert controller.ingest.counts["dropped: duplicate"] == 9


def test_an_event_is_stored_before_it_is_confirmed(controller, new_agent):
    agent = new_agent()
    for i in range(50):
        agent.say(Channel.EVENT_ANOMALY, an_event(f"e{i}"))
    stored_when_confirmed = []
    wait_until(lambda: len(agent.acked()) == 50, what="the confirmations")
    for event_id in agent.acked():
        stored_when_confirmed.append(controller.site.event(event_id))
    assert all(stored_when_confirmed)


def test_scores_events_and_pictures_come_out_as_they_went_in(controller, new_agent, make):
    agent, picture, heatmap = new_agent(), make.jpeg(1), make.jpeg(2)
    second = datetime.now(UTC).replace(microsecond=0) - timedelta(seconds=5)
    agent.say(Channel.PICTURE, picture)
    data = {
        "picture_sha256": make.sha256(picture),
        "heatmap_sha256": make.sha256(heatmap),
        "part": "p7",
        "frame": 7,
    }
    agent.say(Channel.EVENT_ANOMALY, an_event(threshold=2.0, release="metal-1", **data))
    agent.say(Channel.HEATMAP, heatmap)
    aggregate = ScoreAggregate(
        ts=second, n=3, mean=2.0, p95=2.9, max=3.0, anomalies=1, threshold=2.5, scores=pack_scores([1, 2, 3])
    )
    agent.say(Channel.SCORE_AGG, aggregate)

    wait_until(lambda: controller.store.readings.picture(make.sha256(heatmap)), what="the heatmap")
    wait_until(lambda: controller.site.scores("cam-1", since_s=0), what="the second")
    (found,) = controller.site.events(device="cam-1")
    assert (found.line, found.part, found.frame, found.score, found.release) == (
        "line-a",
        "p7",
        7,
        3.0,
        "metal-1",
    )
    assert controller.store.readings.picture(found.picture_sha256) == picture
    (row,) = controller.site.scores("cam-1", since_s=0)
    assert (row.time_s, row.n, row.mean, row.max, row.anomalies) == (second.timestamp(), 3, 2.0, 3.0, 1)


def test_what_agents_said_while_the_controller_was_away_comes_when_it_is_back(new_controller, new_agent):
    first = new_controller()
    agent = new_agent()
    wait_until(lambda: first.fleet.device("cam-1"), what="the device")
    first.stop()
    for i in range(300):
        agent.say(Channel.EVENT_ANOMALY, an_event(f"e{i}"))
    second = new_controller()
    wait_until(lambda: len(second.site.events(limit=500)) == 300, what="all events")
    wait_until(lambda: len(set(agent.acked())) == 300, what="all confirmations")


def test_a_broker_killed_with_9_and_emptied_is_healed(broker, new_controller, new_agent, knows):
    new_agent()
    knows("cam-1")
    controller = new_controller("other")
    wait_until(lambda: controller.fleet.device("cam-1"), what="the device")
    rev = controller.site.set_inspection("cam-1", False, who="tester")
    broker.kill()
    wait_until(lambda: not controller.session.connected, what="the loss")
    broker.forget()
    broker.start()
    controller.session.wait_connected(15)
    newcomer = new_agent("cam-1", silent=True)
    wait_until(lambda: newcomer.of(Channel.SET_CONFIG), what="the desired settings")
    assert newcomer.of(Channel.SET_CONFIG)[-1].rev == rev
    assert newcomer.of(Channel.SET_CONFIG)[-1].inspection is False


CONTROLLER = """
import sys, time
from pathlib import Path
from kenpin_agent.link.settings import BrokerSettings
from kenpin_controller.controller import Controller, Settings

controller = Controller(Settings(broker=BrokerSettings(port=int(sys.argv[1])), data=Path(sys.argv[2])))
controller.start()
controller.session.wait_connected(10)
print("up", flush=True)
time.sleep(600)
"""


def test_a_controller_killed_with_9_in_the_middle_loses_no_event_and_doubles_none(
    broker, new_agent, tmp_path
):
    agent = new_agent()
    said = 0
    for _ in range(2):
        command = [sys.executable, "-c", CONTROLLER, str(broker.port), str(tmp_path / "data")]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert process.stdout.readline() == "up\n"
        for _ in range(200):
            agent.say(Channel.EVENT_ANOMALY, an_event(f"e{said}"))
            said += 1
        wait_until(lambda: len(agent.acked()) > said - 200, what="the first confirmations")  # noqa: B023
        process.kill()
        process.communicate()
    controller = Controller(Settings(broker=BrokerSettings(port=broker.port), data=tmp_path / "data"))
    try:
        # What was confirmed is stored now, whatever the broker still has for us.
        stored = {e.id for e in controller.site.events(limit=1_000)}
        assert set(agent.acked()) <= stored
        controller.start()
        wait_until(lambda: len(controller.site.events(limit=1_000)) == said, what="the rest")
    finally:
        controller.stop()


def test_old_pictures_go_by_themselves(broker, tmp_path, make, new_agent, monkeypatch):
    monkeypatch.setattr("kenpin_controller.controller.HOUSEKEEPING_S", 0.05)
    settings = Settings(broker=BrokerSettings(port=broker.port), data=tmp_path / "data", picture_bytes=20_000)
    controller = Controller(settings)
    controller.start()
    try:
        controller.session.wait_connected(5)
        agent, pictures = new_agent(), [make.jpeg(i) for i in range(10)]
        for i, picture in enumerate(pictures):
            agent.say(Channel.EVENT_ANOMALY, an_event(f"e{i}", picture_sha256=make.sha256(picture)))
            agent.say(Channel.PICTURE, picture)
        wait_until(lambda: len(agent.acked()) == 10, what="the confirmations")
        kept = controller.store.readings.picture
        wait_until(
            lambda: kept(make.sha256(pictures[9])) and sum(bool(kept(make.sha256(p))) for p in pictures) < 10,
            what="the pruning",
        )
        assert len(controller.site.events()) == 10
    finally:
        controller.stop()


def test_a_data_folder_belongs_to_one_controller(controller, broker):
    with pytest.raises(ConfigError, match="another controller"):
        Controller(controller.settings)


def test_with_a_full_disk_live_pages_go_on_nothing_is_acknowledged_and_all_comes_later(desk, caplog):
    full = {"is": True}

    @sa_event.listens_for(desk.store.engine, "begin")
    def cap(connection):
        pages = connection.connection.driver_connection.execute("pragma page_count").fetchone()[0]
        limit = pages if full["is"] else 1 << 30
        connection.connection.driver_connection.execute(f"pragma max_page_count = {limit}").close()

    mids = [desk.say(Channel.EVENT_ANOMALY, an_event(f"e{i}", part="x" * 250)) for i in range(200)]
    wait_until(lambda: desk.ingest.refused, what="the refusal")
    desk.say(Channel.SCORE, Score(score=7.5, boot=1, seq=1))
    assert desk.fleet.device("cam-1").score == 7.5
    assert desk.session.acknowledged == []
    assert desk.acks() == []
    assert "disk is full" in caplog.text

    full["is"] = False
    wait_until(lambda: len(desk.acks()) == 200, what="the confirmations")
    assert len(desk.store.readings.events(limit=500)) == 200
    assert desk.session.acknowledged == mids
    assert desk.ingest.refused == ""


@pytest.fixture(scope="module")
def patient_desk(tmp_path_factory):
    opened = Desk(tmp_path_factory.mktemp("desk"))
    yield opened
    opened.close()


KEYS = st.sampled_from(
    [field for spec in CONTRACT.values() if spec.model for field in spec.model.model_fields]
)
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=20)
    | st.just("2026-01-01T00:00:00Z"),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=8,
)
PAYLOADS = st.binary(max_size=200) | st.dictionaries(KEYS, VALUES, max_size=8).map(
    lambda d: json.dumps(d).encode("utf-8", "surrogatepass")
)


@settings(max_examples=300, deadline=None)
@given(channel=st.sampled_from(Channel), payload=PAYLOADS, qos=st.sampled_from([0, 1]), retain=st.booleans())
def test_no_payload_on_any_topic_stops_ingest(patient_desk, channel, payload, qos, retain):
    argument = "/abc" if channel.value in ("cmd", "reply", "set/blob") else ""
    patient_desk.deliver(
        f"kenpin/v1/tokyo/line-a/cam-9/{channel.value}{argument}", payload, qos=qos, retain=retain
    )
    assert patient_desk.ingest.counts["dropped: unexpected"] == 0
    assert patient_desk.ingest.counts["not shown live"] == 0


@settings(max_examples=100, deadline=None)
@given(topic=st.text(max_size=60), payload=st.binary(max_size=20))
def test_no_topic_stops_ingest(patient_desk, topic, payload):
    patient_desk.deliver(topic, payload)
    patient_desk.deliver(f"kenpin/v1/{topic}", payload)
    assert patient_desk.ingest.counts["dropped: unexpected"] == 0


def test_after_all_that_it_still_stores_and_has_acknowledged_all_else(patient_desk):
    desk = patient_desk
    desk.say(Channel.EVENT_ANOMALY, an_event("the-last"))
    wait_until(lambda: "the-last" in desk.acks(), what="the confirmation")
    assert desk.store.readings.event("the-last") is not None


def test_what_the_live_picture_trips_over_is_stored_all_the_same(desk, monkeypatch):
    def trip(*_):
        raise RuntimeError("a bug")

    monkeypatch.setattr(desk.fleet, "apply", trip)
    desk.say(Channel.EVENT_ANOMALY, an_event("e1"))
    wait_until(lambda: "e1" in desk.acks(), what="the confirmation")
    assert desk.store.readings.event("e1") is not None


def test_garbage_over_a_real_broker_leaves_it_alive(controller, new_agent):
    agent, witness = new_agent("cam-1"), new_agent("cam-2")
    for channel in Channel:
        for junk in (b"", b"\xff\xfe", b"{", b"[]", b'"x"', b"{}" + b" " * 200_000, b"[" * 50_000):
            agent.say_raw(f"kenpin/v1/tokyo/line-a/cam-1/{channel.value}", junk)
    agent.say_raw("kenpin/v1/tokyo/line-a/CAM_1/status", b"{}")
    agent.say_raw("kenpin/v1/a/b/c/d/e/f/g/h", b"{}")
    witness.say(Channel.EVENT_ANOMALY, an_event("after"))
    wait_until(lambda: "after" in witness.acked(), what="the confirmation")
    wait_until(lambda: controller.ingest.counts["dropped: malformed"] > 50, what="the refusals")


@pytest.mark.parametrize("junk", [b"", b"hello", b"\xff\xd8\xff\xd9", b"\xff\xd8" + bytes(200) + b"\xff\xd9"])
def test_what_is_no_jpeg_is_not_kept(desk, junk):
    desk.say(Channel.PICTURE, junk)
    assert desk.ingest.counts["dropped: malformed"] == 1


def test_a_picture_that_is_too_large_or_cut_short_is_not_kept(desk, make):
    large = make.jpeg(1, size=400)
    assert len(large) > MAX_JPEG_BYTES
    desk.say(Channel.PICTURE, large)
    desk.say(Channel.PICTURE, make.jpeg(1)[:-100])
    assert desk.ingest.counts["dropped: malformed"] == 2


def test_a_jpeg_bomb_is_refused_by_its_header(make):
    picture = bytearray(make.jpeg(1))
    header = picture.index(b"\xff\xc0")
    check_jpeg(bytes(picture), "here")
    picture[header + 5 : header + 9] = b"\xff\xff\xff\xff"
    with pytest.raises(WireError, match="could show"):
        check_jpeg(bytes(picture), "here")


def test_a_stale_deployment_report_changes_nothing(desk):
    newer = ReportedRelease(
        rev=2, boot=1, seq=9, phase="committed", installed=ReleaseName(name="m", version="2")
    )
    desk.say(Channel.REPORTED_RELEASE, newer)
    desk.say(
        Channel.REPORTED_RELEASE, ReportedRelease(rev=1, boot=1, seq=3, phase="downloading", rollout="r")
    )
    assert desk.fleet.device("cam-1").phase == "committed"


def test_a_device_that_was_moved_is_not_called_back_by_what_it_left_retained(desk):
    old, new = CAM, Address("tokyo", "line-b", "cam-1")
    desk.say(Channel.TELEMETRY, Telemetry(boot=1, seq=1), address=old)
    desk.say(Channel.TELEMETRY, Telemetry(boot=2, seq=1), address=new)
    desk.say(Channel.TELEMETRY, Telemetry(boot=3, seq=1), address=old, retain=True)
    assert desk.fleet.device("cam-1").address == new
    wait_until(
        lambda: (seen := desk.store.readings.device("cam-1")) and seen.line == "line-b", what="the move"
    )


@pytest.mark.parametrize(
    ("stamp", "believed"),
    [
        ("2026-06-01T11:59:00Z", True),
        ("2026-05-25T12:00:00Z", True),  # a week in an outbox
        ("2026-06-01T12:00:30Z", True),
        ("2026-06-01T13:00:00Z", False),
        ("1970-01-01T00:05:00Z", False),
        ("9999-12-31T23:59:59Z", False),
    ],
)
def test_a_stamp_is_believed_unless_the_clock_cannot_be_right(stamp, believed):
    received_s = datetime(2026, 6, 1, 12, tzinfo=UTC).timestamp()
    stamped = datetime.fromisoformat(stamp)
    assert believable_s(stamped, received_s) == (stamped.timestamp() if believed else received_s)


def test_after_a_restart_the_factory_does_not_look_empty(desk):
    now = datetime.now(UTC).replace(microsecond=0)
    desk.say(Channel.TELEMETRY, Telemetry(boot=1, seq=1))
    desk.say(Channel.EVENT_ANOMALY, an_event("e1"))
    for ago_s in (60, 1):
        second = ScoreAggregate(
            ts=now - timedelta(seconds=ago_s), n=2, anomalies=1, scores=pack_scores([1.0, 3.0])
        )
        desk.say(Channel.SCORE_AGG, second)
    wait_until(lambda: len(desk.store.readings.scores("cam-1", since_s=0)) == 2, what="the seconds")
    wait_until(lambda: desk.store.readings.device("cam-1"), what="the device")

    fleet = Fleet()
    restore(fleet, desk.store.readings, time.time())
    view = fleet.device("cam-1")
    assert view.address == CAM
    assert [a.id for a in view.anomalies] == ["e1"]
    assert [p.score for p in view.scores] == [1.0, 3.0, 1.0, 3.0]
    fleet.apply(Topic(CAM, Channel.TELEMETRY), Telemetry(boot=1, seq=2), time.time())
    assert fleet.device("cam-1").online(time.time())


def test_a_day_s_count_survives_a_restart(desk):
    noon = datetime.now().replace(hour=12, minute=0, second=0, microsecond=0)
    morning = noon - timedelta(hours=2)
    desk.store.readings.write([])
    with desk.store.engine.begin() as connection:
        connection.execute(text("insert into devices values ('cam-1', 'tokyo', 'line-a', 0, 0, '', 0, 0)"))
        row = "insert into score_seconds values ('cam-1', :s, 10, 1, 1, 1, 2, null, '', '')"
        for hour in range(3):
            connection.execute(text(row), {"s": int((morning - timedelta(hours=hour)).timestamp())})
    fleet = Fleet()
    restore(fleet, desk.store.readings, noon.timestamp())
    view = fleet.device("cam-1")
    assert (view.inspected_today, view.anomalies_today) == (30, 6)
