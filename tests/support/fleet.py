"""A whole fleet for a test: broker, controller and agents as real processes, put together as the demo does."""

from __future__ import annotations

from pathlib import Path

from kenpin_controller.demo.plan import Station
from kenpin_controller.demo.story import Story, Taught
from support import free_port
from support.brokers import Mosquitto
from support.small_release import write_release

LINE = "line-a"


class Fleet:
    """A running site. Its releases find every rendered part anomalous, so each part is an event."""

    def __init__(self, folder: Path, broker: Mosquitto) -> None:
        self.folder = folder
        self.broker = broker
        self.said: list[str] = []
        self.story = Story(folder, broker.port, free_port(), self.said.append)
        self.story.start_controller()

    def release(self, version: str, product: str = "discs") -> Taught:
        """A small sound release."""
        return Taught(product, write_release(self.folder / f"discs-{version}.kenpin", version=version))


def station(number: int, *, rate_hz: float = 5.0) -> Station:
    """A simulated camera of its own."""
    camera = {"kind": "simulated", "seed": number, "rate_hz": rate_hz}
    return Station(LINE, f"cam-{number}", "discs", camera, {"kind": "simulated"})
