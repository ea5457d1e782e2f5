"""The MQTT session over real brokers: it comes back, says what is wrong once, and ends in time."""

import logging
import shutil
import socket
import subprocess
import threading
import time

import pytest

from kenpin_agent.link import session as session_module
from kenpin_agent.link.check import check_broker
from kenpin_agent.link.session import MqttSession, Publication
from kenpin_agent.link.settings import BrokerSettings, TlsSettings
from kenpin_wire.errors import LinkError
from support import wait_until

LOGGER = "kenpin_agent.link.session"


@pytest.fixture(autouse=True)
def quick_retries(monkeypatch):
    monkeypatch.setattr(session_module, "FIRST_DELAY_S", 0.05)
    monkeypatch.setattr(session_module, "LAST_DELAY_S", 0.2)
    monkeypatch.setattr(session_module, "SILENCE_ON_5_S", 0.5)


@pytest.fixture
def open_session():
    opened = []

    def make(port, client_id="a", settings=None, **how):
        session = MqttSession(BrokerSettings(port=port, **(settings or {})), client_id=client_id, **how)
        opened.append(session)
        return session

    yield make
    for session in opened:
        session.stop(0.0)


def test_it_speaks_what_the_broker_speaks(any_broker, open_session):
    session = open_session(any_broker.port)
    session.start()
    session.wait_connected(10)
    assert session.protocol == any_broker.protocol
    assert check_broker(BrokerSettings(port=any_broker.port), 10) == any_broker.protocol


def test_what_one_publishes_another_hears_and_the_broker_confirms(any_broker, open_session):
    speaker, listener = open_session(any_broker.port, "s"), open_session(any_broker.port, "l")
    heard, receipts = [], []
    listener.on_message = heard.append
    speaker.on_published = receipts.append
    listener.subscribe(["a/+"])
    for session in (speaker, listener):
        session.start()
        session.wait_connected(10)
    tokens = [
        speaker.publish(Publication("a/b", b"%d" % n, 1, expiry_s=30, content_type="x/y")) for n in range(50)
    ]
    wait_until(lambda: len(heard) == 50 and len(receipts) == 50)
    assert [d.payload for d in heard] == [b"%d" % n for n in range(50)]
    assert [r.token for r in receipts] == tokens
    assert all(r.accepted for r in receipts)


def test_it_comes_back_and_so_do_its_subscriptions(any_broker, open_session):
    session = open_session(any_broker.port)
    connected, lost, heard = [], threading.Event(), []
    session.on_connected = connected.append
    session.on_disconnected = lost.set
    session.on_message = heard.append
    session.subscribe(["x"])
    session.start()
    session.wait_connected(10)
    any_broker.kill()
    assert lost.wait(5)
    assert session.publish(Publication("x", b"away", 1)) is None
    any_broker.start()
    wait_until(lambda: len(connected) == 2)
    session.publish(Publication("x", b"back", 1))
    wait_until(lambda: heard)
    assert [d.payload for d in heard] == [b"back"]


def test_what_was_under_way_when_the_broker_died_is_sent_again_once(broker, open_session):
    session = open_session(broker.port)
    receipts = []
    session.on_published = receipts.append
    session.start()
    session.wait_connected(10)
    broker.kill()
    # Published into the dead connection before the session has noticed; or not taken at all.
    taken = [t for t in (session.publish(Publication("x", b"%d" % n, 1, retain=True)) for n in range(5)) if t]
    broker.start()
    session.wait_connected(10)
    wait_until(lambda: len(receipts) == len(taken))
    assert session.in_flight == 0


def test_without_manual_ack_a_delivery_is_confirmed_only_after_its_handler(broker, open_session):
    first = open_session(broker.port, "same", session_expiry_s=60)
    stuck, go_on = threading.Event(), threading.Event()

    def handler(_delivery):
        stuck.set()
        go_on.wait(10)

    first.on_message = handler
    first.subscribe(["x"])
    first.start()
    first.wait_connected(10)
    speaker = open_session(broker.port, "speaker")
    speaker.start()
    speaker.wait_connected(10)
    speaker.publish(Publication("x", b"1", 1))
    assert stuck.wait(5)
    second = open_session(broker.port, "same", session_expiry_s=60)  # as after a crash in the handler
    heard = []
    second.on_message = heard.append
    second.start()
    wait_until(lambda: heard)
    go_on.set()


