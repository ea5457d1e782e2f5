"""The contract as a table: who says what on which channel, how surely, and what happens without a broker.

Agents, controller, AsyncAPI document and tests all read this table.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from pydantic import ValidationError

from kenpin_wire import messages as m
from kenpin_wire.blocks import MAX_BLOCK_MESSAGE_BYTES
from kenpin_wire.errors import WireError
from kenpin_wire.faults import first_fault
from kenpin_wire.metadata import MAX_METADATA_MESSAGE_BYTES
from kenpin_wire.shadow import Disagreement, ShadowReport
from kenpin_wire.topics import Channel

MAX_JSON_BYTES = 128 * 1024  # AWS IoT Core's limit for any payload
MAX_JPEG_BYTES = 100_000


class Sender(StrEnum):
    AGENT = "agent"
    CONTROLLER = "controller"


class WithoutBroker(StrEnum):
    """What becomes of a message while the broker is away."""

    DROP = "drop"
    LAST = "last only"
    OUTBOX = "outbox"
    OUTBOX_FIRST = "outbox, first"
    OUTBOX_NEWEST = "outbox, newest first"


@dataclass(frozen=True, slots=True)
class ChannelSpec:
    """A row of the contract.

    `model` is None where the payload is binary (`content_type` says of what kind).
    `expiry_s` is MQTT 5's message expiry interval; None for none.
    """

    channel: Channel
    sender: Sender
    model: type[m.Message] | None
    qos: int
    retain: bool
    expiry_s: int | None
    without_broker: WithoutBroker
    summary: str
    content_type: str = "application/json"
    max_bytes: int = MAX_JSON_BYTES
    signed: bool = False
    """Whether it travels in a `kenpin_wire.signed.Signed`. A device without a pinned root takes it bare too."""


_MINUTE, _HOUR, _DAY = 60, 3600, 86_400
_A, _C = Sender.AGENT, Sender.CONTROLLER
_W = WithoutBroker

# fmt: off
CONTRACT: dict[Channel, ChannelSpec] = {
    row.channel: row
    for row in (
        ChannelSpec(Channel.SCORE, _A, m.Score, 0, False, 10, _W.DROP, "one judged frame, live"),
        ChannelSpec(Channel.SCORE_AGG, _A, m.ScoreAggregate, 1, False, 7 * _DAY, _W.OUTBOX, "the scores of one second"),
        ChannelSpec(Channel.EVENT_ANOMALY, _A, m.AnomalyEvent, 1, False, 7 * _DAY, _W.OUTBOX_FIRST, "an anomaly (CloudEvents); kept until set/ack names it"),
        ChannelSpec(Channel.EVENT_DISAGREEMENT, _A, Disagreement, 1, False, 7 * _DAY, _W.OUTBOX, "a frame that a shadowing release judges differently"),
        ChannelSpec(Channel.EVENT_PICTURE, _A, None, 1, False, _DAY, _W.OUTBOX_NEWEST, "a picture or heatmap of a disagreement, which names it by its sha256; not the last anomaly's, and so not retained", "image/jpeg", MAX_JPEG_BYTES),
        ChannelSpec(Channel.HEATMAP, _A, None, 1, True, _DAY, _W.OUTBOX_NEWEST, "the heatmap of the last anomaly", "image/jpeg", MAX_JPEG_BYTES),
        ChannelSpec(Channel.PICTURE, _A, None, 1, True, _DAY, _W.OUTBOX_NEWEST, "the picture of the last anomaly", "image/jpeg", MAX_JPEG_BYTES),
        ChannelSpec(Channel.TELEMETRY, _A, m.Telemetry, 0, True, _MINUTE, _W.DROP, "heat, rate, camera, memory; every 10 s and on change"),
        ChannelSpec(Channel.STATUS, _A, m.Status, 1, True, None, _W.LAST, "online or offline; the will"),
        ChannelSpec(Channel.SET_CONFIG, _C, m.DesiredConfig, 1, True, None, _W.LAST, "desired settings, for a device or a whole line", signed=True),
        ChannelSpec(Channel.REPORTED_CONFIG, _A, m.ReportedConfig, 1, True, None, _W.LAST, "settings as applied"),
        ChannelSpec(Channel.SET_RELEASE, _C, m.DesiredRelease, 1, True, None, _W.LAST, "desired release", signed=True),
        ChannelSpec(Channel.REPORTED_RELEASE, _A, m.ReportedRelease, 1, True, None, _W.LAST, "how the deployment stands"),
        ChannelSpec(Channel.REPORTED_SHADOW, _A, ShadowReport, 1, True, _DAY, _W.LAST, "how a candidate fares beside the release that runs"),
        ChannelSpec(Channel.BLOB_REQ, _A, m.BlockRequest, 1, False, 30, _W.DROP, "asks for blocks of a release"),
        ChannelSpec(Channel.SET_BLOB, _C, None, 1, False, _MINUTE, _W.DROP, "a block of the release that the topic names by sha256", "application/octet-stream", MAX_BLOCK_MESSAGE_BYTES),
        ChannelSpec(Channel.META_REQ, _A, m.MetadataRequest, 1, False, 30, _W.DROP, "asks for a part of a metadata file of the TUF repository"),
        ChannelSpec(Channel.SET_META, _C, None, 1, False, _MINUTE, _W.DROP, "that part; the topic ends with the request's id", "application/octet-stream", MAX_METADATA_MESSAGE_BYTES),
        ChannelSpec(Channel.SET_ACK, _C, m.EventAck, 1, False, _MINUTE, _W.DROP, "events that are in the store"),
        ChannelSpec(Channel.CMD, _C, m.Command, 1, False, 30, _W.DROP, "a command; the topic ends with its verb"),
        ChannelSpec(Channel.REPLY, _A, m.Reply, 1, False, _HOUR, _W.OUTBOX, "how a command fares; the topic ends with its id"),
        ChannelSpec(Channel.LOG, _A, m.LogLine, 0, False, _HOUR, _W.DROP, "warnings and errors, at most 5 a second"),
    )
}
# fmt: on


def encode(message: m.Message) -> bytes:
    """A message as UTF-8 JSON. Fields that are None are left out."""
    return message.model_dump_json(exclude_none=True).encode()


def decode(channel: Channel, payload: bytes) -> Any:
    """Read a JSON payload as the channel's message.

    Returns:
        An instance of `CONTRACT[channel].model`.

    Raises:
        WireError: if it is too long, not JSON, not an object, or a field has the wrong type; one line,
            naming the first field at fault.
    """
    spec = CONTRACT[channel]
    if spec.model is None:
        raise WireError("carries bytes, not a message", where=channel.value)
    if len(payload) > spec.max_bytes:
        raise WireError(f"{len(payload)} bytes, more than {spec.max_bytes}", where=channel.value)
    try:
        return spec.model.model_validate_json(payload)
    except ValidationError as error:
        field, what = first_fault(error)
        raise WireError(f"{field}: {what}" if field else what, where=channel.value) from None
