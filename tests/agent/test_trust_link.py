"""Attacks on a device with a pinned root, through a real broker: each is refused with its reason, and the line goes on."""

from __future__ import annotations

import hashlib
import logging
import threading
import time
from datetime import timedelta

import pytest
from securesystemslib.signer import CryptoSigner

from kenpin_agent.clock import SystemClock
from kenpin_agent.link import session as session_module
from kenpin_agent.link.log_handler import LinkLogHandler
from kenpin_agent.link.outbox import Outbox
from kenpin_agent.link.paho_link import PahoLink
from kenpin_agent.link.publications import Publication
from kenpin_agent.link.settings import BrokerSettings
from kenpin_agent.seams import ReleaseCheck
from kenpin_agent.testing import FakeClock
from kenpin_agent.trust import fetching, trust
from kenpin_agent.trust.fetching import MqttFetch
from kenpin_agent.trust.last_known_time import LastKnownTime
from kenpin_agent.trust.trust import Trust
from kenpin_wire.contract import decode, encode
from kenpin_wire.errors import RepositoryAwayError, RepositoryExpiredError, TrustError
from kenpin_wire.messages import Command, DesiredConfig, DesiredRelease, ReleaseName
from kenpin_wire.metadata import PART_BYTES, MetadataPart, pack_metadata
from kenpin_wire.topics import Address, Channel
from support import wait_until
from support.tuf_site import ControllerKey, TufSite

HERE = Address("plant", "line-1", "cam-1")
BASE = "kenpin/v1/plant/line-1"
MINE, LINE = f"{BASE}/cam-1/set/config", f"{BASE}/_all/set/config"
DAY = timedelta(days=1)
RELEASE = b"a release's bytes"


def order(content=RELEASE, *, version="1", rev=1):
    sha256 = hashlib.sha256(content).hexdigest()
    return DesiredRelease(
        rev=rev, release=ReleaseName(name="discs", version=version), sha256=sha256, size=len(content)
    )


class Controller:
    """Answers for the site's repository, and says what a test tells it to.

    Attributes:
        answer: Gives the payloads that a request is answered with; replaced by tests.
        asked: Names of the files asked for, in order.
    """

    def __init__(self, listen, port):
        self.site = TufSite()
        self.key = ControllerKey()
        self.site.add_target("discs-1.kenpin", RELEASE)
        self.site.name_controller(self.key)
        self.asked: list[str] = []
        self.answer = self.honest
        self._listener = listen(port, [f"{BASE}/+/meta/req"])
        take = self._listener.session.on_message
        self._listener.session.on_message = lambda delivery: (take(delivery), self._asked(delivery))

    def honest(self, request):
        data = self.site.files.get(request.name, b"")
        end = request.offset + PART_BYTES
        return [pack_metadata(MetadataPart(request.offset, len(data), data[request.offset : end]))]

    def say(self, topic, payload, *, retain=False):
        self._listener.session.publish(Publication(topic, payload, qos=1, retain=retain))

    def wish(self, rev, *, key=None, on=MINE, signed_for=None, retain=False, **fields):
        envelope = (key or self.key).seal(signed_for or on, DesiredConfig(rev=rev, **fields))
        self.say(on, encode(envelope), retain=retain)

    def _asked(self, delivery):
        request = decode(Channel.META_REQ, delivery.payload)
        self.asked.append(request.name)
        for payload in self.answer(request):
            self.say(delivery.topic.replace("meta/req", f"set/meta/{request.id}"), payload)


class Device:
    """A device's link and trust. `took` holds what got through."""

    def __init__(self, folder, port, site, clock=None):
        self.clock = clock or SystemClock()
        self.took = []
        self.trust = Trust(folder / "trust", site.pinned, self.clock)
        outbox = Outbox(folder / "outbox.sqlite", self.clock)
        self.link = PahoLink(BrokerSettings(port=port), HERE, outbox, self.clock, verifier=self.trust)
        self.link.on_message(lambda m: m.channel is Channel.SET_META or self.took.append(m))
        self.trust.use(MqttFetch(self.link, self.clock))
        self.link.on_connect(self.trust.connected)
        self.link.start()

    @property
    def revs(self):
        return [m.payload.rev for m in self.took if m.channel is Channel.SET_CONFIG]

    def settled(self):
        """Wait until the keys are there."""
        wait_until(lambda: self.trust.keys.public, what="the controller's keys")
        return self


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(session_module, "FIRST_DELAY_S", 0.1)
    monkeypatch.setattr(fetching, "ANSWER_S", 0.25)


@pytest.fixture
def site(controller, broker):
    return Controller(controller, broker.port)


