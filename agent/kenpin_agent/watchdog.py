"""Notices when something does not return.

A model that hangs inside the inference library can neither be interrupted nor left behind in its thread. What is left
is to say so, and to end the process; whoever starts it again (systemd) does so with the release that was committed.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

log = logging.getLogger(__name__)

PATIENCE_S = 30.0
"""An estimate, not measured: the most pixels that a manifest may ask for would take a Pi 3 some 4 s."""
EXIT_STATUS = 70
"""`EX_SOFTWARE` of sysexits.h."""
_LOOKS = 30


class Watchdog:
    """Watches one piece of work at a time, on a thread of its own.

    It counts its own looks and not the time: where the whole process stood still (a suspended machine, a full swap),
    the watchdog stood still with it.

    Args:
        patience_s: How long a watched piece of work may take.
        leave: Ends the process; called with `EXIT_STATUS`.
    """

    def __init__(self, patience_s: float = PATIENCE_S, leave: Callable[[int], object] = os._exit) -> None:
        self._patience_s = patience_s
        self._leave = leave
        self._stopped = threading.Event()
        self._work: tuple[Callable[[str], object]] | None = None  # another tuple for each piece of work
        self._thread = threading.Thread(target=self._run, name="watchdog", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stopped.set()

    @contextmanager
    def over(self, on_hang: Callable[[str], object]) -> Iterator[None]:
        """Watch what is done inside.

        Args:
            on_hang: Called on the watchdog's thread with the reason, before the process ends.
        """
        self._work = (on_hang,)
        try:
            yield
        finally:
            self._work = None

    def _run(self) -> None:
        seen, looks = self._work, 0
        while not self._stopped.wait(self._patience_s / _LOOKS):
            work = self._work
            looks = looks + 1 if work is seen else 0
            seen = work
            if work is None or looks < _LOOKS:
                continue
            reason = f"it did not come back from a live frame within {self._patience_s:g} s"
            log.critical("the candidate hangs: %s; the agent ends, to start again without it", reason)
            try:
                work[0](reason)
            finally:
                self._leave(EXIT_STATUS)
            return
