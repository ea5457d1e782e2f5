"""Tables and times for people, JSON for programs."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterable, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text


def show(found: Any, as_json: bool, columns: Sequence[str], rows: Iterable[Sequence[str]], none: str) -> None:
    """Print what was found: as JSON, as a table, or `none` in words where there is nothing."""
    if as_json:
        print(json.dumps(found, indent=2, ensure_ascii=False))
        return
    table = Table(*columns, box=None, header_style="bold", pad_edge=False)
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))  # text: a device's words are not markup
    width = None if sys.stdout.isatty() else 200  # a pipe has no width to break lines at
    Console(width=width).print(table if table.row_count else none)


def number(value: float | None, unit: str = "", digits: int = 4) -> str:
    """A figure with its unit, or a dash."""
    return "-" if value is None else f"{value:.{digits}g}{unit}"


def ago(time_s: float | None) -> str:
    """How long ago, in one unit."""
    if time_s is None:
        return "never"
    seconds = max(0.0, time.time() - time_s)
    for unit, size_s in (("d", 86_400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * size_s:
            return f"{seconds / size_s:.0f} {unit} ago"
    return f"{seconds:.0f} s ago"


def stamp(time_s: float) -> str:
    """Local date and time."""
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(time_s))
