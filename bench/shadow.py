"""What a shadow costs the line that it watches: `python bench/shadow.py [--release FILE] [--json]`.

The real loop, with a camera at a given pace or one that gives a frame whenever one is wanted ("flat out"), and a
second copy of the release as the candidate. Rounds without and with the shadow alternate, so that the machine's
other work falls on both; each figure is the median of its rounds. A picture is 640 × 480. The link is a fake one:
nothing is sent. The last pace before flat out is one at which both releases together just don't keep up.

On a machine with other work the rates of two rounds differ by more than a shadow costs. "Taken" doesn't: the share of
the loop's time that went to the candidate. Flat out, that is the cost; at a pace, most of it is time nobody wanted.

    OMP_NUM_THREADS=1 python bench/shadow.py
    OMP_NUM_THREADS=1 python bench/shadow.py --release cookie-1.kenpin
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import threading
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import cv2
import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))  # the small release

from kenpin_agent.clock import SystemClock
from kenpin_agent.deployment.deployer import Deployer
from kenpin_agent.deployment.slots import Slots
from kenpin_agent.deployment.switch import Offer, Role, Switch
from kenpin_agent.governor import GovernorSettings
from kenpin_agent.grabber import Grabber
from kenpin_agent.heat import HeatWatch
from kenpin_agent.inspect import Inspection
from kenpin_agent.memory import Memory
from kenpin_agent.release import Release, load_release, unpack_release
from kenpin_agent.reporting import Reporter
from kenpin_agent.runtime import Agent
from kenpin_agent.seams import Frame, Image, Outgoing
from kenpin_agent.settings import Settings
from kenpin_agent.settings_desk import SettingsDesk
from kenpin_agent.shadow.beside import Beside
from kenpin_agent.telemetry import Vitals
from kenpin_agent.testing.heat import FakeThermometer
from kenpin_agent.testing.link import FakeLink
from kenpin_agent.watchdog import Watchdog
from kenpin_wire.messages import ShadowPolicy
from kenpin_wire.topics import Address
from support.small_release import part, write_release

ROUND_S, ROUNDS, SETTLE_S = 1.0, 12, 0.2


@dataclass(frozen=True)
class Row:
    """A pace. Rates are a second's; `late_ms` is from a frame's capture to its verdict, 95 % were faster; `taken` is
    the share of the time that the candidate worked."""

    pace: str
    alone_fps: float
    beside_fps: float
    followed_fps: float
    taken: float
    alone_late_ms: float
    beside_late_ms: float

    @property
    def cost(self) -> float:
        return 1 - self.beside_fps / self.alone_fps


class Camera:
    """Gives prepared pictures, at a pace or at once."""

    def __init__(self, pictures: list[Image], rate_hz: float | None) -> None:
        self._pictures, self._period_s = pictures, 1 / rate_hz if rate_hz else 0.0
        self._closed, self._count, self._due_s = threading.Event(), 0, time.monotonic()

    def read(self) -> Frame | None:
        self._due_s = max(self._due_s + self._period_s, time.monotonic() - self._period_s)
        if self._closed.wait(max(0.0, self._due_s - time.monotonic())):
            return None
        self._count += 1
        image = self._pictures[self._count % len(self._pictures)]
        return Frame(image, self._count, time.monotonic(), f"{self._count}")

    def close(self) -> None:
        self._closed.set()


class Counting(Reporter):
    """A reporter that notes how late each verdict was."""

    def __init__(self) -> None:
        super().__init__(Address("s", "l", "d"))
        self.late_ms: list[float] = []

    def report(self, inspection: Inspection, *, wall_s: float) -> list[Outgoing]:
        self.late_ms.append((time.monotonic() - inspection.frame.captured_s) * 1000)
        return super().report(inspection, wall_s=wall_s)


class Silent(FakeLink):
    """Keeps nothing of what is said."""

    def publish(self, message: Outgoing) -> None:
        del message


def measure(release: Release, candidate: Release, pictures: list[Image], rate_hz: float | None) -> Row:
    """One pace, with a fresh agent."""
    clock, link, switch, reporter = SystemClock(), Silent(), Switch(), Counting()
    took_s: list[float] = []
    follow = Beside.follow

    def timed(self: Beside, *args: object) -> None:
        began_s = time.monotonic()
        follow(self, *args)  # type: ignore[arg-type]  # as it was called
        took_s.append(time.monotonic() - began_s)

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        agent = Agent(
            grabber=Grabber(lambda: Camera(pictures, rate_hz), clock, lossless=rate_hz is None),
            link=link,
            deployer=Deployer(Slots(folder), link, clock, switch, threads=1),
            switch=switch,
            desk=SettingsDesk(Settings(), Memory(folder), link),
            heat=HeatWatch(lambda _load: FakeThermometer(45.0), GovernorSettings(), clock),
            reporter=reporter,
            vitals=Vitals(folder),
            clock=clock,
            watchdog=Watchdog(),
            window=1,
        )
        stop = threading.Event()
        thread = threading.Thread(target=agent.run, args=(stop,))
        Beside.follow = timed  # type: ignore[method-assign]  # to measure
        thread.start()
        switch.offer(Offer(release, Role.COMMITTED))
        rounds: dict[bool, list[tuple[float, float, float, float]]] = {False: [], True: []}
        try:
            for number in range(2 * ROUNDS):
                shadow = bool(number % 2)
                policy = ShadowPolicy(frames=1_000_000)
                switch.offer(Offer(candidate if shadow else None, Role.SHADOW, shadow=policy))
                time.sleep(SETTLE_S)
                reporter.late_ms.clear()
                took_s.clear()
                began_s = time.monotonic()
                time.sleep(ROUND_S)
                round_s, late_ms = time.monotonic() - began_s, list(reporter.late_ms)
                rates = len(late_ms) / round_s, len(took_s) / round_s, sum(took_s) / round_s
                rounds[shadow].append((*rates, float(np.quantile(late_ms, 0.95))))
        finally:
            stop.set()
            thread.join(10)
            Beside.follow = follow  # type: ignore[method-assign]
    alone, beside = (np.median(np.array(rounds[shadow]), axis=0) for shadow in (False, True))
    pace = f"{rate_hz:.0f}/s" if rate_hz else "flat out"
    return Row(pace, *(float(x) for x in (alone[0], *beside[:3], alone[3], beside[3])))


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--release", type=Path, help="a release file; else a small one, at 64 × 64")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        file = options.release or write_release(Path(name) / "discs.kenpin")
        unpack_release(file, Path(name) / "slot")
        release, candidate = (load_release(Path(name) / "slot") for _ in range(2))
    # A threshold that nothing crosses: pictures of anomalies would be measured too.
    release, candidate = (_lenient(each) for each in (release, candidate))
    pictures = [cv2.resize(part(number), (640, 480)) for number in range(16)]
    flat_out = measure(release, candidate, pictures, None)
    rows = [
        measure(release, candidate, pictures, rate_hz)
        for rate_hz in (5.0, 15.0, 30.0, round(0.7 * flat_out.alone_fps))
    ] + [flat_out]
    if options.json:
        print(json.dumps([{**asdict(row), "cost": row.cost} for row in rows]))
        return
    print(
        "   camera   alone   with shadow    cost   followed   taken   95 % of verdicts within, alone / with"
    )
    for row in rows:
        print(
            f"{row.pace:>9}{row.alone_fps:>7.1f}/s{row.beside_fps:>11.1f}/s{row.cost:>8.1%}"
            f"{row.followed_fps:>9.1f}/s{row.taken:>8.1%}{row.alone_late_ms:>17.1f} / {row.beside_late_ms:.1f} ms"
        )


def _lenient(release: Release) -> Release:
    calibration = release.manifest.calibration.model_copy(update={"threshold": 1e9})
    return replace(release, manifest=release.manifest.model_copy(update={"calibration": calibration}))


if __name__ == "__main__":
    main()