def test_with_manual_ack_what_was_not_acknowledged_comes_again(broker, open_session):
    listener = open_session(broker.port, "l", session_expiry_s=60, manual_ack=True)
    heard = []
    listener.on_message = heard.append
    listener.subscribe(["x"])
    listener.start()
    listener.wait_connected(10)
    listener.publish(Publication("x", b"1", 1))
    listener.publish(Publication("x", b"2", 1))
    wait_until(lambda: len(heard) == 2)
    listener.acknowledge(heard[0])
    listener.stop(0.5)
    again = open_session(broker.port, "l", session_expiry_s=60, manual_ack=True)
    heard_again = []
    again.on_message = heard_again.append
    again.subscribe(["x"])
    again.start()
    wait_until(lambda: heard_again)
    assert [d.payload for d in heard_again] == [b"2"]
    again.acknowledge(heard[1])  # of the earlier connection: nothing happens
    again.acknowledge(heard_again[0])


def test_it_may_ask_for_more_unacknowledged_messages_than_the_broker_is_set_to(broker, open_session):
    session = open_session(broker.port, manual_ack=True, receive_maximum=100)
    heard = []
    session.on_message = heard.append
    session.subscribe(["x"])
    session.start()
    session.wait_connected(5)
    for number in range(100):
        session.publish(Publication("x", b"%d" % number, 1))
    wait_until(lambda: len(heard) == 100)


def test_a_wrong_password_is_one_clear_line_however_often_it_is_tried(start_mosquitto, open_session, caplog):
    caplog.set_level(logging.INFO, LOGGER)
    broker = start_mosquitto(users={"cam-1": "right"})
    session = open_session(broker.port, settings={"username": "cam-1", "password": "wrong"})
    session.start()
    wait_until(lambda: session._connection >= 4)
    (record,) = caplog.records
    assert record.getMessage() == (
        f"127.0.0.1:{broker.port}: the broker refuses the user 'cam-1' (not authorized). "
        "Check username and password in the broker's settings, and the user in the broker's own."
    )
    broker.kill()
    # the kill may cut off an attempt that is under way, and that is told as what it is
    wait_until(lambda: "nothing listens there" in caplog.records[-1].getMessage())


def test_a_password_put_right_in_its_file_is_used_without_a_restart(start_mosquitto, open_session, tmp_path):
    broker = start_mosquitto(users={"cam-1": "right"})
    file = tmp_path / "password"
    file.write_text("wrong")
    session = open_session(broker.port, settings={"username": "cam-1", "password_file": file})
    session.start()
    with pytest.raises(LinkError):
        session.wait_first_attempt(5)
    file.write_text("right\n")
    session.wait_connected(5)


def test_a_check_raises_what_is_wrong(start_mosquitto, tmp_path):
    broker = start_mosquitto(users={"u": "p"})
    cases = {
        "without a user name": BrokerSettings(port=broker.port),
        "refuses the user 'u'": BrokerSettings(port=broker.port, username="u", password="q"),
        "cannot be resolved": BrokerSettings(host="no-such-host.invalid"),
        "nothing listens": BrokerSettings(port=1),
        "password file": BrokerSettings(port=broker.port, username="u", password_file=tmp_path / "none"),
        "tls settings": BrokerSettings(port=broker.port, tls=TlsSettings(ca_file=tmp_path / "none")),
    }
    for words, settings in cases.items():
        with pytest.raises(LinkError, match=words) as refusal:
            check_broker(settings, 5)
        assert refusal.value.remedy


def test_something_else_on_the_port_is_recognised():
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        with pytest.raises(LinkError, match="does not answer as an MQTT broker"):
            check_broker(BrokerSettings(port=silent.getsockname()[1]), 1.5)


def test_a_refused_subscription_is_said_and_the_rest_works(start_mosquitto, open_session, caplog):
    # mosquitto 2.0 refuses at SUBSCRIBE only what no ACL could ever allow: filters that are not valid UTF-8 …
    # so its answer is played here.
    broker = start_mosquitto()
    session = open_session(broker.port)
    session.subscribe(["x"])
    session.start()
    session.wait_connected(5)
    from paho.mqtt.packettypes import PacketTypes
    from paho.mqtt.reasoncodes import ReasonCode

    session._subscribing[999] = ["forbidden/#"]
    session._suback(session._client, 999, [ReasonCode(PacketTypes.SUBACK, identifier=135)])
    assert "subscribe to forbidden/#" in caplog.text
    assert session.connected


