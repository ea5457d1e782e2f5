"""What the fleet measured: camera-seconds, anomalies and their pictures, and which devices were heard."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, Engine, and_, delete, func, or_, select
from sqlalchemy.exc import DataError, IntegrityError, SQLAlchemyError

from kenpin_controller.operations import EventRecord, ScoreSecond
from kenpin_controller.rollouts.gates import Counts
from kenpin_controller.store import schema as t
from kenpin_controller.store.database import store_error
from kenpin_controller.store.writes import Second, Seen, Write, write_all


class Readings:
    """Writes and reads of what was measured. One thread writes; any number may read."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._writer = engine.execution_options(writes=True)

    def write(self, batch: Sequence[Write]) -> list[Write]:
        """Store a batch in one transaction.

        Returns:
            What the database cannot hold at all and was left out; empty in all but strange cases.

        Raises:
            StoreError: if the database cannot be written now, such as with a full disk. The whole batch may
                be written again later.
        """
        try:
            with self._writer.begin() as connection:
                write_all(connection, batch)
        except (DataError, IntegrityError, OverflowError, ValueError, TypeError):
            if len(batch) == 1:
                return list(batch)
            middle = len(batch) // 2
            return self.write(batch[:middle]) + self.write(batch[middle:])
        except SQLAlchemyError as error:
            raise store_error(error) from None
        return []

    def devices(self) -> list[Seen]:
        """Every device that was ever heard, by name."""
        with self._engine.connect() as connection:
            return [_seen(row) for row in connection.execute(select(t.devices).order_by(t.devices.c.name))]

    def device(self, name: str) -> Seen | None:
        """One device, or None if it was never heard."""
        with self._engine.connect() as connection:
            row = connection.execute(select(t.devices).where(t.devices.c.name == name)).one_or_none()
        return _seen(row) if row is not None else None

    def events(
        self,
        *,
        line: str | None = None,
        device: str | None = None,
        limit: int = 50,
        before_s: float | None = None,
        before_id: str | None = None,
    ) -> list[EventRecord]:
        """Newest first. `before_id`, with `before_s`, goes on exactly behind that event."""
        c = t.events.c
        query = select(t.events).order_by(c.time_s.desc(), c.id.desc()).limit(limit)
        if line is not None:
            query = query.where(c.line == line)
        if device is not None:
            query = query.where(c.device == device)
        if before_s is not None:
            same_moment = and_(c.time_s == before_s, c.id < (before_id or ""))
            query = query.where(or_(c.time_s < before_s, same_moment))
        with self._engine.connect() as connection:
            return [_event(row) for row in connection.execute(query)]

    def event(self, event_id: str) -> EventRecord | None:
        """One event, or None if it is not in the store."""
        with self._engine.connect() as connection:
            row = connection.execute(select(t.events).where(t.events.c.id == event_id)).one_or_none()
        return _event(row) if row is not None else None

    def picture(self, sha256: str) -> bytes | None:
        """A JPEG by its hash, or None if it never came or was forgotten."""
        with self._engine.connect() as connection:
            query = select(t.pictures.c.jpeg).where(t.pictures.c.sha256 == sha256)
            jpeg: bytes | None = connection.execute(query).scalar_one_or_none()
        return jpeg

    def scores(self, device: str, *, since_s: float, until_s: float | None = None) -> list[ScoreSecond]:
        """The camera-seconds that begin in [since_s, until_s), oldest first."""
        return [
            ScoreSecond(
                time_s=float(row.second_s),
                n=row.n,
                mean=row.mean,
                p95=row.p95,
                max=row.max,
                anomalies=row.anomalies,
                threshold=row.threshold,
            )
            for row in self._seconds(device, since_s, until_s)
        ]

    def seconds(self, device: str, *, since_s: float, until_s: float | None = None) -> list[Second]:
        """As `scores`, with every single score packed."""
        return [Second(**row._asdict()) for row in self._seconds(device, since_s, until_s)]

    def totals(self, device: str, *, since_s: float, until_s: float) -> tuple[int, int]:
        """How many frames were inspected in [since_s, until_s), and how many of them were anomalies."""
        c = t.score_seconds.c
        query = select(func.coalesce(func.sum(c.n), 0), func.coalesce(func.sum(c.anomalies), 0)).where(
            c.device == device, c.second_s >= since_s, c.second_s < until_s
        )
        with self._engine.connect() as connection:
            inspected, anomalies = connection.execute(query).one()
        return int(inspected), int(anomalies)

    def rejects(
        self, devices: Sequence[str], *, since_s: float, until_s: float, releases: Sequence[str] | None = None
    ) -> Counts:
        """How many frames these devices judged in [since_s, until_s), and how many of them they rejected; only by
        certain releases, if they are given."""
        c = t.score_seconds.c
        query = select(func.coalesce(func.sum(c.n), 0), func.coalesce(func.sum(c.anomalies), 0)).where(
            c.device.in_(devices), c.second_s >= since_s, c.second_s < until_s
        )
        if releases is not None:
            query = query.where(c.release.in_(releases))
        with self._engine.connect() as connection:
            parts, rejects = connection.execute(query).one()
        return Counts(int(parts), int(rejects))

    def forget(self, *, pictures_before_s: float, seconds_before_s: float, picture_bytes: int) -> int:
        """Drop old pictures and camera-seconds, and the oldest pictures beyond `picture_bytes`. Events stay.

        Returns:
            How many rows went.

        Raises:
            StoreError: if the database cannot be written now.
        """
        old = (
            delete(t.pictures).where(t.pictures.c.time_s < pictures_before_s),
            delete(t.score_seconds).where(t.score_seconds.c.second_s < seconds_before_s),
        )
        try:
            with self._writer.begin() as connection:
                gone = sum(connection.execute(statement).rowcount for statement in old)
                return gone + _shrink_pictures(connection, picture_bytes)
        except SQLAlchemyError as error:
            raise store_error(error) from None

    def _seconds(self, device: str, since_s: float, until_s: float | None) -> Sequence[Any]:
        c = t.score_seconds.c
        query = select(t.score_seconds).where(c.device == device, c.second_s >= since_s).order_by(c.second_s)
        if until_s is not None:
            query = query.where(c.second_s < until_s)
        with self._engine.connect() as connection:
            return connection.execute(query).all()


def _shrink_pictures(connection: Connection, limit_bytes: int) -> int:
    p = t.pictures.c
    surplus = int(connection.scalar(select(func.coalesce(func.sum(p.size), 0))) or 0) - limit_bytes
    oldest: list[str] = []
    if surplus > 0:
        for row in connection.execute(select(p.sha256, p.size).order_by(p.time_s)):
            oldest.append(row.sha256)
            surplus -= row.size
            if surplus <= 0:
                break
    for start in range(0, len(oldest), 500):  # SQLite bounds the variables of one statement
        connection.execute(delete(t.pictures).where(p.sha256.in_(oldest[start : start + 500])))
    return len(oldest)


def _seen(row: Any) -> Seen:
    return Seen(
        name=row.name,
        site=row.site,
        line=row.line,
        time_s=row.last_seen_s,
        release=row.release,
        config_rev=row.config_rev,
        release_rev=row.release_rev,
    )


def _event(row: Any) -> EventRecord:
    return EventRecord(
        id=row.id,
        time_s=row.time_s,
        line=row.line,
        device=row.device,
        score=row.score,
        threshold=row.threshold,
        release=row.release,
        part=row.part,
        frame=row.frame,
        picture_sha256=row.picture_sha256,
        heatmap_sha256=row.heatmap_sha256,
    )
