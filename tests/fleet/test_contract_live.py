"""What a running fleet says is what the generated document describes."""

from __future__ import annotations

import json
import subprocess
import time

import jsonschema
import pytest

from kenpin_wire.asyncapi import schema_for
from kenpin_wire.contract import CONTRACT, MAX_JPEG_BYTES
from kenpin_wire.signed import Signed
from kenpin_wire.topics import Channel, TopicTree
from support import require
from support.fleet import Fleet, station

# What a day without trouble does not bring: a log line needs something to warn of, and these a rollout that shadows.
_NEEDS_AN_OCCASION = {Channel.LOG, Channel.EVENT_DISAGREEMENT, Channel.EVENT_PICTURE, Channel.REPORTED_SHADOW}


@pytest.mark.slow
def test_every_message_of_a_running_fleet_keeps_the_published_contract(
    fleet: Fleet,
) -> None:
    said = fleet.folder / "said.txt"
    listener = subprocess.Popen(
        [
            require("mosquitto_sub"),
            "-p",
            str(fleet.broker.port),
            "-V",
            "5",
            "-t",
            "kenpin/v1/#",
            "-F",
            "%t %x",
        ],
        stdout=said.open("wb"),
    )
    try:
        fleet.story.start_agents([station(1)])
        fleet.story.send(fleet.release("1"))
        fleet.story.move_threshold("cam-1", 0.05)
        fleet.story.command("cam-1", "ping")
        time.sleep(2.5)  # two roll-ups, and the controller's acknowledgements
    finally:
        listener.terminate()
        listener.wait()
    tree, seen = TopicTree(), set()
    for line in said.read_text().splitlines():
        text, _, payload_hex = line.partition(" ")
        channel, payload = tree.parse(text).channel, bytes.fromhex(payload_hex)
        seen.add(channel)
        spec = CONTRACT[channel]
        assert len(payload) <= spec.max_bytes
        if spec.signed:
            payload = Signed.model_validate_json(payload).payload.encode()
        if spec.model is not None:
            jsonschema.validate(
                json.loads(payload), schema_for(channel), format_checker=jsonschema.FormatChecker()
            )
        elif channel not in {Channel.SET_BLOB, Channel.SET_META}:
            assert payload.startswith(b"\xff\xd8")
            assert len(payload) <= MAX_JPEG_BYTES
    assert seen == set(Channel) - _NEEDS_AN_OCCASION
