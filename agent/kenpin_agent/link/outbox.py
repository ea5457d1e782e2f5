"""Messages that wait for the broker, events also for the controller's word: on disk, bounded, not in the way.

A row is held in memory for up to `FLUSH_S` and then written with all others of that time, because a write
to an SD card is slow and wears it; what has left by then never touches the card. What the disk refuses is
kept in memory as far as there is room. No method raises on account of the disk.
"""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TypeVar

from kenpin_agent.link.lanes import GIVE_UP_ORDER, Lane
from kenpin_agent.link.outbox_file import OutboxFile, Row
from kenpin_agent.seams import Clock
from kenpin_wire.topics import Channel

DEFAULT_CAP_BYTES = 64 << 20
FLUSH_S = 0.5
FLUSH_BYTES = 1 << 20
"""Written at once when this much waits in memory."""
MEMORY_BYTES = 4 << 20
"""The most that is held in memory while the disk refuses."""
RETRY_S = 5.0
SWEEP_S = 60.0
CLOCK_STEP_S = 60.0
LOG_EVERY_S = 600.0

_DAMAGED = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_ERROR)  # ERROR: no such table
_T = TypeVar("_T")

log = logging.getLogger(__name__)


class Outbox:
    """See the module's docstring. Used by one thread at a time; the file is opened at the first use.

    Args:
        path: The database; its folder is made if it is missing. A damaged one is renamed to `*.damaged`.
        cap_bytes: The most that waits, counting about 120 bytes for each row beside its payload.

    Attributes:
        dropped: Rows given up for want of room since the start.
    """

    def __init__(self, path: Path, clock: Clock, cap_bytes: int = DEFAULT_CAP_BYTES) -> None:
        self.path = path
        self.dropped = 0
        self._clock = clock
        self._cap_bytes = cap_bytes
        self._file: OutboxFile | None = None
        self._fresh: dict[int, Row] = {}  # not yet in the file
        self._fresh_bytes = 0
        self._gone: set[int] = set()  # still in the file
        # From the clock, so that ids ascend over restarts even if the file can only be opened later.
        self._next_id = int(clock.wall_s() * 1000)
        self._first_id = self._next_id + 1
        self._due_s: float | None = None
        self._disk_again_s = 0.0
        self._sweep_s = 0.0
        self._wall_offset_s = clock.wall_s() - clock.monotonic_s()
        self._logged_s: float | None = None

    @property
    def depth(self) -> int:
        """Rows that wait."""
        file = self._file  # once, for other threads ask too
        in_file = file.count if file else 0
        return max(0, in_file - len(self._gone)) + len(self._fresh)

    @property
    def size_bytes(self) -> int:
        """What the rows count for; at most the cap, after each `flush`."""
        return (self._file.size_bytes if self._file else 0) + self._fresh_bytes

    @property
    def due_s(self) -> float | None:
        """When `flush` wants to be called, on the monotonic clock."""
        return self._due_s

    def put(
        self,
        lane: Lane,
        channel: Channel,
        payload: bytes,
        *,
        argument: str = "",
        event_id: str = "",
        expiry_s: float = 7 * 86_400,
    ) -> Row:
        """Let a message wait; it is in the file within `FLUSH_S` if `flush` is called when due."""
        self._open()
        self._next_id += 1
        now_s = self._clock.wall_s()
        row = Row(self._next_id, lane, channel, payload, argument, event_id, now_s, now_s + expiry_s)
        self._fresh[row.id] = row
        self._fresh_bytes += row.size
        full = self._fresh_bytes > FLUSH_BYTES
        self._make_due(0.0 if full else FLUSH_S)
        return row

    def waiting(
        self,
        lane: Lane,
        limit: int,
        *,
        after: int = 0,
        up_to: int | None = None,
        newest_first: bool = False,
        without: Iterable[int] = (),
    ) -> list[Row]:
        """At most `limit` rows of a lane with `after` < id <= `up_to`, but for those in `without`.

        Ids ascend with time, over restarts too.
        """
        self._open()
        without = {*without, *self._gone}
        span = range(after + 1, 1 + (self._next_id if up_to is None else up_to))
        now_s = self._clock.wall_s()
        fresh = [
            row
            for row in self._fresh.values()
            if row.lane is lane and row.id in span and row.id not in without and row.expires_s > now_s
        ]
        older: list[Row] = []
        if not newest_first or len(fresh) < limit:
            find = partial(
                OutboxFile.find,
                lane=lane,
                span=span,
                now_s=now_s,
                newest_first=newest_first,
                without=without,
                limit=limit,
            )
            older = self._on_disk(find, [])
        rows = fresh[::-1] + older if newest_first else older + fresh
        return rows[:limit]

    def remove(self, ids: Iterable[int]) -> None:
        """These have left, or nobody wants them any more."""
        for row_id in ids:
            row = self._fresh.pop(row_id, None)
            if row is not None:
                self._fresh_bytes -= row.size
            elif self._file is not None and 0 < row_id <= self._file.last_id:
                self._gone.add(row_id)
                self._make_due(FLUSH_S)

    def remove_events(self, event_ids: Iterable[str]) -> int:
        """The controller has these events. Returns how many of them waited here."""
        self._open()
        fresh = {row.event_id: row.id for row in self._fresh.values() if row.event_id}
        rows = [fresh.get(event_id) or self._event_row(event_id) for event_id in event_ids]
        found = {row_id for row_id in rows if row_id is not None} - self._gone
        self.remove(found)
        return len(found)

    def flush(self) -> None:
        """Bring the file up to date, and give up what there is no room for."""
        self._due_s = None
        now_s = self._clock.monotonic_s()
        self._open()
        if self._file is not None and now_s >= self._disk_again_s:
            self._on_disk(self._write, None)
        if self._file is None or self._disk_again_s > now_s:
            self._make_room_in_memory()
            if self._fresh or self._gone:
                self._make_due(RETRY_S)

    def close(self) -> None:
        """Write what waits and close the file."""
        self._disk_again_s = 0.0
        if self._fresh or self._gone:
            self.flush()
        if self._file is not None:
            self._file.close()
            self._file = None

    # From here on: how.

    def _make_due(self, in_s: float) -> None:
        due_s = self._clock.monotonic_s() + in_s
        self._due_s = due_s if self._due_s is None else min(self._due_s, due_s)

    def _event_row(self, event_id: str) -> int | None:
        return self._on_disk(lambda file: file.event_row(event_id), None)

    def _write(self, file: OutboxFile) -> None:
        self._follow_clock(file)
        remove = set(self._gone)
        if self._clock.monotonic_s() >= self._sweep_s:
            self._sweep_s = self._clock.monotonic_s() + SWEEP_S
            remove.update(file.expired(self._clock.wall_s()))
        over = file.size_bytes + self._fresh_bytes - self._cap_bytes
        given_up = 0
        if over > 0:
            given_up = self._make_room(file, over, remove)
        file.change(remove, self._fresh.values())
        self._fresh.clear()
        self._fresh_bytes = 0
        self._gone.clear()
        self._count_dropped(given_up, f"its {self._cap_bytes >> 20} MiB are full")

    def _make_room(self, file: OutboxFile, over: int, remove: set[int]) -> int:
        """Choose what is given up, the oldest of the least first: file rows into `remove`, others at once."""
        over -= sum(map(file.size_of, remove))
        given_up = 0
        for lane in GIVE_UP_ORDER:
            after = 0
            while over > 0 and (oldest := file.oldest(lane, after=after, limit=256)):
                after = oldest[-1][0]
                for row_id, size in oldest:
                    if over > 0 and row_id not in remove:
                        remove.add(row_id)
                        over -= size
                        given_up += 1
            before = self._fresh_bytes
            given_up += self._forget_fresh(lane, over)
            over -= before - self._fresh_bytes
        return given_up

    def _make_room_in_memory(self) -> None:
        given_up = 0
        limit = min(MEMORY_BYTES, self._cap_bytes)
        for lane in GIVE_UP_ORDER:
            given_up += self._forget_fresh(lane, self._fresh_bytes - limit)
        self._count_dropped(given_up, "the disk takes nothing")

    def _forget_fresh(self, lane: Lane, over: int) -> int:
        given_up = 0
        for row in [row for row in self._fresh.values() if row.lane is lane]:
            if over <= 0:
                break
            del self._fresh[row.id]
            self._fresh_bytes -= row.size
            over -= row.size
            given_up += 1
        return given_up

    def _follow_clock(self, file: OutboxFile) -> None:
        """A Pi starts with a wrong clock, and NTP puts it right by hours or years: that is no age."""
        offset_s = self._clock.wall_s() - self._clock.monotonic_s()
        step_s = offset_s - self._wall_offset_s
        if abs(step_s) > CLOCK_STEP_S:
            file.shift_times(self._first_id, step_s)
            for row in list(self._fresh.values()):
                self._fresh[row.id] = replace(
                    row, created_s=row.created_s + step_s, expires_s=row.expires_s + step_s
                )
            self._wall_offset_s = offset_s

    def _open(self) -> None:
        if self._file is not None or self._clock.monotonic_s() < self._disk_again_s:
            return
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._file = OutboxFile(self.path, self._cap_bytes)
        except (sqlite3.Error, OSError) as error:
            self._trouble(error)
            if self._file is None:
                return
        if self._first_id <= self._file.last_id:
            fresh = list(self._fresh.values())  # from before it could be opened
            self._first_id = self._file.last_id + 1
            self._fresh = {i: replace(row, id=i) for i, row in enumerate(fresh, self._first_id)}
            self._next_id = max(self._next_id, self._file.last_id) + len(fresh)

    def _on_disk(self, work: Callable[[OutboxFile], _T], otherwise: _T) -> _T:
        if self._file is None:
            return otherwise
        try:
            return work(self._file)
        except (sqlite3.Error, OSError) as error:
            self._trouble(error)
            return otherwise

    def _trouble(self, error: sqlite3.Error | OSError) -> None:
        """The disk refused. A damaged file is set aside for a new one; anything else is tried again later."""
        code = getattr(error, "sqlite_errorcode", None)
        damaged = isinstance(error, sqlite3.DatabaseError) and not isinstance(error, sqlite3.OperationalError)
        if damaged or (code is not None and code & 0xFF in _DAMAGED):
            self._set_aside(error)
            return
        self._disk_again_s = self._clock.monotonic_s() + RETRY_S
        self._warn(
            f"{self.path}: the outbox cannot be written ({error}). Free some space, or check the card."
        )

    def _set_aside(self, error: Exception) -> None:
        lost = self._file.count if self._file else 0
        if self._file is not None:
            self._file.close()
            self._file = None
        aside = self.path.with_name(self.path.name + ".damaged")
        try:
            self.path.replace(aside)
            for suffix in ("-wal", "-shm"):
                self.path.with_name(self.path.name + suffix).unlink(missing_ok=True)
            self._file = OutboxFile(self.path, self._cap_bytes)
        except (sqlite3.Error, OSError) as second:
            self._disk_again_s = self._clock.monotonic_s() + RETRY_S
            error = second
        self.dropped += lost
        self._gone.clear()
        log.warning(
            "%s: the outbox was damaged (%s). It is kept as %s; a new one begins.", self.path, error, aside
        )

    def _count_dropped(self, rows: int, why: str) -> None:
        if rows:
            self.dropped += rows
            self._warn(f"{self.path}: the outbox gives up its oldest rows, {self.dropped} so far: {why}.")

    def _warn(self, text: str) -> None:
        now_s = self._clock.monotonic_s()
        if self._logged_s is None or now_s - self._logged_s >= LOG_EVERY_S:
            self._logged_s = now_s
            log.warning("%s", text)
