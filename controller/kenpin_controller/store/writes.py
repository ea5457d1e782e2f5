"""What ingest writes, one value a message, and how each becomes a row.

Writing is idempotent: every message may come twice and in any order, and the rows are the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

from sqlalchemy import Connection, delete, select, update

from kenpin_controller.operations import EventRecord
from kenpin_controller.store import schema as t
from kenpin_controller.store.database import insert, insert_new

UNCLAIMED_PICTURES = 64
"""How many pictures of a device may wait for the event that names them. An agent sends events first, so this
bridges a message or two; heatmaps of good parts, which no event names, pass through here and go."""

SUPERSEDED = "superseded"
"""The phase of a device in a rollout that a later one has taken the device from."""


@dataclass(frozen=True, slots=True)
class Seen:
    """A device was heard, and what it last said of itself."""

    name: str
    site: str
    line: str
    time_s: float
    release: str = ""
    config_rev: int = 0
    release_rev: int = 0


@dataclass(frozen=True, slots=True)
class Second:
    """One camera-second. `scores` is little-endian float32, 4 bytes each."""

    device: str
    second_s: int
    n: int
    mean: float
    p95: float
    max: float
    anomalies: int
    threshold: float | None
    release: str
    scores: bytes


@dataclass(frozen=True, slots=True)
class Event:
    """An anomaly as it arrived."""

    record: EventRecord
    site: str
    received_s: float


@dataclass(frozen=True, slots=True)
class Picture:
    """A JPEG, by the hash of its bytes. `kind` is the channel it came on."""

    sha256: str
    device: str
    kind: str
    time_s: float
    jpeg: bytes


@dataclass(frozen=True, slots=True)
class Progress:
    """How a rollout fares on a device."""

    rollout: str
    device: str
    phase: str
    reason: str
    percent: float
    time_s: float


Write = Seen | Second | Event | Picture | Progress


def write_all(connection: Connection, batch: Sequence[Write]) -> None:
    """Write a batch. Events go before pictures, which ask who names them."""
    _write_seen(connection, [w for w in batch if isinstance(w, Seen)])
    _write_seconds(connection, [w for w in batch if isinstance(w, Second)])
    _write_events(connection, [w for w in batch if isinstance(w, Event)])
    _write_pictures(connection, [w for w in batch if isinstance(w, Picture)])
    _write_progress(connection, [w for w in batch if isinstance(w, Progress)])


def _write_seen(connection: Connection, batch: list[Seen]) -> None:
    for seen in batch:
        row = asdict(seen)
        time_s = row.pop("time_s")
        statement = insert(connection, t.devices).values(**row, first_seen_s=time_s, last_seen_s=time_s)
        changes = {name: value for name, value in row.items() if name != "name"} | {"last_seen_s": time_s}
        connection.execute(statement.on_conflict_do_update(index_elements=["name"], set_=changes))


def _write_seconds(connection: Connection, batch: list[Second]) -> None:
    """A second that an agent's restart cut in two arrives twice; the half with more frames stays."""
    if not batch:
        return
    statement = insert(connection, t.score_seconds)
    values = {c.name: c for c in statement.excluded if c.name not in ("device", "second_s")}
    statement = statement.on_conflict_do_update(
        index_elements=["device", "second_s"],
        set_=values,
        where=statement.excluded.n > t.score_seconds.c.n,
    )
    connection.execute(statement, [asdict(second) for second in batch])


def _write_events(connection: Connection, batch: list[Event]) -> None:
    if not batch:
        return
    insert_new(
        connection,
        t.events,
        [asdict(event.record) | {"site": event.site, "received_s": event.received_s} for event in batch],
    )
    named = {
        sha256
        for event in batch
        for sha256 in (event.record.picture_sha256, event.record.heatmap_sha256)
        if sha256 is not None
    }
    p = t.pictures.c
    connection.execute(
        update(t.pictures).where(p.sha256.in_(named), p.claimed.is_(False)).values(claimed=True)
    )


def _write_pictures(connection: Connection, batch: list[Picture]) -> None:
    if not batch:
        return
    hashes = {picture.sha256 for picture in batch}
    claimed: set[str] = set()
    for column in (t.events.c.picture_sha256, t.events.c.heatmap_sha256):
        claimed.update(connection.scalars(select(column).where(column.in_(hashes))))
    insert_new(
        connection,
        t.pictures,
        [
            asdict(picture) | {"size": len(picture.jpeg), "claimed": picture.sha256 in claimed}
            for picture in batch
        ],
    )
    p = t.pictures.c
    for device in {picture.device for picture in batch if picture.sha256 not in claimed}:
        surplus = (
            select(p.sha256)
            .where(p.device == device, p.claimed.is_(False))
            .order_by(p.time_s.desc(), p.sha256)
            .offset(UNCLAIMED_PICTURES)
        )
        connection.execute(delete(t.pictures).where(p.sha256.in_(surplus)))


def _write_progress(connection: Connection, batch: list[Progress]) -> None:
    c = t.rollout_devices.c
    for progress in batch:
        connection.execute(
            update(t.rollout_devices)
            .where(c.rollout == progress.rollout, c.device == progress.device, c.phase != SUPERSEDED)
            .values(
                phase=progress.phase,
                reason=progress.reason,
                percent=progress.percent,
                updated_s=progress.time_s,
            )
        )
