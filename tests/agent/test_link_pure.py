"""The link's pure parts: redelivery, reading, writing, in flight, quota, settings, words for troubles."""

import json
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.reasoncodes import ReasonCode
from pydantic import ValidationError

from kenpin_agent.link import diagnosis
from kenpin_agent.link.hearing import ASK_AGAIN_S, GRACE_S, Hearing
from kenpin_agent.link.incoming import Reader
from kenpin_agent.link.lanes import Lane
from kenpin_agent.link.log_handler import LinkLogHandler
from kenpin_agent.link.outgoing import Writer
from kenpin_agent.link.publications import GAVE_UP, MAX_TRIES, Delivery, InFlight, Publication, Receipt
from kenpin_agent.link.quota import Quota
from kenpin_agent.link.redelivery import LAST_DELAY_S, PATIENCE_S, ROUND_ROWS, Redelivery
from kenpin_agent.link.settings import BrokerSettings
from kenpin_agent.seams import Outgoing
from kenpin_agent.testing import FakeClock
from kenpin_agent.testing.link import FakeLink
from kenpin_wire.blocks import Block, pack_block
from kenpin_wire.contract import MAX_JSON_BYTES, encode
from kenpin_wire.errors import LinkError, WireError
from kenpin_wire.messages import Command, DesiredConfig, EventAck, Score, ScoreAggregate
from kenpin_wire.topics import Address, Channel, TopicTree

NOW = datetime(2027, 1, 15, tzinfo=UTC)
HERE = Address("plant", "line-1", "cam-1")
BASE = "kenpin/v1/plant/line-1"
SHA = "a" * 64


def rounds(redelivery, waiting, until_s, step_s=0.5):
    """When each id is sent again, playing the sender."""
    sent = []
    now_s = 0.0
    while now_s < until_s:
        now_s += step_s
        span = redelivery.span(now_s)
        rows = [row for row in waiting if row in span][:100]  # a window
        for row in rows:
            redelivery.sent(row, now_s)
            sent.append((now_s, row))
        if span and not rows:
            redelivery.round_over(anything_waits=bool(waiting))
    return sent


def test_a_silent_lane_asks_now_and_then_until_somebody_hears_and_holds_up_no_other():
    hearing = Hearing()
    assert hearing.may_say(Lane.BULK, 0.0)
    assert not hearing.unheard(Lane.BULK, 0.0, age_s=9 * GRACE_S)
    assert hearing.silent(Lane.BULK)
    assert [hearing.may_say(Lane.BULK, at_s) for at_s in (0.0, ASK_AGAIN_S)] == [False, True]
    assert hearing.may_say(Lane.PICTURE, 0.0)
    hearing.heard(Lane.PICTURE)
    assert hearing.may_say(Lane.BULK, 0.0)  # somebody is there
    assert hearing.silent(Lane.BULK)
    hearing.heard(Lane.BULK)
    assert hearing.may_say(Lane.BULK, 0.0)
    assert not hearing.silent(Lane.BULK)


@given(st.floats(0, 2 * GRACE_S), st.floats(0, 2 * GRACE_S), st.booleans())
def test_a_row_is_given_up_only_when_it_and_the_silence_are_as_old_as_the_grace(age_s, silent_s, heard):
    hearing = Hearing()
    hearing.unheard(Lane.BULK, 0.0, age_s=0.0)
    if heard:
        hearing.heard(Lane.BULK)
    given_up = hearing.unheard(Lane.BULK, silent_s, age_s=age_s)
    assert given_up == (not heard and age_s >= GRACE_S and silent_s >= GRACE_S)


def test_an_event_is_never_given_up_for_want_of_a_controller():
    hearing = Hearing()
    assert not any(hearing.unheard(Lane.EVENT, at_s, age_s=at_s) for at_s in (0.0, GRACE_S, 9 * GRACE_S))


def test_an_event_that_reached_nobody_is_as_good_as_new():
    redelivery = Redelivery()
    for row in (1, 2, 3):
        redelivery.sent(row, 0.0)
    redelivery.unheard(3)
    redelivery.unheard(2)
    assert redelivery.sent_up_to == 1
    assert redelivery.span(5.0) == range(1, 2)


