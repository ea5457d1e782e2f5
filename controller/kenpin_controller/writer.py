"""The one thread that writes what was measured: collects a batch, commits it, and only then says so.

A batch that the store does not take now is kept and tried again; what it holds stays unacknowledged, so the
broker's own limit of messages under way slows the agents' outboxes down, and nothing is lost.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from kenpin_controller.errors import StoreError
from kenpin_controller.store.readings import Readings
from kenpin_controller.store.writes import Write

BATCH_SIZE = 500
BATCH_S = 0.2
IDLE_S = 0.01
FEW = 20
"""Some brokers let no more messages than these be under way, whatever a client asks for, and MQTT 3.1.1 cannot
ask. When so many are here and no more come, waiting longer would only slow both sides down (measured: 98 events
stored a second without this rule, 1,400 with it; where the broker lets more come it costs nothing)."""
MAX_WAITING = 5_000
RETRY_S = (0.5, 5.0)

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Pending:
    """Something to store, and what to do once it is. `done` runs on the writer's thread."""

    write: Write | None
    done: Callable[[], None]


class Writer:
    """See the module's docstring.

    Args:
        on_commit: Called after each commit, and after the `done` of all that it held, on the writer's thread.
    """

    def __init__(self, readings: Readings, on_commit: Callable[[list[Write]], None]) -> None:
        self._readings = readings
        self._on_commit = on_commit
        self._queue: queue.Queue[Pending | None] = queue.Queue(MAX_WAITING)
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="store-writer", daemon=True)
        self.refused = ""
        """Why the store takes nothing just now; empty while it does."""

    def start(self) -> None:
        """Begin to write."""
        self._thread.start()

    def put(self, pending: Pending) -> bool:
        """Queue it. False if too much waits already; it is then as if it had never come."""
        try:
            self._queue.put_nowait(pending)
        except queue.Full:
            return False
        return True

    def stop(self) -> None:
        """Commit what waits, if the store takes it, and end."""
        self._stopping.set()
        with suppress(queue.Full):
            self._queue.put_nowait(None)
        if self._thread.is_alive():
            self._thread.join(timeout=10.0)

    def _run(self) -> None:
        while True:
            batch = self._collect()
            try:
                self._commit(batch)
            except Exception:
                log.exception("a batch of %d messages could not be stored; it will come again", len(batch))
            if self._stopping.is_set() and self._queue.empty():
                return

    def _collect(self) -> list[Pending]:
        batch: list[Pending] = []
        deadline_s = float("inf")
        while len(batch) < BATCH_SIZE:
            wait_s = min(deadline_s - time.monotonic(), IDLE_S if len(batch) >= FEW else BATCH_S)
            try:
                pending = self._queue.get(timeout=max(wait_s, 0.0)) if batch else self._queue.get()
            except queue.Empty:
                break
            if pending is None:
                break
            if not batch:
                deadline_s = time.monotonic() + BATCH_S
            batch.append(pending)
        return batch

    def _commit(self, batch: list[Pending]) -> None:
        writes = [pending.write for pending in batch if pending.write is not None]
        delay_s = RETRY_S[0]
        while writes:
            try:
                for unfit in self._readings.write(writes):
                    log.warning("dropped, for the database cannot hold it: %.200r", unfit)
                break
            except StoreError as error:
                if self.refused != str(error):
                    log.error("%s Until then nothing is acknowledged, and comes again.", error)
                    self.refused = str(error)
                if self._stopping.wait(delay_s):
                    return
                delay_s = min(delay_s * 2, RETRY_S[1])
        if self.refused and writes:
            log.warning("the store takes data again")
            self.refused = ""
        for pending in batch:
            pending.done()
        self._on_commit(writes)
