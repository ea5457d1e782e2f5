"""What ingest writes, one value a message, and how each becomes a row.

Writing is idempotent: every message may come twice and in any order, and the rows are the same.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from sqlalchemy import Connection, delete, func, select, update

from kenpin_controller.operations import EventRecord
from kenpin_controller.rollouts.views import DisagreementRecord
from kenpin_controller.store import schema as t
from kenpin_controller.store.database import insert, insert_new, upsert
from kenpin_wire.shadow import MAX_DISAGREEMENTS

UNCLAIMED_PICTURES = 64
"""How many pictures of a device may wait for the event that names them. An agent sends events first, so this
bridges a message or two; heatmaps of good parts, which no event names, pass through here and go."""


DISAGREEMENTS_KEPT = 4 * MAX_DISAGREEMENTS
"""Of a device in a rollout: it may shadow anew after a retry."""
_DISAGREEMENT_PICTURES = ("picture_sha256", "incumbent_heatmap_sha256", "candidate_heatmap_sha256")


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
class Shadowed:
    """How a candidate fares beside the release that runs; `body` is the report as JSON."""

    rollout: str
    device: str
    time_s: float
    body: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Disagreed:
    """A frame that candidate and incumbent judge differently."""

    record: DisagreementRecord


Write = Seen | Second | Event | Picture | Shadowed | Disagreed


def write_all(connection: Connection, batch: Sequence[Write]) -> None:
    """Write a batch. Events go before pictures, which ask who names them."""
    _write_seen(connection, [w for w in batch if isinstance(w, Seen)])
    _write_seconds(connection, [w for w in batch if isinstance(w, Second)])
    _write_events(connection, [w for w in batch if isinstance(w, Event)])
    _write_disagreements(connection, [w for w in batch if isinstance(w, Disagreed)])
    _write_pictures(connection, [w for w in batch if isinstance(w, Picture)])
    for shadowed in (w for w in batch if isinstance(w, Shadowed)):
        upsert(connection, t.shadow_reports, asdict(shadowed))


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
    _claim(
        connection,
        (sha256 for event in batch for sha256 in (event.record.picture_sha256, event.record.heatmap_sha256)),
    )


def _write_disagreements(connection: Connection, batch: list[Disagreed]) -> None:
    """A shadowing sends `MAX_DISAGREEMENTS`; a device that sends more and more fills no disk."""
    c = t.disagreements.c
    for record in (disagreed.record for disagreed in batch):
        mine = select(func.count()).where(c.device == record.device, c.rollout == record.rollout)
        if (connection.scalar(mine) or 0) < DISAGREEMENTS_KEPT:
            insert_new(connection, t.disagreements, [asdict(record)])
            _claim(connection, (getattr(record, name) for name in _DISAGREEMENT_PICTURES))


def _claim(connection: Connection, hashes: Iterable[str | None]) -> None:
    """These pictures are named by something that stays."""
    named = {sha256 for sha256 in hashes if sha256 is not None}
    p = t.pictures.c
    connection.execute(
        update(t.pictures).where(p.sha256.in_(named), p.claimed.is_(False)).values(claimed=True)
    )


def _write_pictures(connection: Connection, batch: list[Picture]) -> None:
    if not batch:
        return
    hashes = {picture.sha256 for picture in batch}
    claimed: set[str] = set()
    names = [t.disagreements.c[name] for name in _DISAGREEMENT_PICTURES]
    for column in (t.events.c.picture_sha256, t.events.c.heatmap_sha256, *names):
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
