"""What the demonstration is made of: lines, cameras, and what each of them sees. Pure."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SITE = "demo"
RATE_HZ = 4.0
DESIGNS = ("bracket", "plate")  # of the first line and of the second


@dataclass(frozen=True, slots=True)
class Station:
    """A camera on a line, with the simulated board it runs on."""

    line: str
    device: str
    product: str
    camera: dict[str, Any]
    thermometer: dict[str, Any]


def simulated_stations(count: int) -> list[Station]:
    """`count` cameras on two lines, the odd one on the first. Each line makes its own part."""
    stations = []
    for index in range(count):
        second_line = index >= (count + 1) // 2
        design = DESIGNS[second_line]
        camera = {
            "kind": "simulated",
            "design": design,
            "seed": 100 + index,
            "rate_hz": RATE_HZ,
            "every": 36,
            "burst": 3,
            "first_defect_at": 24 + 7 * index,  # so that the cameras take turns
        }
        stations.append(
            Station(f"line-{'ab'[second_line]}", f"cam-{index + 1}", design, camera, _board(index))
        )
    return stations


def picture_station(folder: Path, product: str, rate_hz: float) -> Station:
    """One camera that plays a folder of real pictures in a mixed order, round after round."""
    camera = {
        "kind": "folder",
        "path": str(folder),
        "rate_hz": rate_hz,
        "shuffle_seed": 0,
        "loop": True,
        "lossless": True,
    }
    return Station("line-a", "cam-1", product, camera, _board(0))


def agent_toml(station: Station, broker_port: int, state_dir: Path, root: Path | None = None) -> str:
    """The agent's configuration file for a station.

    Args:
        root: The site's root metadata, to be pinned.
    """
    tables = {
        "broker": {"port": broker_port},
        "camera": station.camera,
        "inspection": {"threads": 1},
        "thermometer": station.thermometer,
    }
    if root is not None:
        tables["trust"] = {"root": str(root)}
    lines = [
        f'site = "{SITE}"',
        f'line = "{station.line}"',
        f'device = "{station.device}"',
        f"state_dir = {_toml(str(state_dir))}",
    ]
    for name, table in tables.items():
        lines.append(f"\n[{name}]")
        lines += [f"{key} = {_toml(value)}" for key, value in table.items()]
    return "\n".join(lines) + "\n"


def _board(index: int) -> dict[str, Any]:
    """A simulated board; each stands in a warmer place than the one before, and time runs fast for all."""
    return {"kind": "simulated", "ambient_c": 24.0 + 4.0 * (index % 4), "speed": 20.0}


def _toml(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return json.dumps(value, ensure_ascii=False) if isinstance(value, str) else str(value)
