"""From a delivery to a message that kept the contract, and from that to what the store keeps of it. Pure."""

from __future__ import annotations

import base64
import binascii
import hashlib
from datetime import datetime

from kenpin_controller.operations import EventRecord
from kenpin_controller.rollouts.views import DisagreementRecord
from kenpin_controller.store.writes import Disagreed, Event, Picture, Second, Shadowed, Write
from kenpin_wire.contract import CONTRACT, Sender, decode
from kenpin_wire.errors import WireError
from kenpin_wire.messages import AnomalyEvent, Message, ScoreAggregate
from kenpin_wire.shadow import Disagreement, ShadowReport
from kenpin_wire.topics import ALL_DEVICES, Channel, Topic, TopicTree

MAX_DIMENSION_PX = 8192
AHEAD_S = 60.0
"""How far a device's clock may be ahead before its stamps are no longer believed."""
_EARLIEST_S = datetime.fromisoformat("2024-01-01T00:00:00Z").timestamp()
_MAX_INT = 2**31 - 1
_MAX_BIGINT = 2**63 - 1


def read(tree: TopicTree, topic: str, payload: bytes) -> tuple[Topic, Message | bytes]:
    """Take a delivery apart.

    Raises:
        WireError: if the topic is none of an agent's, or the payload does not keep the contract.
    """
    parsed = tree.parse(topic)
    spec = CONTRACT[parsed.channel]
    if spec.sender is not Sender.AGENT or parsed.address.device == ALL_DEVICES:
        raise WireError("no agent speaks here", where=topic)
    if spec.model is not None:
        message: Message = decode(parsed.channel, payload)
        return parsed, message
    if len(payload) > spec.max_bytes:
        raise WireError(f"{len(payload)} bytes, more than {spec.max_bytes}", where=topic)
    check_jpeg(payload, topic)
    return parsed, payload


def to_write(topic: Topic, message: Message | bytes, received_s: float) -> Write | None:
    """What the store keeps of a message; None for what only the live picture needs."""
    device = topic.address.device
    match message:
        case bytes():
            sha256 = hashlib.sha256(message).hexdigest()
            return Picture(sha256, device, topic.channel.value, received_s, message)
        case AnomalyEvent():
            return _event(topic, message, received_s)
        case ScoreAggregate():
            return _second(device, message, received_s)
        case ShadowReport() if message.rollout:
            body = message.model_dump(mode="json", exclude_none=True)
            return Shadowed(message.rollout[:32], device, received_s, body)
        case Disagreement():
            return _disagreement(topic, message, received_s)
        case _:
            return None


def believable_s(stamp: datetime, received_s: float) -> float:
    """A device's stamp in UNIX seconds, or when it was received if the device's clock cannot be right.

    A Pi has no battery clock: it may be years behind until NTP answers, and ahead after a bad guess. A stamp
    of the past is believed, for an outbox may bring what is a week old.
    """
    time_s = stamp.timestamp()
    return time_s if _EARLIEST_S <= time_s <= received_s + AHEAD_S else received_s


def check_jpeg(data: bytes, where: str) -> None:
    """Walk a JPEG's segments to its frame header and its scan, without decoding a pixel (ITU-T T.81, B.1).

    Raises:
        WireError: if it is no whole JPEG, or larger than `MAX_DIMENSION_PX` a side.
    """
    if data[:2] != b"\xff\xd8" or data[-2:] != b"\xff\xd9":
        raise WireError("not a whole JPEG", where=where)
    at, sized = 2, False
    while at + 4 <= len(data) and data[at] == 0xFF:
        marker, length = data[at + 1], int.from_bytes(data[at + 2 : at + 4])
        if marker in _FRAME_HEADERS and at + 9 <= len(data):
            height, width = int.from_bytes(data[at + 5 : at + 7]), int.from_bytes(data[at + 7 : at + 9])
            sized = 0 < height <= MAX_DIMENSION_PX and 0 < width <= MAX_DIMENSION_PX
        elif marker == _START_OF_SCAN and sized:
            return
        at += 2 + length
    raise WireError("not a JPEG that a page could show", where=where)


_FRAME_HEADERS = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_START_OF_SCAN = 0xDA


def _event(topic: Topic, message: AnomalyEvent, received_s: float) -> Event:
    data = message.data
    record = EventRecord(
        id=message.id,
        time_s=believable_s(message.time, received_s),
        line=topic.address.line,
        device=topic.address.device,
        score=data.score,
        threshold=data.threshold,
        release=data.release[:96],
        part=data.part[:256] if data.part is not None else None,
        frame=min(data.frame, _MAX_BIGINT),
        picture_sha256=data.picture_sha256,
        heatmap_sha256=data.heatmap_sha256,
    )
    return Event(record, topic.address.site, received_s)


def _disagreement(topic: Topic, message: Disagreement, received_s: float) -> Disagreed:
    record = DisagreementRecord(
        id=message.id,
        time_s=believable_s(message.ts, received_s),
        rollout=message.rollout[:32],
        line=topic.address.line,
        device=topic.address.device,
        frame=min(message.frame, _MAX_BIGINT),
        part=message.part[:256] if message.part is not None else None,
        incumbent=str(message.incumbent or ""),
        incumbent_score=message.incumbent_score,
        incumbent_threshold=message.incumbent_threshold,
        candidate=str(message.candidate or ""),
        candidate_score=message.candidate_score,
        candidate_threshold=message.candidate_threshold,
        picture_sha256=message.picture_sha256,
        incumbent_heatmap_sha256=message.incumbent_heatmap_sha256,
        candidate_heatmap_sha256=message.candidate_heatmap_sha256,
        right=None,
        judged_by="",
        judged_s=None,
    )
    return Disagreed(record)


def _second(device: str, message: ScoreAggregate, received_s: float) -> Second:
    try:
        scores = base64.b64decode(message.scores, validate=True)
    except (binascii.Error, ValueError):
        scores = b""  # packed by a program that we do not understand; the figures still count
    return Second(
        device=device,
        second_s=int(believable_s(message.ts, received_s)),
        n=min(message.n, _MAX_INT),
        mean=message.mean,
        p95=message.p95,
        max=message.max,
        anomalies=min(message.anomalies, _MAX_INT),
        threshold=message.threshold,
        release=message.release[:96],
        scores=scores,
    )


AGENT_CHANNELS = tuple(spec.channel for spec in CONTRACT.values() if spec.sender is Sender.AGENT)
"""What the controller listens to."""

ROLLOUT_CHANNELS = frozenset(
    {Channel.STATUS, Channel.REPORTED_CONFIG, Channel.REPORTED_RELEASE, Channel.REPORTED_SHADOW}
)
"""Channels that may move a rollout."""

STATE_CHANNELS = frozenset(
    {Channel.STATUS, Channel.TELEMETRY, Channel.REPORTED_CONFIG, Channel.REPORTED_RELEASE}
)
"""Channels that say how a device is, retained on the broker: they need no place in the store's queue."""
