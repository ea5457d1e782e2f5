"""The outbox's file: rows in SQLite. Knows no policy; every error of SQLite goes to its caller."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from kenpin_agent.link.lanes import Lane
from kenpin_wire.topics import Channel

SCHEMA_VERSION = 1
ROW_OVERHEAD_BYTES = 120  # what a row costs beside its payload, about

_SCHEMA = """
CREATE TABLE outbox (
    id INTEGER PRIMARY KEY,
    lane TEXT NOT NULL,
    channel TEXT NOT NULL,
    argument TEXT NOT NULL,
    event_id TEXT NOT NULL,
    created_s REAL NOT NULL,
    expires_s REAL NOT NULL,
    size INTEGER NOT NULL,
    payload BLOB NOT NULL
);
CREATE INDEX outbox_lane ON outbox (lane, id, size);
CREATE INDEX outbox_event ON outbox (event_id) WHERE event_id != '';
"""
_COLUMNS = "id, lane, channel, argument, event_id, created_s, expires_s, payload"
_INSERT = "INSERT INTO outbox VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"


@dataclass(frozen=True, slots=True)
class Row:
    """A waiting message. `created_s` and `expires_s` are wall clock."""

    id: int
    lane: Lane
    channel: Channel
    payload: bytes
    argument: str
    event_id: str
    created_s: float
    expires_s: float

    @property
    def size(self) -> int:
        """Bytes that it counts for."""
        return len(self.payload) + ROW_OVERHEAD_BYTES


class OutboxFile:
    """An open outbox file.

    Attributes:
        count: Rows in it.
        size_bytes: The sum of their sizes.
        last_id: The highest id that was ever found or written.

    Raises:
        sqlite3.Error: if the file cannot be opened, is damaged, or is of another schema.
    """

    def __init__(self, path: Path, cap_bytes: int) -> None:
        # autocommit: transactions are begun by hand, below.
        self._db = sqlite3.connect(path, timeout=1.0, isolation_level=None, check_same_thread=False)
        try:
            self._open(cap_bytes)
        except sqlite3.Error:
            self._db.close()
            raise

    def _open(self, cap_bytes: int) -> None:
        db = self._db
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA journal_size_limit = 4194304")
        # A hard stop, should the policy fail: pages of 4 KiB, with room for SQLite's own.
        db.execute(f"PRAGMA max_page_count = {64 + cap_bytes * 3 // 2 // 4096}")
        (verdict,) = db.execute("PRAGMA quick_check(1)").fetchone()
        (version,) = db.execute("PRAGMA user_version").fetchone()
        if verdict != "ok" or version not in (0, SCHEMA_VERSION):
            raise sqlite3.DatabaseError(verdict if verdict != "ok" else f"schema {version}")
        if version == 0:
            db.executescript(f"BEGIN; {_SCHEMA} PRAGMA user_version = {SCHEMA_VERSION}; COMMIT")
        self.count, self.size_bytes, self.last_id = db.execute(
            "SELECT count(*), coalesce(sum(size), 0), coalesce(max(id), 0) FROM outbox"
        ).fetchone()

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    def change(self, remove: Iterable[int], insert: Iterable[Row]) -> None:
        """Remove and insert rows in one transaction.

        Survives a kill of this process at once. With an event among the new rows it also waits for the disk,
        so that a power cut does not lose the event.
        """
        rows = list(insert)
        durable = any(row.lane is Lane.EVENT for row in rows)
        self._db.execute(f"PRAGMA synchronous = {'FULL' if durable else 'NORMAL'}")
        count, size = self.count, self.size_bytes
        self._db.execute("BEGIN IMMEDIATE")
        try:
            for row_id in remove:
                for (freed,) in self._db.execute("DELETE FROM outbox WHERE id = ? RETURNING size", (row_id,)):
                    count, size = count - 1, size - freed
            for row in rows:
                self._db.execute(_INSERT, _values(row))
                count, size = count + 1, size + row.size
            self._db.execute("COMMIT")
        except sqlite3.Error:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            raise
        self.count, self.size_bytes = count, size
        self.last_id = max([self.last_id, *(row.id for row in rows)])

    def find(
        self, lane: Lane, span: range, *, now_s: float, newest_first: bool, without: set[int], limit: int
    ) -> list[Row]:
        """At most `limit` of a lane's rows that have not expired, their ids in `span` but not in `without`."""
        where = "lane = ? AND id >= ? AND id < ? AND expires_s > ?"
        order = "DESC" if newest_first else "ASC"
        sql = f"SELECT id FROM outbox WHERE {where} ORDER BY id {order} LIMIT ?"  # noqa: S608  constants
        ids = self._db.execute(sql, (lane, span.start, span.stop, now_s, limit + len(without))).fetchall()
        rows = (self.read(row_id) for (row_id,) in ids if row_id not in without)
        return [row for row in islice(rows, limit) if row is not None]

    def oldest(self, lane: Lane, *, after: int, limit: int) -> list[tuple[int, int]]:
        """(id, size) of a lane's oldest rows with id > `after`."""
        sql = "SELECT id, size FROM outbox WHERE lane = ? AND id > ? ORDER BY id LIMIT ?"
        return self._db.execute(sql, (lane, after, limit)).fetchall()

    def size_of(self, row_id: int) -> int:
        """What a row counts for; 0 if there is none of this id."""
        found = self._db.execute("SELECT size FROM outbox WHERE id = ?", (row_id,)).fetchone()
        return found[0] if found else 0

    def read(self, row_id: int) -> Row | None:
        """A row; None if there is none of this id."""
        sql = f"SELECT {_COLUMNS} FROM outbox WHERE id = ?"  # noqa: S608  a constant
        found = self._db.execute(sql, (row_id,)).fetchone()
        if found is None:
            return None
        _, lane, channel, argument, event_id, created_s, expires_s, payload = found
        return Row(row_id, Lane(lane), Channel(channel), payload, argument, event_id, created_s, expires_s)

    def event_row(self, event_id: str) -> int | None:
        """The id of the row that holds this event."""
        found = self._db.execute("SELECT id FROM outbox WHERE event_id = ?", (event_id,)).fetchone()
        return found[0] if found else None

    def expired(self, now_s: float) -> list[int]:
        """Ids of rows whose time is over; at most 1,000."""
        sql = "SELECT id FROM outbox WHERE expires_s <= ? LIMIT 1000"
        return [row_id for (row_id,) in self._db.execute(sql, (now_s,))]

    def shift_times(self, first_id: int, by_s: float) -> None:
        """The wall clock was put right by so much: do the same to the rows written since `first_id`."""
        sql = "UPDATE outbox SET created_s = created_s + ?, expires_s = expires_s + ? WHERE id >= ?"
        self._db.execute(sql, (by_s, by_s, first_id))


def _values(row: Row) -> tuple[object, ...]:
    named = (row.id, row.lane, row.channel, row.argument, row.event_id, row.created_s, row.expires_s)
    return (*named, row.size, row.payload)
