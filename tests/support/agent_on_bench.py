"""An agent on a bench: the real loop, with camera, link and heat in the test's hands."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from pathlib import Path

from kenpin_agent.clock import SystemClock
from kenpin_agent.deployment.deployer import Deployer
from kenpin_agent.deployment.slots import Slots
from kenpin_agent.deployment.switch import Switch
from kenpin_agent.governor import GovernorSettings
from kenpin_agent.grabber import Grabber
from kenpin_agent.heat import HeatWatch
from kenpin_agent.memory import Memory
from kenpin_agent.release import Release, load_release, unpack_release
from kenpin_agent.reporting import Reporter
from kenpin_agent.runtime import Agent
from kenpin_agent.seams import Frame, Outgoing
from kenpin_agent.settings import Settings
from kenpin_agent.settings_desk import SettingsDesk
from kenpin_agent.telemetry import Vitals
from kenpin_agent.testing.heat import FakeThermometer
from kenpin_agent.testing.link import FakeLink
from kenpin_agent.watchdog import Watchdog
from kenpin_wire.errors import CameraError
from kenpin_wire.messages import Reply, Score, Verdict
from kenpin_wire.topics import Address, Channel
from support.small_release import manifest_for, part, release_files, write_zip


class Belt:
    """A camera that gives what the test puts before it."""

    def __init__(self, every_s: float = 0.01) -> None:
        self.scratched = False
        self.lost = False
        self._every_s = every_s
        self._count = 0

    def read(self) -> Frame | None:
        threading.Event().wait(self._every_s)
        if self.lost:
            raise CameraError("unplugged", where="belt")
        self._count += 1
        name = f"{self._count:06d}-{'scratch' if self.scratched else 'good'}"
        return Frame(
            part(self._count, scratched=self.scratched), self._count, SystemClock().monotonic_s(), name
        )

    def close(self) -> None:
        pass


class Bench:
    """A running agent, without a release yet.

    Attributes:
        happened: What the loop told the deployer, by name, where `deaf` keeps the deployer from hearing it.
    """

    def __init__(
        self,
        folder: Path,
        *,
        every_s: float = 0.01,
        watchdog: Watchdog | None = None,
        governor: GovernorSettings | None = None,
    ) -> None:
        clock = SystemClock()
        self.link, self.belt, self.switch = FakeLink(), Belt(every_s), Switch()
        self.thermometer = FakeThermometer(45.0)
        self.deployer = Deployer(Slots(folder), self.link, clock, self.switch, threads=1)
        self.stop = threading.Event()
        self.grabber = Grabber(lambda: self.belt, clock)
        self.happened: list[object] = []
        self._agent = Agent(
            grabber=self.grabber,
            link=self.link,
            deployer=self.deployer,
            switch=self.switch,
            desk=SettingsDesk(Settings(), Memory(folder), self.link),
            heat=HeatWatch(lambda _load: self.thermometer, governor or GovernorSettings(), clock),
            reporter=Reporter(Address("s", "l", "d")),
            vitals=Vitals(folder),
            clock=clock,
            watchdog=watchdog or Watchdog(),
            window=1,
        )
        self.thread = threading.Thread(target=self._agent.run, args=(self.stop,))
        self.thread.start()

    def close(self) -> None:
        self.stop.set()
        self.thread.join(10)

    def deaf(self) -> None:
        """What the loop tells the deployer is noted in `happened`, and the deployer does nothing."""
        self.deployer.post = self.happened.append  # type: ignore[method-assign]  # the one seam of a test's own

    def said(self, channel: Channel) -> list[Outgoing]:
        return self.link.of(channel)

    def reply(self, command: str) -> Reply | None:
        """The last one to a command."""
        found = [out.payload for out in self.said(Channel.REPLY) if out.argument == command]
        return found[-1] if found and isinstance(found[-1], Reply) else None

    def scores(self) -> list[Score]:
        return [out.payload for out in self.said(Channel.SCORE) if isinstance(out.payload, Score)]

    def verdicts(self) -> list[Verdict]:
        return [score.verdict for score in self.scores()]  # type: ignore[misc]  # a known one

    def of(self, event: type) -> object | None:
        """The first of this kind that happened."""
        return next((one for one in self.happened if isinstance(one, event)), None)


def small_release(folder: Path, version: str, *, threshold: float | None = None) -> Path:
    """A release of discs; with a threshold, one that sound golden pictures don't save: it judges wrong."""
    files = release_files()
    manifest = manifest_for(files, version=version)
    if threshold is not None:
        calibration = manifest.calibration.model_copy(update={"threshold": threshold})
        manifest = manifest.model_copy(update={"calibration": calibration})
    members = {"manifest.json": manifest.model_dump_json().encode(), **files}
    return write_zip(folder / f"discs-{version}.kenpin", members)


def loaded(folder: Path, version: str = "1", *, threshold: float | None = None) -> Release:
    """`small_release`, ready to inspect with."""
    unpack_release(small_release(folder, version, threshold=threshold), folder / f"slot-{version}")
    return load_release(folder / f"slot-{version}")


def names(events: Iterable[object]) -> list[str]:
    return [type(event).__name__ for event in events]