@pytest.fixture
def device(tmp_path, broker, site):
    made = []

    def start():
        device = Device(tmp_path, broker.port, site.site)
        made.append(device)
        wait_until(lambda: device.link.connected, what="the connection")
        return device

    yield start
    for one in made:
        one.link.stop()


def refused(device, caplog, attack, reason):
    """Carry out an attack; it must be counted, told in one warning, and change nothing."""
    before, took = device.link.rejected_messages, list(device.took)
    caplog.clear()
    attack()
    wait_until(lambda: device.link.rejected_messages == before + 1, what="a refusal")
    wait_until(lambda: reason in caplog.text, what=f"{reason!r}")
    assert device.took == took


class TestSettings:
    def test_what_the_controller_signed_gets_through_to_device_and_line(self, device, site):
        one = device().settled()
        site.wish(1)
        site.wish(1, on=LINE)
        site.wish(1)  # the same again changes nothing, and is no offence
        wait_until(lambda: len(one.took) == 3)
        assert [m.whole_line for m in one.took] == [False, True, False]
        assert one.link.rejected_messages == 0

    def test_what_was_retained_before_the_first_start_gets_through_once_the_keys_are_there(
        self, device, site
    ):
        site.wish(5, retain=True)
        one = device()
        wait_until(lambda: one.revs == [5])

    def test_attacks_are_refused_and_the_controller_is_heard_all_the_same(self, device, site, caplog):
        one = device().settled()
        site.wish(7)
        wait_until(lambda: one.revs == [7])
        expired = {"expires": site.site.now - DAY}
        attacks = {
            "not signed": lambda: site.say(MINE, encode(DesiredConfig(rev=8))),
            "changed on the way, or said to another device": lambda: site.wish(
                8, signed_for=MINE.replace("cam-1", "cam-2")
            ),
            "replaced by 7 before": lambda: site.wish(6),
            "expired at": lambda: site.wish(8, **expired),
            "not the controller's": lambda: site.wish(8, key=ControllerKey()),
        }
        for reason, attack in attacks.items():
            refused(one, caplog, attack, reason)
        site.wish(8)
        wait_until(lambda: one.revs == [7, 8])

    def test_a_tampered_envelope_is_refused(self, device, site, caplog):
        one = device().settled()
        envelope = site.key.seal(MINE, DesiredConfig(rev=1, heatmap_every=1))
        changed = envelope.model_copy(update={"payload": envelope.payload.replace('every":1', 'every":2')})
        assert changed != envelope
        refused(one, caplog, lambda: site.say(MINE, encode(changed)), "changed on the way")

    def test_the_lines_settings_cannot_be_played_to_a_device(self, device, site, caplog):
        one = device().settled()
        refused(one, caplog, lambda: site.wish(1, on=MINE, signed_for=LINE), "said to another device")

    def test_the_refusal_reaches_the_controllers_log_channel(self, device, site, controller, broker):
        one = device().settled()
        listener = controller(broker.port, [f"{BASE}/cam-1/log"], client_id="log")
        handler = LinkLogHandler(one.link, one.clock)
        logging.getLogger().addHandler(handler)
        try:
            site.say(MINE, encode(DesiredConfig(rev=8)))
            wait_until(lambda: any(b"not signed" in line for line in listener.on("log")))
        finally:
            logging.getLogger().removeHandler(handler)

    def test_a_replay_is_refused_after_a_restart(self, device, site, caplog):
        one = device().settled()
        site.wish(9)
        wait_until(lambda: one.revs == [9])
        one.link.stop()
        refused(device().settled(), caplog, lambda: site.wish(8), "replaced by 9 before")

    def test_settings_are_verified_after_a_restart_without_the_controllers_answers(self, device, site):
        device().settled().link.stop()
        site.answer = lambda _request: []
        one = device()
        site.wish(1)
        wait_until(lambda: one.revs == [1])

    def test_orders_are_signed_like_settings(self, device, site, caplog):
        one = device().settled()
        topic = f"{BASE}/cam-1/set/release"
        refused(one, caplog, lambda: site.say(topic, encode(order())), "not signed")
        wish = order()
        site.say(topic, encode(site.key.seal(topic, wish)))
        wait_until(lambda: [m.payload for m in one.took] == [wish])


