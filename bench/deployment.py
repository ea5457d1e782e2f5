"""What a release on its way costs the line, and how long it takes.

    python bench/deployment.py [--rounds N] [--json]

One agent inspects a folder's pictures as fast as it can while a release of 5 MB is fetched from the controller over a
broker, N times. Told are, by the agent's own stamps:

- the seconds from the order until the file lies there whole and its hash is right;
- the frames judged a second meanwhile, and in as long a time just before.

Needs mosquitto. Broker, controller and agent are the real programs, as processes.
"""

from __future__ import annotations

import argparse
import bisect
import json
import statistics
import sys
import tempfile
import threading
import time
from dataclasses import asdict, dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))  # the small release and the fleet

from kenpin_agent.link.publications import Delivery
from kenpin_agent.link.session import MqttSession
from kenpin_agent.link.settings import BrokerSettings
from kenpin_controller.demo.plan import Station
from kenpin_wire.contract import decode
from kenpin_wire.messages import Phase, ReportedRelease, Score
from kenpin_wire.topics import Channel, TopicTree
from support.brokers import Mosquitto
from support.fleet import LINE, Fleet, write_discs, write_large_release

DEVICE = "cam-1"
PATIENCE_S = 120.0


@dataclass(frozen=True)
class Round:
    """One release's way onto the device."""

    size_bytes: int
    fetched_s: float
    committed_s: float
    before_fps: float
    meanwhile_fps: float


class Listener:
    """When the device judged each frame, and when it came to which phase of which release."""

    def __init__(self, broker: BrokerSettings) -> None:
        self.tree = TopicTree(broker.prefix)
        self.verdicts_s: list[float] = []
        self._phases: dict[tuple[str, str], float] = {}
        self._changed = threading.Condition()
        self.session = MqttSession(broker, client_id="bench-deployment")
        self.session.on_message = self._hear
        self.session.subscribe([self.tree.filter(c) for c in (Channel.SCORE, Channel.REPORTED_RELEASE)])
        self.session.start()

    def reached_s(self, version: str, phase: Phase) -> float:
        """When the device said so, waiting for it."""
        with self._changed:
            came = self._changed.wait_for(lambda: (version, phase.value) in self._phases, PATIENCE_S)
        if not came:
            raise SystemExit(f"release {version} did not come to {phase.value}")
        return self._phases[version, phase.value]

    def fps(self, from_s: float, until_s: float) -> float:
        """Frames judged a second between two moments."""
        first, last = (bisect.bisect(self.verdicts_s, moment) for moment in (from_s, until_s))
        return (last - first) / (until_s - from_s)

    def _hear(self, delivery: Delivery) -> None:
        message = decode(self.tree.parse(delivery.topic).channel, delivery.payload)
        with self._changed:
            if isinstance(message, Score):
                self.verdicts_s.append(message.ts.timestamp())
            elif isinstance(message, ReportedRelease) and message.latest is not None:
                now = (message.latest.version, str(message.phase))
                self._phases.setdefault(now, message.ts.timestamp())
                self._changed.notify_all()


def deploy(fleet: Fleet, listener: Listener, file: Path, version: str) -> Round:
    """Roll a release out to the device and follow it to its commit."""
    fleet.story.upload(file)
    fleet.story.roll_out("discs", version, [DEVICE])
    began_s = listener.reached_s(version, Phase.DOWNLOADING)
    fetched_s = listener.reached_s(version, Phase.VERIFYING)
    committed_s = listener.reached_s(version, Phase.COMMITTED)
    time.sleep(0.5)
    took_s = fetched_s - began_s
    return Round(
        file.stat().st_size,
        took_s,
        committed_s - began_s,
        listener.fps(began_s - max(took_s, 1.0), began_s),
        listener.fps(began_s, fetched_s),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="kenpin-bench-") as name, Mosquitto(Path(name)) as broker:
        folder = Path(name)
        pictures = write_discs(folder / "pictures")
        fleet = Fleet(folder, broker)
        listener = Listener(BrokerSettings(port=broker.port))
        try:
            camera = {"kind": "folder", "path": str(pictures), "rate_hz": 1000, "loop": True}
            fleet.story.start_agents([Station(LINE, DEVICE, "discs", camera, {"kind": "none"})])
            rounds = []
            for number in range(1, options.rounds + 2):
                file = write_large_release(folder / f"{number}.kenpin", str(number))
                time.sleep(2.0)  # nothing but inspection
                rounds.append(deploy(fleet, listener, file, str(number)))
        finally:
            listener.session.stop(drain_s=0.0)
            fleet.close()
    tell(rounds[1:], as_json=options.json)  # before the first there is nothing to inspect with


def tell(rounds: list[Round], *, as_json: bool) -> None:
    if as_json:
        print(json.dumps([asdict(r) for r in rounds], indent=2))
        return
    fetched = sorted(r.fetched_s for r in rounds)
    committed_s = statistics.median(r.committed_s for r in rounds)
    before = statistics.mean(r.before_fps for r in rounds)
    meanwhile = statistics.mean(r.meanwhile_fps for r in rounds)
    print(f"{rounds[0].size_bytes / 1e6:.1f} MB fetched {len(rounds)} times: ", end="")
    print(f"median {statistics.median(fetched):.2f} s, longest {fetched[-1]:.2f} s; ", end="")
    print(f"committed after {committed_s:.2f} s")
    print(f"frames judged: {before:.1f}/s before, {meanwhile:.1f}/s meanwhile ", end="")
    print(f"({100 * (meanwhile / before - 1):+.1f} %)")


if __name__ == "__main__":
    main()
