"""A device, its inspection loop and its controller in one thread, on a simulated disk, to be killed at any point."""

from __future__ import annotations

import hashlib
import json
import random
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from kenpin_agent.deployment.deployer import Deployer
from kenpin_agent.deployment.events import (
    Activated,
    ShadowDone,
    ShadowFailed,
    TrialFailed,
    TrialPassed,
)
from kenpin_agent.deployment.slots import Slots
from kenpin_agent.deployment.state import RESTING
from kenpin_agent.deployment.switch import Offer, Role, Switch
from kenpin_agent.release import Release, SlotDamagedError
from kenpin_agent.seams import Outgoing
from kenpin_agent.testing.clock import FakeClock
from kenpin_agent.testing.link import FakeLink
from kenpin_wire.blocks import Block, pack_block
from kenpin_wire.errors import ReleaseError
from kenpin_wire.manifest import MANIFEST_FILE
from kenpin_wire.messages import BlockRequest, Decision, DesiredRelease, Phase, Policy, ReleaseName
from support.sim_disk import Fault, Faults, Killed, SimDisk

FOLDER = Path("/device")
BLOCK = 64
_MOST_STEPS = 3000


@dataclass(frozen=True)
class File:
    """A release's file: what it is called, and how it fares on the device."""

    version: str
    golden: bool = True
    in_shadow: bool = True
    in_trial: bool = True
    deadly: bool = False
    """Whether the program dies of the first frame that it judges."""

    @property
    def data(self) -> bytes:
        body = {"version": self.version, "golden": self.golden}
        return json.dumps(body).encode() + random.Random(self.version).randbytes(9 * BLOCK)

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.data).hexdigest()

    def order(self, rev: int, policy: Policy, decision: Decision = Decision.INSTALL) -> DesiredRelease:
        return DesiredRelease(
            rev=rev,
            release=ReleaseName(name="part", version=self.version),
            sha256=self.sha256,
            size=len(self.data),
            block_size=BLOCK,
            policy=policy,
            decision=decision,
        )

    @property
    def good(self) -> bool:
        return self.golden and self.in_shadow and self.in_trial and not self.deadly


@dataclass
class SimRelease:
    """What the loop runs: where it lies, and which it is."""

    folder: Path
    version: str
    golden: bool


class SimLoader:
    """`deployment.loader.Loader` for `File`s: a manifest with the hash of the one other file."""

    def __init__(self, disk: SimDisk) -> None:
        self._disk = disk

    def unpack(self, file: Path, into: Path) -> ReleaseName:
        data, beside = self._disk.read(file), into.with_name(f".{into.name}.new")
        body = json.JSONDecoder().raw_decode(data.decode("latin-1"))[0]
        self._disk.remove_tree(beside)
        files = {"head": data, MANIFEST_FILE: json.dumps(body | {"head": _sha256(data)}).encode()}
        for name, content in files.items():
            self._disk.write(beside / name, content)
            self._disk.sync(beside / name)
        self._disk.sync_folder(beside)
        self._disk.replace(beside, into)
        self._disk.sync_folder(into.parent)
        return ReleaseName(name="part", version=body["version"])

    def load(self, folder: Path) -> Release:
        try:
            manifest = json.loads(self._disk.read(folder / MANIFEST_FILE))
            if _sha256(self._disk.read(folder / "head")) != manifest["head"]:
                raise SlotDamagedError("head was altered", where=str(folder))
        except (OSError, ValueError) as error:
            raise SlotDamagedError(f"cannot be read ({error})", where=str(folder)) from None
        return cast(Release, SimRelease(folder, manifest["version"], manifest["golden"]))

    def prove(self, release: Release) -> None:
        if not cast(Any, release).golden:
            raise ReleaseError("golden picture 1 scores 3, not 2")


class _Switch(Switch):
    def __init__(self, faults: Faults) -> None:
        super().__init__()
        self._faults = faults

    def offer(self, offer: Offer) -> None:
        self._faults.point()
        super().offer(offer)
        self._faults.point()


class _Link(FakeLink):
    def __init__(self, faults: Faults) -> None:
        super().__init__()
        self._faults = faults

    def publish(self, message: Outgoing) -> None:
        self._faults.point()
        super().publish(message)
        self._faults.point()


@dataclass
class Scenario:
    """What is asked of a device.

    Attributes:
        before: Releases that were committed there, the last one runs.
        file: The one that is ordered.
        cancelled: Whether the operator cancels it as soon as it waits.
    """

    name: str
    before: list[File]
    file: File
    policy: Policy = field(default_factory=Policy)
    cancelled: bool = False


