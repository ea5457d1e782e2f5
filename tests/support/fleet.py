"""A whole fleet for a test: broker, controller and agents as real processes, put together as the demo does."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path
from typing import Any

import cv2
import httpx
import numpy as np

from kenpin_controller.demo.plan import Station, agent_toml
from kenpin_controller.demo.story import START_S, Story, Taught
from support import free_port, many_agents, wait_until
from support.brokers import Mosquitto
from support.small_release import manifest_for, part, release_files, write_release, write_zip

LINE = "line-a"


class Fleet:
    """A running site. The releases of `release` find every rendered part of `station` anomalous, so each is an event;
    the discs of `disc_station` they judge rightly."""

    def __init__(self, folder: Path, broker: Mosquitto) -> None:
        self.folder = folder
        self.broker = broker
        self.said: list[str] = []
        self.story = Story(folder, broker.port, free_port(), self.said.append)
        self.story.start_controller()
        self._hosts: list[subprocess.Popen[bytes]] = []

    def release(self, version: str, product: str = "discs") -> Taught:
        """A small sound release."""
        return Taught(product, write_release(self.folder / f"discs-{version}.kenpin", version=version))

    def host(self, stations: Iterable[Station], broker_port: int | None = None) -> None:
        """Run these agents in one process of their own (see `support.many_agents`).

        Args:
            broker_port: Where they find the broker, if not where it is.
        """
        stations, files = list(stations), []
        for seat in stations:
            config = self.folder / f"{seat.device}.toml"
            port = broker_port or self.broker.port
            config.write_text(agent_toml(seat, port, self.folder / seat.device, self.story.root))
            files.append(str(config))
            self.story.stations.append(seat)
        with (self.folder / "logs" / f"{stations[0].device}-and-more.log").open("wb") as log:
            command = [sys.executable, many_agents.__file__, *files]
            self._hosts.append(subprocess.Popen(command, stdout=log, stderr=log))
        for seat in stations:
            came = self.story.observer.wait(seat.device, lambda heard: heard.online, START_S)
            assert came is not None, f"{seat.device} did not come online"
            self.story.wait_known(seat.device)

    def close(self) -> None:
        """End all of it."""
        for process in self._hosts:
            process.terminate()
        self.story.close()
        for process in self._hosts:
            process.wait(10)

    # Rollouts --------------------------------------------------------------------------------------------

    def roll_out(self, version: str, **asked: Any) -> str:
        """Start a rollout of `discs` over REST. Returns its id."""
        body = {"release": {"name": "discs", "version": version}, **asked}
        answer = httpx.post(f"{self.story.page}/api/v1/rollouts", json=body, timeout=30)
        assert answer.is_success, answer.text
        return str(answer.json()["id"])

    def rollout(self, rollout_id: str) -> dict[str, Any]:
        """How it stands."""
        answer = httpx.get(f"{self.story.page}/api/v1/rollouts/{rollout_id}", timeout=30)
        return dict(answer.raise_for_status().json())

    def ended(self, rollout_id: str, timeout_s: float) -> dict[str, Any]:
        """How it stands once nothing of it is under way any more."""
        wait_until(
            lambda: self.rollout(rollout_id)["finished"],
            timeout_s=timeout_s,
            what=f"the end of rollout {rollout_id}",
        )
        return self.rollout(rollout_id)

    # The store -------------------------------------------------------------------------------------------

    def query(self, sql: str, *values: object) -> list[tuple[Any, ...]]:
        """What the controller's database says; read only."""
        file = self.folder / "site" / "kenpin.db"
        with closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True)) as database:
            return database.execute(sql, values).fetchall()

    def judged(self) -> dict[str, Counter[str]]:
        """How many frames each device judged with each release, by the stored seconds."""
        counts: dict[str, Counter[str]] = {}
        for device, release, n in self.query("SELECT device, release, n FROM score_seconds"):
            counts.setdefault(device, Counter())[release] += n
        return counts


def station(number: int, *, rate_hz: float = 5.0) -> Station:
    """A simulated camera of its own."""
    camera = {"kind": "simulated", "seed": number, "rate_hz": rate_hz}
    return Station(LINE, f"cam-{number}", "discs", camera, {"kind": "simulated"})


def disc_station(number: int, pictures: Path, *, line: str = LINE, rate_hz: float = 4.0) -> Station:
    """A camera that plays a folder of discs, in an order of its own."""
    camera = {
        "kind": "folder",
        "path": str(pictures),
        "rate_hz": rate_hz,
        "shuffle_seed": number,
        "loop": True,
    }
    return Station(line, f"cam-{number}", "discs", camera, {"kind": "simulated"})


def write_large_release(path: Path, version: str, *, size_bytes: int = 5_400_000) -> Path:
    """A sound release that is this large, before the zip presses a little out of it, because one of its golden
    pictures is noise."""
    files = release_files()
    missing = size_bytes - sum(map(len, files.values()))
    noise = np.random.default_rng(int(version)).integers(0, 256, (missing // 3000, 1000, 3), dtype=np.uint8)
    files["golden/0.png"] = cv2.imencode(".png", noise)[1].tobytes()
    manifest = manifest_for(files, version=version, golden_pictures={"golden/0.png": noise})
    return write_zip(path, {"manifest.json": manifest.model_dump_json().encode(), **files})


def write_discs(folder: Path, *, good: int = 45, scratched: int = 5) -> Path:
    """Pictures of discs for `disc_station`."""
    folder.mkdir()
    for number in range(good + scratched):
        picture = part(100 + number, scratched=number >= good)
        cv2.imwrite(str(folder / f"{number:02}.png"), picture)
    return folder
