"""The generated documents are fresh, refer to what exists, and describe what is really said."""

import json
from pathlib import Path

import jsonschema
import pytest

from kenpin_wire import asyncapi
from kenpin_wire.contract import CONTRACT, Sender
from kenpin_wire.errors import WireError
from kenpin_wire.topics import Address, Channel, Topic, TopicTree

DOCS = Path(__file__).parents[2] / "docs"
GOLDEN = Path(__file__).parent / "golden"
JSON_CHANNELS = [channel for channel, spec in CONTRACT.items() if spec.model is not None]


@pytest.mark.parametrize("name", ["asyncapi.json", "wire.md"])
def test_the_committed_document_is_what_the_code_makes(name, tmp_path):
    asyncapi.write(tmp_path)
    fresh, committed = (tmp_path / name).read_text("utf-8"), (DOCS / name).read_text("utf-8")
    assert fresh == committed, "run `python -m kenpin_wire.asyncapi` and commit docs/"


def test_every_reference_leads_somewhere():
    document = asyncapi.document()
    for reference in _references(document):
        at = document
        for step in reference.removeprefix("#/").split("/"):
            at = at[step]


def test_every_channel_is_described_as_the_contract_has_it():
    document = asyncapi.document()
    for channel, spec in CONTRACT.items():
        operation = document["operations"][channel.value.replace("/", "_")]
        assert operation["action"] == ("send" if spec.sender is Sender.AGENT else "receive")
        binding = operation["bindings"]["mqtt"]
        assert (binding["qos"], binding["retain"], binding.get("messageExpiryInterval")) == (
            spec.qos,
            spec.retain,
            spec.expiry_s,
        )


def test_the_addresses_are_the_topics():
    tree = TopicTree("some/prefix")
    values = {"site": "s", "line": "l", "device": "d", "sha256": "a" * 64, "verb": "stop", "id": "c1"}
    spelled = {
        channel["address"].format(**values)
        for channel in asyncapi.document("some/prefix")["channels"].values()
    }
    arguments = {Channel.SET_BLOB: "a" * 64, Channel.CMD: "stop", Channel.REPLY: "c1", Channel.SET_META: "c1"}
    here = Address("s", "l", "d")
    topics = [Topic(here, channel, arguments.get(channel, "")) for channel in Channel]
    topics.append(Topic(here.whole_line, Channel.SET_CONFIG))
    assert spelled == {tree.build(topic) for topic in topics}


@pytest.mark.parametrize("channel", JSON_CHANNELS)
def test_the_schema_describes_the_golden_messages_and_those_of_the_future(channel):
    schema = asyncapi.schema_for(channel)
    jsonschema.Draft202012Validator.check_schema(schema)
    name = channel.value.replace("/", "_") + ".json"
    found = [folder / name for folder in GOLDEN.iterdir() if (folder / name).exists()]
    assert found
    for file in found:
        jsonschema.validate(json.loads(file.read_bytes()), schema, jsonschema.Draft202012Validator)


def test_the_schema_notices_what_is_wrong():
    validator = jsonschema.Draft202012Validator(asyncapi.schema_for(Channel.SET_CONFIG))
    assert not validator.is_valid({})
    assert not validator.is_valid({"rev": "seven"})
    assert validator.is_valid({"rev": 7})


def test_signed_channels_carry_an_envelope_or_the_message_bare():
    messages = asyncapi.document()["components"]["messages"]
    for channel in JSON_CHANNELS:
        spec = CONTRACT[channel]
        bare = {"$ref": f"#/components/schemas/{spec.model.__name__}"}
        payload = messages[channel.value.replace("/", "_")]["payload"]
        if spec.signed:
            assert payload["anyOf"] == [{"$ref": "#/components/schemas/Signed"}, bare]
        else:
            assert payload == bare


def test_bytes_have_no_schema():
    with pytest.raises(WireError):
        asyncapi.schema_for(Channel.PICTURE)


def _references(node):
    if isinstance(node, dict):
        if isinstance(node.get("$ref"), str):
            yield node["$ref"]
        for value in node.values():
            yield from _references(value)
    elif isinstance(node, list):
        for value in node:
            yield from _references(value)