class TestKeys:
    def test_a_new_controller_key_is_looked_up_when_it_speaks(self, device, site):
        one = device().settled()
        new = ControllerKey()
        site.site.name_controller(new)
        site.wish(1, key=new)
        wait_until(lambda: one.revs == [1])

    def test_what_came_before_the_controller_was_up_gets_through_once_it_is(self, device, site, monkeypatch):
        monkeypatch.setattr(trust, "AGAIN_S", 0.3)
        site.answer = lambda _request: []
        site.wish(5, retain=True)
        one = device()
        wait_until(lambda: one.link.rejected_messages == 1)
        site.answer = site.honest
        wait_until(lambda: one.revs == [5])

    def test_a_lookup_that_keeps_failing_is_told_once(self, device, site, monkeypatch, caplog):
        monkeypatch.setattr(trust, "AGAIN_S", 0.01)
        monkeypatch.setattr(fetching, "ANSWER_S", 0.01)
        site.answer = lambda _request: []
        one = device()
        wait_until(lambda: one.trust._in_vain >= 4)
        assert caplog.text.count("cannot be looked up now") == 1

    def test_what_a_stranger_says_meanwhile_does_not_push_that_out(self, device, site, monkeypatch):
        monkeypatch.setattr(trust, "AGAIN_S", 1.5)
        site.answer = lambda _request: []
        site.wish(5)
        one = device()
        wait_until(lambda: one.link.connected)
        site.wish(5)
        for rev in range(trust.MAX_PARKED - 1):
            site.wish(rev + 10, key=ControllerKey())
        wait_until(lambda: one.link.rejected_messages == trust.MAX_PARKED)
        site.answer = site.honest
        wait_until(lambda: one.revs == [5])

    def test_a_stolen_key_is_worth_nothing_once_it_is_replaced_and_cannot_silence_the_next(
        self, device, site, caplog
    ):
        one = device().settled()
        site.wish(2**53 - 1)  # the thief's
        wait_until(lambda: len(one.took) == 1)
        new = ControllerKey()
        site.site.name_controller(new)
        site.wish(3, key=new)
        wait_until(lambda: len(one.took) == 2)
        assert one.took[-1].payload.rev == 3
        assert one.took[-1].anew
        refused(one, caplog, lambda: site.wish(4, key=site.key), "not the controller's")
        site.wish(4, key=new)
        wait_until(lambda: len(one.took) == 3)
        assert not one.took[-1].anew

    def test_whoever_speaks_with_unknown_keys_makes_the_device_ask_once_a_minute_only(self, device, site):
        one = device().settled()
        wait_until(lambda: any("controller" in name for name in site.asked))
        site.asked.clear()
        for rev in range(20):
            site.wish(rev, key=ControllerKey())
        wait_until(lambda: one.link.rejected_messages == 20)
        assert site.asked.count("timestamp.json") == 1

    def test_looking_up_a_key_holds_nothing_else_up(self, device, site, monkeypatch):
        monkeypatch.setattr(fetching, "ANSWER_S", 20.0)
        one = device().settled()
        asked = threading.Event()
        site.answer = lambda _request: asked.set() or []
        site.wish(1, key=ControllerKey())
        assert asked.wait(5)
        site.say(f"{BASE}/cam-1/cmd/capture", encode(Command(id="c1")))
        began_s = time.monotonic()
        wait_until(lambda: any(m.channel is Channel.CMD for m in one.took), timeout_s=5)
        assert time.monotonic() - began_s < 5