class SimDevice:
    """Runs a scenario to its end, through whatever faults strike.

    Attributes:
        proven: sha256 of what stood its trial, and so may run.
        restarts: How often the program began anew.
        deaths: How often it died of a release.
    """

    def __init__(self, scenario: Scenario, disk: SimDisk, proven: set[str]) -> None:
        self.scenario = scenario
        self.disk = disk
        self.faults = disk.faults
        self.proven = set(proven)
        self.restarts = -1
        self.deaths = 0
        self.blocks_sent = 0
        rev = len(scenario.before) + 1
        self._desired = scenario.file.order(rev, scenario.policy)
        self._files = {file.sha256: file for file in [*scenario.before, scenario.file]}
        self.deployer: Deployer
        self.runs: SimRelease | None = None
        self._begin()

    def run(self) -> None:
        """Until nothing is under way any more.

        Raises:
            AssertionError: if that does not come about.
        """
        idle = 0
        for _ in range(_MOST_STEPS):
            try:
                busy = self._step()
            except Killed:
                self._begin()
                continue
            idle = 0 if busy else idle + 1
            if idle > 8 and self.deployer.state.phase in RESTING and self.deployer._stored:
                return
        raise AssertionError(f"no end: {self.deployer.state}")

    def _begin(self) -> None:
        while True:
            self.restarts += 1
            if self.faults.power_went:
                self.disk.cut_power()
            self.faults.revive()
            try:
                self._start()
            except (Killed, OSError):  # a start that fails is followed by another
                continue
            return

    def _start(self) -> None:
        self._clock = FakeClock()
        self._link, self._switch = _Link(self.faults), _Switch(self.faults)
        self._link.start()
        self._read, self._trial, self._shadow = 0, None, None
        self.deployer = Deployer(
            Slots(FOLDER, self.disk),
            self._link,
            self._clock,
            self._switch,
            threads=1,
            loader=SimLoader(self.disk),
        )
        self.runs = cast("SimRelease | None", self.deployer.load_committed())
        self._see_what_runs()
        self.deployer.order(self._desired)  # the broker keeps it

    def _see_what_runs(self) -> None:
        committed = self.deployer.state.committed
        assert (committed is None) == (self.runs is None)
        if committed is not None and self.runs is not None:
            assert committed.sha256 in self.proven
            assert self.runs.version == committed.release.version

    def _step(self) -> bool:
        before = (self.deployer.state, len(self._link.published))
        self.deployer.step()
        self._decide()
        moved = self._serve() | self._loop()
        moved |= before != (self.deployer.state, len(self._link.published))
        self._clock.advance(0.01 if moved else 0.6)
        return moved

    def _decide(self) -> None:
        """The controller, or the person in front of it."""
        waits = self.deployer.state.phase in (Phase.STAGED, Phase.SHADOWING)
        decision = Decision.CANCEL if self.scenario.cancelled else Decision.ACTIVATE
        staged = self.deployer.state.phase is Phase.STAGED
        if waits and (staged or self.scenario.cancelled) and self._desired.decision == Decision.INSTALL:
            self._desired = self._desired.model_copy(
                update={"rev": self._desired.rev + 1, "decision": decision}
            )
            self.deployer.order(self._desired)

    def _serve(self) -> bool:
        new, self._read = self._link.published[self._read :], len(self._link.published)
        for message in new:
            request = message.payload
            if isinstance(request, BlockRequest):
                data = self._files[request.sha256].data
                for index in range(request.start, request.start + request.count):
                    chunk = data[index * request.block_size :][: request.block_size]
                    self.blocks_sent += 1
                    self.deployer.block_came(request.sha256, pack_block(Block(index, chunk)))
        return bool(new)

    def _loop(self) -> bool:
        """The inspection, between two frames and in the next ones."""
        offer = self._switch.take()
        self.faults.point()
        if offer is None:
            return self._judge()
        if offer.role is Role.SHADOW:
            self._shadow = offer if offer.release is not None else None
        else:
            self.runs = cast("SimRelease | None", offer.release)
            self._shadow, self._trial = None, offer if offer.role is Role.TRIAL else None
            if self._trial:
                self.deployer.post(Activated(offer.rev))
        return True

    def _judge(self) -> bool:
        offer = self._trial or self._shadow
        if offer is None:
            return False
        version = cast(Any, offer.release).version
        file = next(file for file in self._files.values() if file.version == version)
        if file.deadly:
            self.deaths += 1
            raise Killed
        if self._trial:
            if file.in_trial:
                self.proven.add(file.sha256)
            self.deployer.post(
                TrialPassed(offer.rev) if file.in_trial else TrialFailed("it raised", offer.rev)
            )
        else:
            self.deployer.post(
                ShadowDone(offer.rev) if file.in_shadow else ShadowFailed("it raised", offer.rev)
            )
        self._trial = self._shadow = None
        self.faults.point()
        return True


def prepared(scenario: Scenario) -> tuple[SimDisk, set[str]]:
    """The disk of a device to which all that came before has happened, and what stood its trial there."""
    disk, proven = SimDisk(Faults(), random.Random(0)), set[str]()
    for number, file in enumerate(scenario.before):
        device = SimDevice(Scenario("before", scenario.before[:number], file), disk, proven)
        device.run()
        assert device.deployer.state.phase is Phase.COMMITTED
        proven = device.proven
    return disk, proven


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


__all__ = ["BLOCK", "FOLDER", "Fault", "Faults", "File", "Scenario", "SimDevice", "SimDisk", "prepared"]
