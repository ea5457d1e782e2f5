"""What came of the demonstration: a table to read and a verdict for the exit status."""

from __future__ import annotations

import time
from dataclasses import dataclass

from rich.console import Console
from rich.table import Table

from kenpin_controller.demo.observer import Heard
from kenpin_controller.demo.scoreboard import Confusion
from kenpin_controller.demo.story import Story
from kenpin_controller.demo.teach import SplitPictures

ARRIVAL_S = 3.0


@dataclass(frozen=True, slots=True)
class DeviceResult:
    """One camera's part. `seen` of `planted` streams of bad parts have an anomaly event in the store."""

    device: str
    line: str
    release: str
    judged: int
    planted: int
    seen: int
    confusion: Confusion
    longest_gap_s: float
    hottest_c: float


@dataclass(frozen=True, slots=True)
class Outcome:
    """All cameras' parts, and what did not come about."""

    devices: list[DeviceResult]
    failures: list[str]

    @property
    def passed(self) -> bool:
        return bool(self.devices) and not self.failures


def outcome(story: Story, pictures: SplitPictures | None) -> Outcome:
    """Hold what was planted against what the store has."""
    results, failures = [], list(story.failures)
    for station in story.stations:
        heard = story.observer.devices.get(station.device, Heard())
        streams = heard.board.streams()
        seen = _seen(story, station.device, streams)
        confusion = heard.board.confusion
        installed = heard.release.installed if heard.release else None
        results.append(
            DeviceResult(
                station.device,
                station.line,
                str(installed or "none"),
                heard.judged,
                len(streams),
                len(seen),
                confusion,
                heard.longest_gap_s,
                heard.hottest_c,
            )
        )
        if not heard.judged:
            failures.append(f"{station.device} inspected nothing")
        elif not streams:
            failures.append(f"no bad part came by {station.device}; let it run longer")
        if len(seen) < len(streams):
            failures.append(f"{station.device} missed {len(streams) - len(seen)} of {len(streams)} streams")
        if pictures is not None and len(heard.board.verdicts) < pictures.played:
            failures.append(
                f"{len(heard.board.verdicts)} of {pictures.played} pictures were played; let it run longer"
            )
    return Outcome(results, failures)


def show(console: Console, result: Outcome, pictures: SplitPictures | None) -> None:
    """Print the summary."""
    console.rule("[bold]what came of it")
    table = Table(box=None, header_style="bold", pad_edge=False, collapse_padding=True)
    for heading in ("camera", "release"):
        table.add_column(heading, no_wrap=True)
    for heading in (
        "verdicts",
        "streams\nseen",
        "bad\nrejected",
        "good\nrejected",
        "longest\ngap",
        "hottest",
    ):
        table.add_column(heading, justify="right", no_wrap=True)
    for device in result.devices:
        c = device.confusion
        table.add_row(
            f"{device.line}/{device.device}",
            device.release,
            str(device.judged),
            f"{device.seen} of {device.planted}",
            f"{c.bad_rejected} of {c.bad_rejected + c.bad_passed}",
            f"{c.good_rejected} of {c.good_rejected + c.good_passed}",
            f"{1000 * device.longest_gap_s:.0f} ms",
            f"{device.hottest_c:.1f} °C" if device.hottest_c > float("-inf") else "–",
        )
    console.print(table)
    if pictures is not None:
        for device in result.devices:
            console.print(_confusion_table(pictures.name, device.confusion))
    for failure in result.failures:
        console.print(f"[red]✗[/] {failure}")
    if result.passed:
        console.print("[green]✓[/] every camera inspected, every planted anomaly was seen")


def _seen(story: Story, device: str, streams: list[list[str]]) -> list[list[str]]:
    """The streams that the store has an event of. The last one's may still be on its way."""
    deadline_s = time.monotonic() + ARRIVAL_S
    while True:
        stored = {event["part"] for event in story.events(device)}
        seen = [stream for stream in streams if stored.intersection(stream)]
        if len(seen) == len(streams) or time.monotonic() > deadline_s:
            return seen
        time.sleep(0.2)


def _confusion_table(name: str, confusion: Confusion) -> Table:
    table = Table(title=f"{name}: pictures that the release was not made from", title_justify="left")
    table.add_column("")
    table.add_column("rejected", justify="right")
    table.add_column("passed", justify="right")
    table.add_column("", justify="right")
    c = confusion
    table.add_row("bad", str(c.bad_rejected), str(c.bad_passed), f"recall {_share(c.recall)}")
    table.add_row(
        "good", str(c.good_rejected), str(c.good_passed), f"false rejects {_share(c.false_rejects)}"
    )
    return table


def _share(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"
