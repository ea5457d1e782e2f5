"""The demonstration's programs, as processes that end when it ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

from kenpin_wire.errors import KenpinError

STOP_S = 8.0


class Programs:
    """Starts programs of this Python, each with a log file, and stops them all together.

    Args:
        logs: The folder for their output.
    """

    def __init__(self, logs: Path) -> None:
        logs.mkdir(parents=True, exist_ok=True)
        self._logs = logs
        self._running: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, name: str, module: str, *arguments: str) -> None:
        """Start `python -m module arguments`, its output going to `NAME.log`."""
        with self._log(name).open("ab") as log:
            self._running[name] = subprocess.Popen(
                [sys.executable, "-m", module, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**os.environ, "PYTHONUNBUFFERED": "1"},
                # Ctrl-C is for the demonstration, which then stops its programs in order.
                start_new_session=True,
            )

    def check(self) -> None:
        """Raise if a program has ended by itself.

        Raises:
            KenpinError: with the last line it said.
        """
        for name, process in self._running.items():
            if process.poll() is not None:
                lines = self._log(name).read_text(errors="replace").strip().splitlines()
                raise KenpinError(
                    f"it ended by itself: {lines[-1] if lines else 'without a word'}",
                    where=name,
                    remedy=f"Its log is {self._log(name)}.",
                )

    def stop(self) -> None:
        """Ask all of them to stop, last started first, and kill what has not after a while."""
        for process in reversed(self._running.values()):
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
        for process in reversed(self._running.values()):
            try:
                process.wait(timeout=STOP_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def _log(self, name: str) -> Path:
        return self._logs / f"{name}.log"