def test_an_unacknowledged_event_is_sent_again_ever_more_rarely():
    redelivery = Redelivery()
    redelivery.sent(7, 0.0)
    times = [at_s for at_s, _ in rounds(redelivery, [7], 4000.0)]
    gaps = [b - a for a, b in zip([0.0, *times], times, strict=False)]
    assert times[0] == 5.0
    assert gaps == sorted(gaps)
    assert max(gaps) == LAST_DELAY_S


def test_nothing_is_sent_again_before_it_has_waited_the_delay():
    redelivery = Redelivery()
    redelivery.sent(1, 0.0)
    redelivery.sent(2, 4.9)
    assert rounds(redelivery, [1, 2], 6.0) == [(5.0, 1)]


def test_an_acknowledged_event_is_never_sent_again_and_the_rounds_end():
    redelivery = Redelivery()
    redelivery.sent(1, 0.0)
    redelivery.acknowledged(1.0)
    assert rounds(redelivery, [], 100.0) == []
    assert redelivery.due_s is None


def test_a_reconnection_begins_a_round_at_once():
    redelivery = Redelivery()
    redelivery.sent(1, 0.0)
    redelivery.reconnected(1.0)
    assert 1 in redelivery.span(1.0)


def test_an_acknowledgement_brings_the_next_round_near():
    redelivery = Redelivery()
    for row in (1, 2):
        redelivery.sent(row, 0.0)
    rounds(redelivery, [1, 2], 2000.0)
    redelivery.acknowledged(2000.0)
    assert redelivery.due_s == 2005.0


def test_while_acknowledgements_come_a_round_is_put_off_but_not_for_ever():
    redelivery = Redelivery()
    redelivery.sent(1, 0.0)
    for second in range(1, 200):
        redelivery.acknowledged(float(second))
        if 1 in redelivery.span(float(second)):
            break
    assert second == PATIENCE_S


def test_a_round_is_bounded():
    redelivery = Redelivery()
    waiting = list(range(1, ROUND_ROWS + 100))
    for row in waiting:
        redelivery.sent(row, 0.0)
    redelivery.reconnected(0.0)
    assert len(rounds(redelivery, waiting, 5.0)) == ROUND_ROWS


def test_what_was_under_way_is_sent_again_in_order_until_given_up():
    in_flight = InFlight()
    tokens = [in_flight.sent(Publication(str(n), b"", 1), mid=n, now_s=0.0) for n in (1, 2, 3)]
    assert in_flight.acknowledged(2) == tokens[1]
    assert in_flight.acknowledged(2) is None
    again, given_up = in_flight.reconnected(1.0)
    assert [token for token, _ in again] == [tokens[0], tokens[2]]
    assert given_up == []
    assert in_flight.acknowledged(1) is None  # a message id of the lost connection
    in_flight.sent_again(tokens[0], 77)
    assert in_flight.acknowledged(77) == tokens[0]
    for _ in range(MAX_TRIES - 1):
        again, given_up = in_flight.reconnected(1.0)
    assert (again, given_up) == ([], [tokens[2]])
    assert not len(in_flight)


def test_what_expired_while_the_broker_was_away_is_not_sent_again():
    in_flight = InFlight()
    token = in_flight.sent(Publication("t", b"", 1, expiry_s=30), 1, now_s=0.0)
    assert in_flight.reconnected(31.0) == ([], [token])


@pytest.mark.parametrize(
    ("code", "accepted", "permanent"),
    [(0, True, False), (16, True, False), (135, False, True), (151, False, False), (GAVE_UP, False, True)],
)
def test_a_receipt_tells_refusals_that_last_from_those_that_pass(code, accepted, permanent):
    receipt = Receipt(1, code)
    assert (receipt.accepted, receipt.permanent) == (accepted, permanent)


def deliver(topic, payload, *, retain=False):
    return Reader(TopicTree(), HERE).read(Delivery(topic, payload, 1, retain), NOW)


