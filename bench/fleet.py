"""What a fleet's operator waits for, measured on a whole fleet on this machine.

    python bench/fleet.py [--json]

- a threshold set by REST until the device has reported it as applied, a hundred times;
- a release of 5 MB from the order until the last of three agents has committed it, and the longest time between
  two verdicts of any of them meanwhile (15 parts a second each, so 67 ms are no gap).

Needs mosquitto. Broker, controller and agents are the real programs, as processes.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path

import cv2
import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))  # the small release and the fleet

from support.brokers import Mosquitto
from support.fleet import Fleet, station
from support.small_release import manifest_for, release_files, write_zip

ROUNDS = 100
AGENTS = 3
RATE_HZ = 15
SIZE_BYTES = 5_400_000  # before the zip presses the rest


def five_megabytes(path: Path, version: str) -> Path:
    """A sound release that is this large because one of its golden pictures is noise."""
    files = release_files()
    missing = SIZE_BYTES - sum(map(len, files.values()))
    noise = np.random.default_rng(int(version)).integers(0, 256, (missing // 3000, 1000, 3), dtype=np.uint8)
    files["golden/0.png"] = cv2.imencode(".png", noise)[1].tobytes()
    manifest = manifest_for(files, version=version, golden_pictures={"golden/0.png": noise})
    return write_zip(path, {"manifest.json": manifest.model_dump_json().encode(), **files})


def thresholds(fleet: Fleet) -> list[float]:
    """Milliseconds from the request to the device's report, one for each round."""
    waited = []
    for number in range(ROUNDS):
        began_s = time.monotonic()
        fleet.story.set_threshold("cam-1", value=1.0 + number / 1000)
        waited.append(1000 * (time.monotonic() - began_s))
    return waited


def switch(fleet: Fleet, file: Path, version: str) -> dict[str, float]:
    """A release to all agents while they inspect."""
    observer = fleet.story.observer
    devices = [f"cam-{number + 1}" for number in range(AGENTS)]
    fleet.story.upload(file)
    for device in devices:
        observer.devices[device].longest_gap_s = 0.0
    began_s = time.monotonic()
    fleet.story.roll_out("discs", version, devices)
    for device in devices:
        done = observer.wait(
            device,
            lambda heard: heard.release is not None and str(heard.release.installed) == f"discs-{version}",
            60,
        )
        assert done is not None, f"{device} did not commit the release"
    took_s = time.monotonic() - began_s
    time.sleep(1.0)
    gaps = [1000 * observer.devices[device].longest_gap_s for device in devices]
    return {"size_bytes": file.stat().st_size, "committed_s": took_s, "longest_gap_ms": max(gaps)}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="kenpin-bench-") as name, Mosquitto(Path(name)) as broker:
        folder = Path(name)
        fleet = Fleet(folder, broker)
        try:
            fleet.story.start_agents([station(n + 1, rate_hz=RATE_HZ) for n in range(AGENTS)])
            fleet.story.send(fleet.release("1"))
            time.sleep(2)
            waited = thresholds(fleet)
            switches = [
                switch(fleet, five_megabytes(folder / f"{n}.kenpin", str(n)), str(n)) for n in (2, 3, 4)
            ]
        finally:
            fleet.story.close()
    p50, p95 = np.quantile(waited, [0.5, 0.95])
    result = {"threshold_p50_ms": p50, "threshold_p95_ms": p95, "threshold_max_ms": max(waited)}
    if options.json:
        print(json.dumps({**result, "releases": switches}, indent=2))
        return
    print(f"threshold by REST → reported by the device, {ROUNDS} times: ", end="")
    print(f"p50 {p50:.1f} ms, p95 {p95:.1f} ms, longest {max(waited):.1f} ms")
    for s in switches:
        print(
            f"release of {s['size_bytes'] / 1e6:.1f} MB to {AGENTS} agents: all committed after "
            f"{s['committed_s']:.1f} s, longest gap between verdicts {s['longest_gap_ms']:.0f} ms"
        )


if __name__ == "__main__":
    main()
