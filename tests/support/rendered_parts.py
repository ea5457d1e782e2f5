"""Folders of rendered parts, as a trainer gets them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Parts:
    """Good parts, bad parts, and the bad ones' masks."""

    good: Path
    bad: Path
    masks: Path