def test_the_reader_takes_what_is_said_to_the_device_and_to_its_line():
    config = encode(DesiredConfig(rev=3))
    mine = deliver(f"{BASE}/cam-1/set/config", config, retain=True)
    ours = deliver(f"{BASE}/_all/set/config", config)
    assert (mine.whole_line, ours.whole_line) == (False, True)
    assert mine.payload.rev == 3
    command = deliver(f"{BASE}/cam-1/cmd/capture", encode(Command(id="c1")))
    assert (command.channel, command.argument) == (Channel.CMD, "capture")
    block = pack_block(Block(0, b"data"))
    assert deliver(f"{BASE}/cam-1/set/blob/{SHA}", block).payload == block
    assert deliver(f"{BASE}/cam-1/set/ack", encode(EventAck(ids=["e"]))).payload.ids == ["e"]


@pytest.mark.parametrize(
    ("topic", "payload", "retain"),
    [
        (f"{BASE}/cam-1/set/config", b"", False),
        (f"{BASE}/cam-1/set/config", b"{", False),
        (f"{BASE}/cam-1/set/config", b"[]", False),
        (f"{BASE}/cam-1/set/config", b'{"threshold": {"release": "r"}}', False),
        (f"{BASE}/cam-1/set/config", b'{"rev": 1e400}', False),
        (f"{BASE}/cam-1/set/config", b'{"rev": 1, "ts": "yesterday"}', False),
        (f"{BASE}/cam-1/set/config", b"\xff\xfe", False),
        (f"{BASE}/cam-1/set/config", b"[" * 100_000, False),
        (f"{BASE}/cam-1/set/config", b" " * (MAX_JSON_BYTES + 1), False),
        (f"{BASE}/cam-1/set/release", b'{"rev": 1}', False),
        (f"{BASE}/cam-1/set/blob/{SHA}", b"short", False),
        (f"{BASE}/cam-1/set/blob/{SHA}", bytes(100_000), False),
        (f"{BASE}/cam-1/set/blob/{SHA}", pack_block(Block(0, b"x"))[:-1] + b"y", False),
        (f"{BASE}/cam-1/cmd/capture", b'{"id": "a b"}', False),
        (f"{BASE}/cam-1/cmd/capture", encode(Command(id="c")), True),
        (f"{BASE}/cam-1/cmd/cap%20ture", encode(Command(id="c")), False),
        (f"{BASE}/cam-1/set/ack", b'{"ids": 5}', False),
        (f"{BASE}/_all/set/release", b'{"rev": 1}', False),
        (f"{BASE}/_all/cmd/capture", encode(Command(id="c")), False),
        (f"{BASE}/cam-2/set/config", b'{"rev": 1}', False),
        (f"{BASE}/cam-1/score", encode(Score()), False),
        (f"{BASE}/cam-1/set/unknown", b"{}", False),
        ("elsewhere", b"{}", False),
        ("", b"{}", False),
    ],
)
def test_what_breaks_the_contract_is_refused_in_one_line_that_names_its_topic(topic, payload, retain):
    with pytest.raises(WireError) as refusal:
        deliver(topic, payload, retain=retain)
    assert refusal.value.where == topic
    assert "\n" not in str(refusal.value)
    assert len(str(refusal.value)) < 400


def test_a_command_that_comes_again_is_taken_once():
    reader = Reader(TopicTree(), HERE)
    delivery = Delivery(f"{BASE}/cam-1/cmd/capture", encode(Command(id="c1")), 1, False)
    assert reader.read(delivery, NOW) is not None
    assert reader.read(delivery, NOW) is None


def writer(clock=None):
    return Writer(TopicTree(), HERE, clock or FakeClock(wall_s=1_800_000_000.0), boot=4)


def test_messages_are_stamped_with_time_boot_and_a_growing_number():
    write = writer().write
    first, second = (json.loads(write(Outgoing(Channel.SCORE, Score(score=1.5))).payload) for _ in range(2))
    assert (first["v"], first["boot"], first["seq"], second["seq"]) == (1, 4, 1, 2)
    assert first["ts"] == "2027-01-15T08:00:00Z"


