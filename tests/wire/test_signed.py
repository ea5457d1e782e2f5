"""What a signature is of, and how an envelope is told from a bare message."""

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kenpin_wire.contract import encode
from kenpin_wire.errors import WireError
from kenpin_wire.metadata import MAX_METADATA_MESSAGE_BYTES, MetadataPart, pack_metadata, unpack_metadata
from kenpin_wire.signed import Signed, read_envelope, signed_bytes

ENVELOPE = Signed(payload='{"rev": 1}', key="0" * 64, signature=base64.b64encode(b"s" * 64).decode())


def test_what_is_signed_never_changes():
    assert signed_bytes("a/set/config", '{"rev":1}') == b'kenpin signed message v1\0a/set/config\0{"rev":1}'


def test_an_envelope_is_read_back():
    found = read_envelope(encode(ENVELOPE), "t")
    assert found == ENVELOPE


@pytest.mark.parametrize("payload", [b'{"rev": 1}', b"", b"[]", b"nonsense", b"\xff", b"3", b"[" * 9000])
def test_what_bears_no_signature_is_no_envelope(payload):
    assert read_envelope(payload, "t") is None


@pytest.mark.parametrize(
    "field", [{"signature": "short"}, {"key": "K" * 64}, {"payload": 3}, {"payload": "x" * 100_001}]
)
def test_a_broken_envelope_is_refused_and_its_field_named(field):
    payload = (
        Signed.model_construct(**{**ENVELOPE.model_dump(), **field}).model_dump_json(warnings=False).encode()
    )
    with pytest.raises(WireError, match=next(iter(field))) as refused:
        read_envelope(payload, "a/topic")
    assert refused.value.where == "a/topic"


@given(st.binary(max_size=2000), st.integers(0, 10**6), st.integers(0, 10**6))
def test_a_part_of_a_file_is_read_back(data, offset, more):
    part = MetadataPart(offset, offset + len(data) + more, data)
    assert unpack_metadata(pack_metadata(part)) == part


def test_a_damaged_part_is_refused_wherever_it_is_damaged():
    payload = bytearray(pack_metadata(MetadataPart(0, 5, b"hello")))
    for at in [*range(4), *range(12, len(payload))]:  # offset and size are numbers: any is as good as another
        payload[at] ^= 0x40
        with pytest.raises(WireError):
            unpack_metadata(bytes(payload))
        payload[at] ^= 0x40


@pytest.mark.parametrize(
    "payload",
    [b"", b"KM01", pack_metadata(MetadataPart(5, 9, b"hello")), b"\0" * (MAX_METADATA_MESSAGE_BYTES + 1)],
    ids=["empty", "cut", "beyond its file", "too long"],
)
def test_what_is_no_part_is_refused(payload):
    with pytest.raises(WireError):
        unpack_metadata(payload)
