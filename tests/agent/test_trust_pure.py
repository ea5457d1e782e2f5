"""What a device believes, and for how long: envelopes, revisions, keys and time."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kenpin_agent.link.incoming import Reader, Sealed
from kenpin_agent.link.publications import Delivery
from kenpin_agent.seams import Incoming
from kenpin_agent.settings import Wishes
from kenpin_agent.testing import FakeClock
from kenpin_agent.trust.envelope import UnknownKeyError, open_envelope
from kenpin_agent.trust.floors import Floors
from kenpin_agent.trust.keys import ControllerKeys, KeyFile, read_controller_target
from kenpin_agent.trust.last_known_time import LastKnownTime
from kenpin_wire.contract import encode
from kenpin_wire.errors import TrustError, WireError
from kenpin_wire.messages import DesiredConfig, DesiredRelease, ReleaseName
from kenpin_wire.topics import Address, Channel, TopicTree
from support.tuf_site import ControllerKey

HERE = Address("plant", "line-1", "cam-1")
MINE = "kenpin/v1/plant/line-1/cam-1/set/config"
LINE = "kenpin/v1/plant/line-1/_all/set/config"
NOW = datetime(2027, 1, 15, 8, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)
KEY = ControllerKey()
KEYS = ControllerKeys({KEY.id: KEY.public}, NOW + HOUR)


WISH = DesiredConfig(rev=3)


def sealed(message=WISH, *, key=KEY, said_on=MINE, signed_for=MINE):
    return Sealed(Channel.SET_CONFIG, said_on, key.seal(signed_for, message), said_on == LINE)


def opened(envelope, *, keys=KEYS, now=NOW, floor=0):
    return open_envelope(envelope, keys, now=now, floor=floor)


class TestEnvelope:
    def test_what_the_controller_signed_for_this_topic_is_taken(self):
        wish = DesiredConfig(rev=3, heatmap_every=7, expires=NOW + HOUR)
        assert opened(sealed(wish)) == wish

    def test_the_same_revision_is_taken_again(self):
        assert opened(sealed(), floor=3).rev == 3

    def test_a_key_that_is_not_the_controllers_is_unknown(self):
        with pytest.raises(UnknownKeyError, match="key that is not the controller's"):
            opened(sealed(key=ControllerKey()))

    def test_a_key_counts_until_the_metadata_that_named_it_expires(self):
        opened(sealed(), now=KEYS.until)
        with pytest.raises(UnknownKeyError, match="keys have expired"):
            opened(sealed(), now=KEYS.until + HOUR)

    @pytest.mark.parametrize(
        "signed_for", [LINE, MINE.replace("cam-1", "cam-2"), MINE.replace("config", "release")]
    )
    def test_what_was_said_elsewhere_means_nothing_here(self, signed_for):
        with pytest.raises(WireError, match="said to another device") as refused:
            opened(sealed(signed_for=signed_for))
        assert refused.value.where == MINE

    @settings(deadline=None)  # the first call may import
    @given(st.data())
    def test_no_change_of_payload_or_signature_goes_unnoticed(self, data):
        envelope = sealed().envelope
        field = data.draw(st.sampled_from(["payload", "signature"]))
        text = getattr(envelope, field)
        at = data.draw(
            st.integers(0, len(text) - (1 if field == "payload" else 4))
        )  # base64's last bits don't count
        other = data.draw(st.sampled_from("Aa0").filter(lambda c: c != text[at]))
        changed = envelope.model_copy(update={field: text[:at] + other + text[at + 1 :]})
        with pytest.raises(WireError, match="signature does not fit"):
            opened(Sealed(Channel.SET_CONFIG, MINE, changed, False))

    def test_an_expired_message_is_refused_and_says_what_time_it_is_taken_for(self):
        wish = DesiredConfig(rev=3, expires=NOW)
        opened(sealed(wish))
        with pytest.raises(
            WireError, match=r"expired at 2027-01-15 08:00 UTC.*takes it for 2027-01-15 08:01"
        ):
            opened(sealed(wish), now=NOW + timedelta(minutes=1))

    def test_an_older_revision_is_refused(self):
        with pytest.raises(WireError, match="revision 3 was replaced by 4"):
            opened(sealed(), floor=4)

    def test_a_signed_message_of_another_channel_is_refused(self):
        order = DesiredRelease(rev=1, release=ReleaseName(name="a", version="1"), sha256="0" * 64, size=1)
        envelope = KEY.seal(MINE.replace("config", "release"), order)
        with pytest.raises(WireError):
            opened(Sealed(Channel.SET_CONFIG, MINE, envelope, False))

    def test_a_public_key_that_is_no_point_of_the_curve_is_refused(self):
        broken = ControllerKeys({KEY.id: b"\xff" * 32}, NOW + HOUR)
        with pytest.raises(WireError, match="signature does not fit"):
            opened(sealed(), keys=broken)


class TestReader:
    def read(self, payload, *, pinned, now=NOW, topic=MINE):
        return Reader(TopicTree(), HERE, pinned=pinned).read(Delivery(topic, payload, 1, True), now)

    def test_a_pinned_device_leaves_an_envelope_sealed(self):
        for topic in (MINE, LINE):
            envelope = KEY.seal(topic, DesiredConfig(rev=1))
            expected = Sealed(Channel.SET_CONFIG, topic, envelope, topic == LINE)
            assert self.read(encode(envelope), pinned=True, topic=topic) == expected

    def test_a_pinned_device_takes_no_bare_message(self):
        with pytest.raises(WireError, match="not signed"):
            self.read(b'{"rev": 1}', pinned=True)

    def test_a_device_without_a_root_takes_both(self):
        wish = DesiredConfig(rev=1)
        for payload in (encode(wish), encode(KEY.seal("of/another", wish))):
            assert self.read(payload, pinned=False) == Incoming(Channel.SET_CONFIG, wish)

    def test_a_device_without_a_root_takes_nothing_expired(self):
        payload = encode(DesiredConfig(rev=1, expires=NOW - HOUR))
        with pytest.raises(WireError, match="expired"):
            self.read(payload, pinned=False)

    @pytest.mark.parametrize("pinned", [False, True])
    @pytest.mark.parametrize(
        "payload",
        [b'{"signature": 3}', b'{"payload": "{}", "key": "k", "signature": "s"}', b"[" * 50_000, b"{"],
    )
    def test_a_broken_envelope_is_refused_whatever_is_pinned(self, payload, pinned):
        with pytest.raises(WireError):
            self.read(payload, pinned=pinned)

    def test_metadata_is_listened_to_only_with_a_root(self):
        tree = TopicTree()
        meta = tree.filter(Channel.SET_META, site="plant", line="line-1", device="cam-1")
        assert meta in Reader(tree, HERE, pinned=True).filters
        assert meta not in Reader(tree, HERE).filters


class TestFloors:
    def test_a_floor_stands_over_a_restart(self, tmp_path):
        Floors(tmp_path / "f").raise_to(MINE, 7, KEY.id)
        again = Floors(tmp_path / "f")
        assert again.of(MINE, {KEY.id}) == 7
        assert again.of(LINE, {KEY.id}) == 0
        assert not again.fell(MINE, {KEY.id})

    def test_a_floor_falls_with_its_key_so_that_a_thief_cannot_silence_the_next_one(self, tmp_path):
        floors = Floors(tmp_path / "f")
        floors.raise_to(MINE, 2**53 - 1, "stolen")
        assert floors.of(MINE, {KEY.id}) == 0
        assert floors.fell(MINE, {KEY.id})
        floors.raise_to(MINE, 1, KEY.id)
        assert not floors.fell(MINE, {KEY.id})

    def test_a_torn_file_is_begun_anew(self, tmp_path):
        (tmp_path / "f").write_bytes(b'{"a": {"rev"')
        floors = Floors(tmp_path / "f")
        assert floors.of(MINE, {KEY.id}) == 0

    def test_a_full_disk_does_not_stop_a_setting(self, tmp_path):
        floors = Floors(tmp_path / "no" / "f")
        floors.raise_to(MINE, 7, KEY.id)
        assert floors.of(MINE, {KEY.id}) == 7

    def test_wishes_give_way_to_an_older_revision_of_a_new_key_only(self):
        wishes = Wishes().with_newer(DesiredConfig(rev=9), whole_line=False)
        assert wishes.with_newer(DesiredConfig(rev=1), whole_line=False) is wishes
        after = wishes.with_newer(DesiredConfig(rev=1), whole_line=False, anew=True)
        assert after.device is not None
        assert after.device.rev == 1


class TestKeys:
    def test_the_controllers_file_gives_keys_by_id(self):
        assert read_controller_target(f'{{"keys": ["{KEY.public.hex()}"]}}'.encode()) == KEYS.public

    @pytest.mark.parametrize("data", [b"", b"[]", b'{"keys": ["ab"]}', b'{"keys": "x"}', b"\xff", b"{}"])
    def test_what_lists_no_keys_is_refused(self, data):
        with pytest.raises(TrustError, match=r"controller\.json: it does not list"):
            read_controller_target(data)

    def test_keys_are_kept_for_the_root_that_they_came_by(self, tmp_path):
        KeyFile(tmp_path / "k", b"root").save(KEYS)
        assert KeyFile(tmp_path / "k", b"root").load() == KEYS
        assert KeyFile(tmp_path / "k", b"another").load() == ControllerKeys()

    def test_a_torn_file_holds_no_keys(self, tmp_path):
        (tmp_path / "k").write_bytes(b'{"root": ')
        assert KeyFile(tmp_path / "k", b"root").load() == ControllerKeys()


class TestLastKnownTime:
    def at(self, time):
        return FakeClock(wall_s=time.timestamp())

    def test_it_is_the_wall_clock_where_nothing_else_is_known(self, tmp_path):
        assert LastKnownTime(tmp_path / "t", self.at(NOW)).now() == NOW

    def test_a_clock_that_fell_back_over_a_restart_is_not_believed(self, tmp_path):
        LastKnownTime(tmp_path / "t", self.at(NOW)).confirm(NOW)
        clock = self.at(datetime(1970, 1, 2, tzinfo=UTC))
        known = LastKnownTime(tmp_path / "t", clock)
        assert known.now() == NOW
        clock.advance(3600)
        assert known.now() == NOW + HOUR

    def test_a_clock_far_ahead_is_not_remembered_unless_signed_metadata_agreed(self, tmp_path):
        clock = self.at(NOW)
        known = LastKnownTime(tmp_path / "t", clock)
        clock.set_wall((NOW + timedelta(days=3650)).timestamp())
        assert known.now().year == 2037
        clock.set_wall(NOW.timestamp())
        assert known.now() == NOW
        assert LastKnownTime(tmp_path / "t", self.at(NOW)).now() == NOW

    @pytest.mark.parametrize("content", [b"", b"soon", b"9" * 400, b"\xff"])
    def test_a_torn_file_leaves_the_wall_clock(self, tmp_path, content):
        (tmp_path / "t").write_bytes(content)
        assert LastKnownTime(tmp_path / "t", self.at(NOW)).now() == NOW

    def test_it_is_written_at_most_once_an_hour(self, tmp_path):
        clock = self.at(NOW)
        known = LastKnownTime(tmp_path / "t", clock)
        known.confirm(known.now())
        first = (tmp_path / "t").read_bytes()
        clock.advance(3599)
        known.confirm(known.now())
        assert (tmp_path / "t").read_bytes() == first
        clock.advance(2)
        known.confirm(known.now())
        assert (tmp_path / "t").read_bytes() != first

    @settings(deadline=None, max_examples=60)  # it writes and syncs files
    @given(
        st.lists(st.tuples(st.sampled_from(["advance", "set", "confirm", "restart"]), st.integers(0, 10**6)))
    )
    def test_what_was_confirmed_is_never_taken_back(self, tmp_path_factory, steps):
        file = tmp_path_factory.mktemp("time") / "t"
        clock = self.at(NOW)
        known = LastKnownTime(file, clock)
        least = written = datetime.fromtimestamp(0, UTC)
        for step, seconds in steps:
            if step == "advance":
                clock.advance(seconds)
            elif step == "set":
                clock.set_wall(float(seconds) * 4000)
            elif step == "confirm":
                least = max(least, known.now())
                known.confirm(known.now())
                written = least - HOUR - timedelta(seconds=1)
            else:
                known, least = LastKnownTime(file, clock), written
            assert known.now() >= least
