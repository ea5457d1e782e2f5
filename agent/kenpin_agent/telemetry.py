"""How the device fares, read off the operating system and put into one message."""

from __future__ import annotations

from pathlib import Path

import psutil


class Vitals:
    """Memory and disk of this process and its state folder."""

    def __init__(self, state_dir: Path) -> None:
        self._state_dir = state_dir
        self._process = psutil.Process()

    def memory_mb(self) -> float:
        """Resident memory, in megabytes (10^6 bytes)."""
        return round(float(self._process.memory_info().rss) / 1e6, 1)

    def disk_free_mb(self) -> float | None:
        """Free space where the state is kept, in megabytes; None if it cannot be told."""
        try:
            return round(float(psutil.disk_usage(str(self._state_dir)).free) / 1e6, 1)
        except OSError:
            return None
