"""Progress for a person: one bar that says what is being done."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from kenpin_models.samples import Progress as Report
from kenpin_models.samples import silent


@contextmanager
def shown_on(console: Console | None) -> Iterator[Report]:
    """A `samples.Progress` that draws a bar for each step; a silent one without a console."""
    if console is None:
        yield silent
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    bars = Progress(*columns, console=console)
    tasks: dict[str, TaskID] = {}

    def report(step: str, done: int, total: int) -> None:
        if total == 0:
            return
        if step not in tasks:
            bars.start()  # not before: what is refused first shall not be preceded by an empty line
            tasks[step] = bars.add_task(step, total=total)
        bars.update(tasks[step], completed=done, total=total)

    try:
        yield report
    finally:
        bars.stop()