def test_a_time_that_the_maker_gave_is_kept():
    message = ScoreAggregate(ts="2026-01-02T03:04:05Z", n=1)
    sent = json.loads(writer().write(Outgoing(Channel.SCORE_AGG, message)).payload)
    assert sent["ts"] == "2026-01-02T03:04:05Z"


@pytest.mark.parametrize(
    "message",
    [
        Outgoing(Channel.SCORE, ScoreAggregate()),
        Outgoing(Channel.SCORE, b"{}"),
        Outgoing(Channel.PICTURE, Score()),
        Outgoing(Channel.PICTURE, bytes(100_001)),
        Outgoing(Channel.REPLY, Score(), "id"),
        Outgoing(Channel.SCORE, Score(part="x" * MAX_JSON_BYTES)),
        Outgoing(Channel.SCORE, Score(), argument="none-wanted"),
    ],
)
def test_nothing_leaves_that_breaks_the_contract(message):
    with pytest.raises(WireError):
        writer().write(message)


def test_the_contract_says_how_it_travels():
    publication = writer().write(Outgoing(Channel.PICTURE, b"\xff\xd8"))
    assert publication == Publication(f"{BASE}/cam-1/picture", b"\xff\xd8", 1, True, 86_400, "image/jpeg")


def test_a_quota_allows_a_burst_and_then_a_rate():
    quota = Quota(per_s=2, burst=3)
    assert [quota.take(0.0) for _ in range(5)] == [True, True, True, False, False]
    assert [quota.take(1.0) for _ in range(3)] == [True, True, False]


def test_a_password_is_never_shown(tmp_path):
    settings = BrokerSettings(username="u", password="hunter2")
    assert "hunter2" not in f"{settings!r} {settings} {settings.model_dump_json()}"
    assert settings.read_password() == "hunter2"
    file = tmp_path / "password"
    file.write_text("hunter3\n")
    assert BrokerSettings(username="u", password_file=file).read_password() == "hunter3"
    with pytest.raises(LinkError, match="cannot be read"):
        BrokerSettings(username="u", password_file=tmp_path / "none").read_password()


@pytest.mark.parametrize(
    "wrong",
    [
        {"hots": "x"},
        {"port": 0},
        {"password": "p"},
        {"username": "u", "password": "p", "password_file": "f"},
        {"tls": {"cert_file": "c"}},
        {"protocol": "4"},
        {"client_id": "a/b"},
    ],
)
def test_settings_that_make_no_sense_are_refused(wrong):
    with pytest.raises(ValidationError):
        BrokerSettings.model_validate(wrong)


@pytest.mark.parametrize("code", [128, 132, 133, 134, 135, 136, 142, 149, 151])
def test_every_refusal_says_where_and_what_to_do(code):
    reason = ReasonCode(
        PacketTypes.DISCONNECT if code in (142, 149) else PacketTypes.CONNACK, identifier=code
    )
    error = diagnosis.refused(reason, endpoint="broker:1883", username="cam-1")
    assert str(error).startswith("broker:1883: ")
    assert error.remedy


def test_warnings_are_forwarded_and_cannot_come_round(caplog):
    import logging

    link, clock = FakeLink(), FakeClock()
    logger = logging.getLogger("kenpin_test_forwarding")
    handler = LinkLogHandler(link, clock)
    logger.addHandler(handler)
    publish = link.publish
    link.publish = lambda message: (logger.error("publishing %s", message.channel), publish(message))
    logger.info("too quiet")
    for number in range(8):
        logger.warning("number %d", number)
    logger.removeHandler(handler)
    messages = [message.payload.message for message in link.of(Channel.LOG)]
    assert messages == [f"number {n}" for n in range(5)]
    clock.advance(1.0)
    handler.emit(logging.LogRecord("x", logging.ERROR, "f", 1, "bad %d", ("arguments",), None))
    handler.emit(logging.LogRecord("x", logging.ERROR, "f", 1, "good", (), None))
    assert link.of(Channel.LOG)[-1].payload.message == "good"