class TestReleases:
    def test_a_signed_release_may_be_fetched(self, device):
        trust: ReleaseCheck = device().trust
        trust.check(order())

    def test_a_release_signed_a_moment_ago_is_found(self, device, site):
        one = device()
        one.trust.check(order())
        site.site.add_target("discs-2.kenpin", b"newer")
        site.site.release()
        one.trust.check(order(b"newer", version="2"))

    def test_a_release_that_is_not_signed_is_refused(self, device):
        with pytest.raises(
            TrustError, match=r"discs-2: the site's targets key has not signed it\. Sign it with"
        ):
            device().trust.check(order(version="2"))

    @pytest.mark.parametrize("content", [RELEASE[::-1], RELEASE + b"!"], ids=["hash", "length"])
    def test_another_file_under_a_signed_name_is_refused(self, device, content):
        with pytest.raises(TrustError, match="another file"):
            device().trust.check(order(content))

    def test_another_length_under_a_signed_hash_is_refused(self, device):
        with pytest.raises(TrustError, match="another file"):
            device().trust.check(order().model_copy(update={"size": 2**40}))

    def test_a_release_that_was_recalled_is_refused(self, device, site):
        one = device()
        one.trust.check(order())
        one.trust._refreshed_s = float("-inf")  # some time later
        del site.site.targets.targets["discs-1.kenpin"]
        site.site.release()
        with pytest.raises(TrustError, match="has not signed it"):
            one.trust.check(order())

    def test_without_an_answer_it_cannot_be_known(self, device, site):
        site.answer = lambda _request: []
        with pytest.raises(RepositoryAwayError, match="controller does not answer"):
            device().trust.check(order())

    def test_without_a_broker_it_says_so_at_once(self, device, broker):
        one = device().settled()
        one.trust._refreshed_s = float("-inf")
        broker.kill()
        wait_until(lambda: not one.link.connected)
        with pytest.raises(RepositoryAwayError, match="broker is away"):
            one.trust.check(order())

    def test_frozen_metadata_is_refused_and_the_clock_is_named(self, device, site):
        site.site.timestamp.expires = site.site.now - DAY
        site.site.publish()
        with pytest.raises(RepositoryExpiredError, match=r"timestamp.json is expired.*set its clock"):
            device().trust.check(order())

    def test_a_frozen_repository_is_noticed_by_a_clock_that_fell_back(self, device, site, tmp_path):
        (tmp_path / "trust").mkdir()
        later_s = int((site.site.expires + DAY).timestamp())  # the last time that this device knew
        (tmp_path / "trust" / "time").write_text(str(later_s))
        with pytest.raises(RepositoryExpiredError):
            device().trust.check(order())

    def test_the_time_at_which_metadata_was_found_good_is_kept_over_a_restart(self, device, tmp_path):
        before_s = time.time()
        device().trust.check(order())
        without_a_clock = FakeClock(wall_s=0.0)
        known = LastKnownTime(tmp_path / "trust" / "time", without_a_clock).now()
        assert before_s - 1 <= known.timestamp() <= time.time()

    @pytest.mark.parametrize("name", ["timestamp.json", "2.snapshot.json", "2.targets.json"])
    def test_tampered_metadata_is_refused(self, device, site, name):
        honest = site.site.files[name]
        site.site.files[name] = honest.replace(b'"version":2', b'"version":3')
        assert site.site.files[name] != honest
        with pytest.raises(
            RepositoryAwayError, match=r"not what the site's keys signed|not the file that was signed"
        ):
            device().trust.check(order())

    def test_older_metadata_is_refused(self, device, site):
        one = device().settled()
        one.trust._refreshed_s = float("-inf")
        site.site.timestamp.version -= 1
        site.site.publish()
        with pytest.raises(RepositoryAwayError, match="version 1 must be >= 2"):
            one.trust.check(order())

    def test_metadata_of_another_site_is_refused(self, device, site):
        one = device().settled()
        one.trust._refreshed_s = float("-inf")
        site.site.signers["timestamp"] = [CryptoSigner.generate_ed25519()]
        site.site.release()
        with pytest.raises(RepositoryAwayError, match="not what the site's keys signed"):
            one.trust.check(order())


class TestTheWayOfMetadata:
    def test_a_long_file_comes_in_parts(self, device, site):
        for number in range(1200):
            site.site.add_target(f"discs-9.{number}.kenpin", b"%d" % number)
        site.site.release()
        assert len(site.site.files["3.targets.json"]) > 2 * PART_BYTES
        device().trust.check(order(b"1199", version="9.1199"))

    def test_lost_damaged_and_repeated_answers_are_got_over(self, device, site):
        seen: set[str] = set()

        def flaky(request):
            first = request.name not in seen
            seen.add(request.name)
            (answer,) = site.honest(request)
            if not first:
                return [answer, answer]
            return [] if len(seen) % 2 else [answer[:-1] + bytes([answer[-1] ^ 1])]

        site.answer = flaky
        device().trust.check(order())

    def test_endless_data_is_cut(self, device, site):
        def endless(request):
            if request.name != "timestamp.json":
                return site.honest(request)
            return [pack_metadata(MetadataPart(request.offset, 2**32 - 1, b" " * PART_BYTES))]

        site.answer = endless
        with pytest.raises(RepositoryAwayError, match="exceeding the maximum allowed length of 16384"):
            device().trust.check(order())

    @pytest.mark.parametrize(
        "part",
        [
            lambda r: MetadataPart(r.offset, 10, b""),  # no end is ever reached
            lambda r: MetadataPart(r.offset + 1, 10, b"{"),
            lambda r: MetadataPart(r.offset, 10 + r.offset, b"{"),  # grows as it is read
        ],
    )
    def test_parts_that_lead_nowhere_are_refused(self, device, site, part):
        site.answer = lambda request: [pack_metadata(part(request))]
        with pytest.raises(RepositoryAwayError, match="do not fit together"):
            device().trust.check(order())

    def test_nobody_elses_answer_is_taken(self, device, site):
        def with_another_before_it(request):
            site.say(f"{BASE}/cam-1/set/meta/other", pack_metadata(MetadataPart(0, 2, b"{}")))
            return site.honest(request)

        site.answer = with_another_before_it
        one = device()
        one.trust.check(order())
        assert one.link.rejected_messages == 0

    def test_a_device_that_found_no_answer_asks_again_once_the_broker_is_back(self, device, site, broker):
        site.answer = lambda _request: []
        one = device()
        wait_until(lambda: one.trust._in_vain)
        site.answer = site.honest
        broker.kill()
        wait_until(lambda: not one.link.connected)
        broker.start()
        one.settled()
