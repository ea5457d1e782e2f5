"""Messages as earlier and later programs wrote them. Such a file is never changed: it stands for devices out there."""

import json
from pathlib import Path

import pytest

from kenpin_wire.blocks import unpack_block
from kenpin_wire.contract import CONTRACT, decode, encode
from kenpin_wire.topics import Channel

GOLDEN = Path(__file__).parent / "golden"
BY_KEY = {channel.value.replace("/", "_"): channel for channel in Channel}


def files(folder):
    return sorted((GOLDEN / folder).glob("*.json"))


def test_every_channel_with_messages_has_a_golden_file():
    wanted = {channel for channel, spec in CONTRACT.items() if spec.model is not None}
    assert {BY_KEY[file.stem] for file in files("v1")} == wanted


@pytest.mark.parametrize("file", files("v1"), ids=lambda file: file.stem)
def test_what_version_1_said_is_read_and_said_again_the_same(file):
    said = json.loads(file.read_bytes())
    message = decode(BY_KEY[file.stem], file.read_bytes())
    assert json.loads(encode(message)) == said
    assert set(type(message).model_fields) - set(said) == set(), "a golden file shows every field"


@pytest.mark.parametrize("file", files("future"), ids=lambda file: file.stem)
def test_what_a_later_program_says_is_read_without_what_is_not_known(file):
    said = json.loads(file.read_bytes())
    again = json.loads(encode(decode(BY_KEY[file.stem], file.read_bytes())))
    del said["from_the_future"]
    assert again == said  # values that are not known among them


def test_a_block_of_version_1_is_read():
    block = unpack_block((GOLDEN / "v1" / "set_blob.bin").read_bytes())
    assert (block.index, block.data) == (5, bytes(range(256)))
