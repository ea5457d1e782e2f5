"""The contract: complete, within every broker's limits, and safe against whatever comes."""

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from kenpin_wire import messages as m
from kenpin_wire.blocks import MAX_BLOCK_MESSAGE_BYTES, Block, pack_block, unpack_block
from kenpin_wire.contract import CONTRACT, MAX_JSON_BYTES, Sender, WithoutBroker, decode, encode
from kenpin_wire.errors import WireError
from kenpin_wire.topics import Channel

JSON_CHANNELS = [channel for channel, spec in CONTRACT.items() if spec.model is not None]
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=10,
)


def test_every_channel_has_a_row():
    assert set(CONTRACT) == set(Channel)


@pytest.mark.parametrize("spec", CONTRACT.values(), ids=lambda spec: spec.channel.value)
def test_every_row_makes_sense(spec):
    assert spec.qos in (0, 1)  # AWS IoT Core has no QoS 2
    assert spec.max_bytes <= 128 * 1024
    assert (spec.content_type == "application/json") == (spec.model is not None)
    if spec.without_broker not in (WithoutBroker.DROP, WithoutBroker.LAST):
        assert spec.qos == 1
        assert spec.expiry_s is not None
    if spec.without_broker is WithoutBroker.LAST:
        assert spec.retain
    assert spec.sender in Sender


def read(channel, payload):
    """The message, or the refusal."""
    try:
        return decode(channel, payload)
    except WireError as refusal:
        return refusal


@pytest.mark.parametrize("channel", JSON_CHANNELS)
@given(payload=st.binary(max_size=200) | json_values.map(lambda value: json.dumps(value).encode()))
def test_any_payload_is_a_message_or_one_line_of_refusal(channel, payload):
    found = read(channel, payload)
    if isinstance(found, WireError):
        assert found.where == channel.value
        assert "\n" not in str(found)
    else:
        assert isinstance(found, CONTRACT[channel].model)


@pytest.mark.parametrize("channel", JSON_CHANNELS)
@given(data=st.data())
def test_a_field_of_a_wrong_kind_is_refused_or_read_never_worse(channel, data):
    model = CONTRACT[channel].model
    field = data.draw(st.sampled_from(sorted(model.model_fields)))
    payload = json.dumps({"id": "i", "rev": 1, "sha256": "a" * 64, field: data.draw(json_values)}).encode()
    found = read(channel, payload)
    assert isinstance(found, model) or len(str(found)) < 1000


@pytest.mark.parametrize(
    "payload", [b"[" * 100_000, b'{"a":' * 20_000, b"9" * 100_000, b'"' + b"x" * 100_000]
)
def test_nesting_and_length_do_no_harm(payload):
    for channel in JSON_CHANNELS:
        with pytest.raises(WireError):
            decode(channel, payload)


def test_a_message_over_the_limit_is_refused_before_it_is_read():
    with pytest.raises(WireError, match="more than"):
        decode(Channel.SCORE, b"{}" + b" " * MAX_JSON_BYTES)


def test_a_channel_of_bytes_has_no_message():
    with pytest.raises(WireError):
        decode(Channel.PICTURE, b"{}")


@pytest.mark.parametrize("channel", JSON_CHANNELS)
def test_only_identity_has_no_default(channel):
    identity = {"id", "name", "rev", "sha256", "release", "size"}
    required = {name for name, field in CONTRACT[channel].model.model_fields.items() if field.is_required()}
    assert required <= identity


def test_what_is_not_finite_is_no_number():
    for text in (b'{"score": NaN}', b'{"score": Infinity}', b'{"score": 1e999}'):
        with pytest.raises(WireError):
            decode(Channel.SCORE, text)
    with pytest.raises(ValidationError):
        m.Score(score=math.nan)


def test_a_time_without_a_zone_is_refused():
    with pytest.raises(WireError, match="ts"):
        decode(Channel.SCORE, b'{"ts": "2026-01-01T00:00:00"}')


def test_absent_fields_stay_absent():
    assert b"null" not in encode(m.Score())
    assert "threshold" not in json.loads(encode(m.DesiredConfig(rev=1)))


def test_an_enumerated_field_takes_strings_only():
    assert decode(Channel.SCORE, b'{"verdict": "anomaly"}').verdict is m.Verdict.ANOMALY
    assert decode(Channel.SCORE, b'{"verdict": "unsure"}').verdict == "unsure"
    with pytest.raises(WireError):
        decode(Channel.SCORE, b'{"verdict": 1}')


@given(st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), max_size=100))
def test_packed_scores_come_back_bit_for_bit(scores):
    assert m.unpack_scores(m.pack_scores(scores)).tolist() == scores


@pytest.mark.parametrize("packed", ["AAA", "AAAA", "!!!!", "AAAAAAA=="])
def test_scores_that_are_no_whole_floats_are_refused(packed):
    with pytest.raises(ValueError):  # noqa: PT011  base64's and numpy's words differ by version
        m.unpack_scores(packed)


@given(st.integers(0, 2**32 - 1), st.binary(min_size=1, max_size=2000))
def test_a_block_comes_back_as_it_was(index, data):
    assert unpack_block(pack_block(Block(index, data))) == Block(index, data)


@given(st.binary(min_size=1, max_size=300), st.data())
def test_a_damaged_block_is_noticed(data, draw):
    packed = bytearray(pack_block(Block(3, data)))
    at = draw.draw(st.integers(8, len(packed) - 1))  # the CRC and what it covers
    packed[at] ^= draw.draw(st.integers(1, 255))
    with pytest.raises(WireError, match="damaged"):
        unpack_block(bytes(packed))


@given(st.binary(max_size=300))
def test_bytes_that_are_no_block_are_refused(payload):
    with pytest.raises(WireError):
        unpack_block(payload)


def test_the_largest_block_fits_its_channel_and_no_larger_one_does():
    largest = pack_block(Block(0, bytes(m.BLOCK_BYTES)))
    assert len(largest) == MAX_BLOCK_MESSAGE_BYTES == CONTRACT[Channel.SET_BLOB].max_bytes
    with pytest.raises(WireError):
        unpack_block(largest + b"x")
