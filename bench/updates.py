"""How fast a release of 5 MB reaches a whole fleet, and what that costs the controller.

    python bench/updates.py [--agents 1 10 50] [--json]

For each number of agents: the seconds from the rollout's start until the last of them has the whole file and its hash
is right, and the processor time that controller and broker took meanwhile, as a share of one core.

Needs mosquitto. Broker and controller are the real programs. The agents are many in each of a few processes, and
have no camera: link, trust (with the pinned root), fetch, blocks on disk, hash and deployment are the agent's own;
only unpacking and trying out are left out, which every device does for itself, and fifty on one machine would do
to each other. What a fetch costs a device's own inspection is measured by bench/deployment.py.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import cast

import psutil

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))  # the small release and the fleet

from kenpin_agent.clock import SystemClock
from kenpin_agent.deployment.deployer import Deployer
from kenpin_agent.deployment.events import Activated, TrialPassed
from kenpin_agent.deployment.slots import Slots
from kenpin_agent.deployment.switch import Role, Switch
from kenpin_agent.link.outbox import Outbox
from kenpin_agent.link.paho_link import PahoLink
from kenpin_agent.link.publications import Delivery
from kenpin_agent.link.session import MqttSession
from kenpin_agent.link.settings import BrokerSettings
from kenpin_agent.release import Release, read_manifest
from kenpin_agent.seams import Incoming
from kenpin_agent.trust.fetching import MqttFetch
from kenpin_agent.trust.trust import Trust, read_root
from kenpin_wire.contract import decode
from kenpin_wire.manifest import MANIFEST_FILE
from kenpin_wire.messages import DesiredRelease, Phase, ReleaseName, ReportedRelease
from kenpin_wire.topics import Address, Channel, TopicTree
from support.brokers import Mosquitto
from support.fleet import LINE, Fleet, write_large_release

A_PROCESS = 25
"""So many agents share one."""
PATIENCE_S = 300.0
SITE = "demo"


@dataclass(frozen=True)
class Round:
    """One release's way to so many agents. The processors' shares are of one core, up to the last hash."""

    agents: int
    size_bytes: int
    first_s: float
    last_s: float
    controller_cpu: float
    broker_cpu: float


# The agents ------------------------------------------------------------------------------------------------


class Untried:
    """A `Loader` that leaves out what says nothing about the way here."""

    def unpack(self, file: Path, into: Path) -> ReleaseName:
        manifest = read_manifest(file)
        into.mkdir(parents=True)
        (into / MANIFEST_FILE).write_text(manifest.model_dump_json())
        return manifest.release

    def load(self, _folder: Path) -> Release:
        return cast(Release, object())

    def prove(self, _release: Release) -> None: ...


class Carried:
    """An agent without eyes."""

    def __init__(self, folder: Path, device: str, port: int, root: bytes) -> None:
        folder.mkdir()
        clock, trust = SystemClock(), Trust(folder / "trust", root, SystemClock())
        outbox, address = Outbox(folder / "outbox.sqlite", clock), Address(SITE, LINE, device)
        self._link = PahoLink(BrokerSettings(port=port), address, outbox, clock, verifier=trust)
        trust.use(MqttFetch(self._link, clock))
        self._link.on_connect(trust.connected)
        self._link.on_message(self._hear)
        self._switch = Switch()
        self._deployer = Deployer(
            Slots(folder), self._link, clock, self._switch, threads=1, check=trust, loader=Untried()
        )
        self._link.start()
        self._deployer.start()

    def look(self) -> None:
        """What the inspection loop would do."""
        offer = self._switch.take()
        if offer is not None and offer.role is Role.TRIAL:
            self._deployer.post(Activated(offer.rev))
            self._deployer.post(TrialPassed(offer.rev))

    def _hear(self, message: Incoming) -> None:
        match message.payload:
            case DesiredRelease() as order:
                self._deployer.order(order, anew=message.anew)
            case bytes() as payload if message.channel is Channel.SET_BLOB:
                self._deployer.block_came(message.argument, payload)


def carry(port: int, folder: Path, root: Path, first: int, count: int) -> None:
    """Run agents until killed."""
    pinned = read_root(root)
    carried = [Carried(folder / name(n), name(n), port, pinned) for n in range(first, first + count)]
    while True:
        time.sleep(0.05)
        for agent in carried:
            agent.look()


def name(number: int) -> str:
    return f"agent-{number}"


# The measurement -------------------------------------------------------------------------------------------


class Listener:
    """When each agent came to which phase of which release, by its own stamp."""

    def __init__(self, port: int) -> None:
        self.phases: dict[tuple[str, str, str], float] = {}
        self._changed = threading.Condition()
        self._tree = TopicTree()
        self.session = MqttSession(BrokerSettings(port=port), client_id="bench-updates")
        self.session.on_message = self._hear
        self.session.subscribe([self._tree.filter(Channel.REPORTED_RELEASE)])
        self.session.start()

    def reached_s(self, version: str, phase: Phase, agents: int) -> list[float]:
        """When each said so, waiting for the last; in order."""

        def found() -> list[float]:
            wanted = (version, phase.value)
            return sorted(s for (_, v, p), s in self.phases.items() if (v, p) == wanted)

        with self._changed:
            if not self._changed.wait_for(lambda: len(found()) >= agents, PATIENCE_S):
                raise SystemExit(f"release {version} came to {phase.value} on {len(found())} of {agents}")
            return found()

    def _hear(self, delivery: Delivery) -> None:
        message = decode(Channel.REPORTED_RELEASE, delivery.payload)
        if not isinstance(message, ReportedRelease) or message.latest is None:
            return
        device = self._tree.parse(delivery.topic).address.device
        with self._changed:
            at = (device, message.latest.version, str(message.phase))
            self.phases.setdefault(at, message.ts.timestamp())
            self._changed.notify_all()


def measure(agents: int) -> Round:
    """A site of its own, so that no size has the other's state."""
    with tempfile.TemporaryDirectory(prefix="kenpin-bench-") as made, Mosquitto(Path(made)) as broker:
        folder = Path(made)
        fleet, listener = Fleet(folder, broker), Listener(broker.port)
        carriers: list[subprocess.Popen[bytes]] = []
        try:
            for first in range(1, agents + 1, A_PROCESS):
                count = min(A_PROCESS, agents + 1 - first)
                command = [sys.executable, __file__, "--carry", str(broker.port), folder, fleet.story.root]
                carriers.append(subprocess.Popen([*command, str(first), str(count)]))
            for number in range(1, agents + 1):
                fleet.story.wait_known(name(number))
            time.sleep(3.0)  # their first refresh of the site's metadata
            return deploy(fleet, listener, agents)
        finally:
            for carrier in carriers:
                carrier.kill()
                carrier.wait()
            listener.session.stop(drain_s=0.0)
            fleet.close()