def test_two_that_use_one_name_are_told_so(broker, open_session, caplog):
    first, second = open_session(broker.port, "same"), open_session(broker.port, "same")
    first.start()
    first.wait_connected(5)
    second.start()
    wait_until(lambda: "same client_id" in caplog.text)


def test_a_handler_that_fails_takes_nothing_with_it(broker, open_session, caplog):
    session = open_session(broker.port)
    heard = []

    def handler(delivery):
        heard.append(delivery)
        raise RuntimeError("a bug")

    session.on_message = handler
    session.subscribe(["x"])
    session.start()
    session.wait_connected(5)
    session.publish(Publication("x", b"1", 1))
    session.publish(Publication("x", b"2", 1))
    wait_until(lambda: len(heard) == 2)
    assert session.connected
    assert "a bug" in caplog.text


def test_a_message_that_the_broker_has_announced_as_too_large_is_refused_here(start_mosquitto, open_session):
    broker = start_mosquitto(extra="max_packet_size 50000")
    session = open_session(broker.port)
    session.start()
    session.wait_connected(5)
    with pytest.raises(LinkError, match="the broker takes 50000"):
        session.publish(Publication("x", bytes(60_000), 1))
    assert session.publish(Publication("x", bytes(40_000), 1))


def test_a_window_smaller_than_ours_is_kept_to(start_mosquitto, open_session):
    broker = start_mosquitto(extra="max_inflight_messages 3")
    session = open_session(broker.port)
    receipts = []
    session.on_published = receipts.append
    session.start()
    session.wait_connected(5)
    for number in range(100):
        session.publish(Publication("x", b"%d" % number, 1))
    wait_until(lambda: len(receipts) == 100)


@pytest.mark.parametrize("state", ["never started", "no broker", "connected"])
def test_it_stops_in_time_whatever_its_state(state, broker, open_session):
    session = open_session(1 if state == "no broker" else broker.port)
    if state != "never started":
        session.start()
    if state == "connected":
        session.wait_connected(5)
    began_s = time.monotonic()
    session.stop()
    assert time.monotonic() - began_s < 2.5
    assert not session.connected


def test_a_round_trip_takes_about_a_millisecond(broker, open_session):
    here, there = open_session(broker.port, "h"), open_session(broker.port, "t")
    came = threading.Event()
    here.on_message = lambda _: came.set()
    there.on_message = lambda d: there.publish(Publication("pong", d.payload, 1))
    here.subscribe(["pong"])
    there.subscribe(["ping"])
    for session in (here, there):
        session.start()
        session.wait_connected(5)
    times_s = []
    for _ in range(100):
        came.clear()
        began_s = time.perf_counter()
        here.publish(Publication("ping", b"x", 1))
        assert came.wait(2)
        times_s.append(time.perf_counter() - began_s)
    assert sorted(times_s)[50] < 0.02  # 0.4 ms on a quiet machine; 40 ms and more without TCP_NODELAY


def test_it_speaks_tls_and_says_what_is_wrong_with_a_certificate(start_mosquitto, tmp_path, caplog):
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed")
    key, cert = tmp_path / "key.pem", tmp_path / "cert.pem"
    subject = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]
    files = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", key, "-out", cert]
    subprocess.run(
        ["openssl", "req", "-x509", "-days", "1", *files, *subject], check=True, capture_output=True
    )
    broker = start_mosquitto(extra=f"certfile {cert}\nkeyfile {key}\ncafile {cert}")
    trusted = BrokerSettings(port=broker.port, tls=TlsSettings(ca_file=cert))
    assert check_broker(trusted, 5) == "5"
    with pytest.raises(LinkError, match="certificate is not trusted") as refusal:
        check_broker(BrokerSettings(port=broker.port, tls=TlsSettings()), 5)
    assert "ca_file" in refusal.value.remedy
    with pytest.raises(LinkError):
        check_broker(BrokerSettings(port=broker.port), 5)
