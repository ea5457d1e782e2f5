"""Filling the live picture from the store, so that after a restart the factory does not look empty."""

from __future__ import annotations

import base64
from datetime import UTC, datetime

from kenpin_controller.fleet import RECENT_S, Fleet
from kenpin_controller.store.readings import Readings
from kenpin_controller.store.writes import Second
from kenpin_wire.messages import AnomalyData, AnomalyEvent, ScoreAggregate, Status
from kenpin_wire.topics import Address, Channel, Topic

_EVENTS = 24


def restore(fleet: Fleet, readings: Readings, now_s: float) -> None:
    """Replay each device's last events, its day so far as one sum, and its last two minutes of scores."""
    midnight_s = datetime.fromtimestamp(now_s).replace(hour=0, minute=0, second=0, microsecond=0).timestamp()
    recent_s = now_s - RECENT_S
    for seen in readings.devices():
        address = Address(seen.site, seen.line, seen.name)
        status = Status(state="unknown", release=seen.release)  # until the broker's retained one says more
        fleet.apply(Topic(address, Channel.STATUS), status, seen.time_s)
        for record in reversed(readings.events(device=seen.name, limit=_EVENTS)):
            event = AnomalyEvent(
                id=record.id,
                time=_utc(record.time_s),
                data=AnomalyData(
                    score=record.score,
                    threshold=record.threshold,
                    frame=record.frame,
                    part=record.part,
                    release=record.release,
                    heatmap_sha256=record.heatmap_sha256,
                    picture_sha256=record.picture_sha256,
                ),
            )
            fleet.apply(Topic(address, Channel.EVENT_ANOMALY), event, record.time_s)
        inspected, anomalies = readings.totals(seen.name, since_s=midnight_s, until_s=recent_s)
        if inspected:
            so_far = ScoreAggregate(ts=_utc(midnight_s), n=inspected, anomalies=anomalies)
            fleet.apply(Topic(address, Channel.SCORE_AGG), so_far, midnight_s)
        for second in readings.seconds(seen.name, since_s=recent_s):
            fleet.apply(Topic(address, Channel.SCORE_AGG), _aggregate(second), second.second_s + 1.0)


def _aggregate(second: Second) -> ScoreAggregate:
    return ScoreAggregate(
        ts=_utc(second.second_s),
        release=second.release,
        threshold=second.threshold,
        n=second.n,
        mean=second.mean,
        p95=second.p95,
        max=second.max,
        anomalies=second.anomalies,
        scores=base64.b64encode(second.scores).decode("ascii"),
    )


def _utc(time_s: float) -> datetime:
    return datetime.fromtimestamp(time_s, UTC)