def deploy(fleet: Fleet, listener: Listener, agents: int) -> Round:
    """Roll a release out to all at once."""
    file = write_large_release(fleet.folder / "1.kenpin", "1")
    fleet.story.upload(file)
    programs = {
        what: next(p for p in psutil.Process().children(recursive=True) if what in " ".join(p.cmdline()))
        for what in ("kenpin_controller.cli", "mosquitto")
    }
    before = {what: busy_s(program) for what, program in programs.items()}
    began_s = time.time()
    rollout = fleet.roll_out("1", waves=[{"share": 1.0}], gates={"reject_rate": None})
    fetched = listener.reached_s("1", Phase.VERIFYING, agents)
    now_s = time.time()
    cpu = {what: (busy_s(program) - before[what]) / (now_s - began_s) for what, program in programs.items()}
    ended = fleet.ended(rollout, PATIENCE_S)
    if ended["status"] != "finished":
        raise SystemExit(ended["sentence"])
    return Round(
        agents,
        file.stat().st_size,
        fetched[0] - began_s,
        fetched[-1] - began_s,
        cpu["kenpin_controller.cli"],
        cpu["mosquitto"],
    )


def busy_s(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--agents", type=int, nargs="+", default=[1, 10, 50])
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--carry", nargs=5, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.carry:
        port, folder, root, first, count = options.carry
        carry(int(port), Path(folder), Path(root), int(first), int(count))
    rounds = [measure(agents) for agents in options.agents]
    if options.json:
        print(json.dumps([asdict(r) for r in rounds], indent=2))
        return
    print("agents  MB each  first s  last s  MB/s in all  controller  broker  (of one core)")
    for r in rounds:
        rate = r.agents * r.size_bytes / r.last_s / 1e6
        print(
            f"{r.agents:6}  {r.size_bytes / 1e6:7.1f}  {r.first_s:7.2f}  {r.last_s:6.2f}  {rate:11.1f}  "
            f"{r.controller_cpu:10.0%}  {r.broker_cpu:6.0%}"
        )


if __name__ == "__main__":
    main()
