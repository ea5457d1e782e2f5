"""The demonstration, as one story: a broker, a controller, cameras; a release taught, sent and tried; defects
that come by; a threshold and a second release that take effect while the lines run.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import httpx

from kenpin_agent.link.settings import BrokerSettings
from kenpin_controller.demo.observer import Observer
from kenpin_controller.demo.plan import Station, agent_toml
from kenpin_controller.demo.processes import Programs
from kenpin_wire.errors import KenpinError
from kenpin_wire.messages import Phase

START_S = 30.0
DEPLOY_S = 60.0
SETTING_S = 5.0

Tell = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Taught:
    """A release that was made for a product."""

    product: str
    file: Path


class Story:
    """The running demonstration. `close` ends its programs.

    Args:
        folder: For everything it writes.
        broker_port: Where the broker listens on this machine.
        page_port: Where the controller shall listen.
        tell: Says one line to the person who watches.
    """

    def __init__(self, folder: Path, broker_port: int, page_port: int, tell: Tell) -> None:
        self._folder = folder
        self._broker_port = broker_port
        self._page_port = page_port
        self._tell = tell
        self._programs = Programs(folder / "logs")
        self._rest = httpx.Client(base_url=self.page, timeout=30.0)
        self.stations: list[Station] = []
        self.observer = Observer(BrokerSettings(port=broker_port))
        self.failures: list[str] = []
        """What was asked for while the lines ran and did not come about."""

    @property
    def page(self) -> str:
        """The address of the wall."""
        return f"http://127.0.0.1:{self._page_port}"

    @property
    def root(self) -> Path:
        """The site's root metadata, which its agents pin."""
        return self._folder / "root.json"

    def close(self) -> None:
        self._rest.close()
        self._programs.stop()
        self.observer.stop()

    # Scenes ----------------------------------------------------------------------------------------------

    def start_controller(self) -> None:
        """Start `kenpin serve`, which makes the site's keys, wait until it answers, and take what agents pin."""
        self._programs.start(
            "controller",
            "kenpin_controller.cli",
            "serve",
            *("--broker", f"127.0.0.1:{self._broker_port}"),
            *("--data", str(self._folder / "site")),
            *("--port", str(self._page_port)),
        )
        self._wait_for("the controller", self.healthy)
        self.root.write_bytes(self._rest.get("/api/v1/trust/root.json").raise_for_status().content)

    def start_agents(self, stations: list[Station]) -> None:
        """Start one agent a station and wait until all are online."""
        for station in stations:
            config = self._folder / f"{station.device}.toml"
            state_dir = self._folder / station.device
            config.write_text(agent_toml(station, self._broker_port, state_dir, self.root), encoding="utf-8")
            self._programs.start(station.device, "kenpin_agent.cli", "run", "--config", str(config))
            self.stations.append(station)
        for station in stations:
            if self.observer.wait(station.device, lambda heard: heard.online, START_S) is None:
                self._programs.check()
                raise KenpinError(f"it did not come online within {START_S:g} s", where=station.device)
            self.wait_known(station.device)

    def wait_known(self, device: str) -> None:
        """Wait until the controller has heard of a device."""
        self._wait_for(
            device, lambda: any(known["id"] == device for known in self._ask("GET", "/api/v1/devices"))
        )

    def send(self, taught: Taught) -> None:
        """Upload a release, roll it out to the lines that make its product, and wait until all run it."""
        added = self.upload(taught.file)
        devices = [s.device for s in self.stations if s.product == taught.product]
        self.roll_out(added["name"], added["version"], devices)
        began_s = time.monotonic()
        label = f"{added['name']} {added['version']}"
        failed_before = len(self.failures)
        for device in devices:
            ended = self.observer.wait(
                device,
                lambda heard: (
                    heard.release is not None
                    and heard.release.sha256 == added["sha256"]
                    and heard.release.phase not in _UNDER_WAY
                ),
                DEPLOY_S,
            )
            said = self.observer.devices[device].release
            if ended is None or said is None or said.phase != Phase.COMMITTED:
                reason = said.reason if said and said.reason else "it is still under way"
                self._failed(f"release {label} on {device}: {reason}")
            else:
                self._wait_for(device, partial(self._runs, device, f"{added['name']}-{added['version']}"))
        if len(self.failures) == failed_before:
            self._tell(f"{label} runs on {', '.join(devices)} after {time.monotonic() - began_s:.1f} s")

    def upload(self, file: Path) -> dict[str, Any]:
        """Give a release to the controller; returns it as the controller tells it."""
        return dict(self._ask("POST", "/api/v1/releases", content=file.read_bytes()))

    def roll_out(self, name: str, version: str, devices: list[str]) -> None:
        """Have devices fetch a release; does not wait for them."""
        body = {"release": {"name": name, "version": version}, "devices": devices}
        self._ask("POST", "/api/v1/rollouts", json=body)

    def move_threshold(self, device: str, false_rejects: float) -> None:
        """Set a camera's threshold as a false-reject rate, and say how long it took to be in force."""
        began_s = time.monotonic()
        applied = self.set_threshold(device, false_rejects=false_rejects)
        took_s = time.monotonic() - began_s
        config = self.observer.devices[device].config
        if not applied or config is None:
            self._failed(f"threshold of {device}: {config.error if config else 'no answer'}")
        else:
            self._tell(
                f"threshold of {device} set to {100 * false_rejects:g} % false rejects "
                f"({config.threshold:.3g}), in force after {1000 * took_s:.0f} ms"
            )

    def set_threshold(self, device: str, **wish: float) -> bool:
        """Set a camera's threshold (`value` or `false_rejects`); returns whether it has reported it applied."""
        rev = self._ask("PUT", f"/api/v1/devices/{device}/threshold", json=wish)["rev"]
        self.observer.wait(
            device, lambda heard: heard.config is not None and heard.config.rev >= rev, SETTING_S
        )
        config = self.observer.devices[device].config
        return config is not None and config.rev >= rev and config.applied

    def command(self, device: str, verb: str) -> dict[str, Any]:
        """Send a command and wait for its end; returns it as the controller tells it."""
        sent = self._ask("POST", f"/api/v1/devices/{device}/commands/{verb}")
        ended = self._ask(
            "GET", f"/api/v1/devices/{device}/commands/{sent['id']}", params={"wait_s": SETTING_S}
        )
        return dict(ended)

    def inspection(self, device: str, on: bool) -> None:
        """Start or stop judging on a device, and wait until it has."""
        rev = self._ask("PUT", f"/api/v1/devices/{device}/inspection", json={"on": on})["rev"]
        if not self.observer.wait(device, lambda h: h.config is not None and h.config.rev >= rev, SETTING_S):
            self._failed(f"inspection of {device}: no answer")

    def watch(self, seconds: float | None) -> None:
        """Let the lines run; None until interrupted. Raises if one of the programs ends by itself."""
        until_s = time.monotonic() + seconds if seconds is not None else float("inf")
        while time.monotonic() < until_s:
            self._programs.check()
            time.sleep(min(0.5, max(until_s - time.monotonic(), 0.0)))

    def device(self, device: str) -> dict[str, Any]:
        """A device as the controller tells it."""
        return dict(self._ask("GET", f"/api/v1/devices/{device}"))

    def events(self, device: str) -> list[dict[str, Any]]:
        """All anomaly events of a device that the store has, newest first."""
        events: list[dict[str, Any]] = []
        page: dict[str, Any] = {"device": device, "limit": 500}
        while found := self._ask("GET", "/api/v1/events", params=page):
            events += found
            page |= {"before_s": found[-1]["time_s"], "before_id": found[-1]["id"]}
        return events

    def seconds(self, device: str) -> list[dict[str, Any]]:
        """A device's camera-seconds of the last hour that the store has, oldest first."""
        return list(self._ask("GET", f"/api/v1/devices/{device}/scores"))

    # Behind the scenes -----------------------------------------------------------------------------------

    def _failed(self, what: str) -> None:
        self.failures.append(what)
        self._tell(f"[red]failed:[/] {what}")

    def healthy(self) -> bool:
        """Whether the controller answers and has its broker."""
        try:
            health = self._rest.get("/healthz", timeout=1.0)
        except httpx.TransportError:
            return False
        return health.status_code == httpx.codes.OK and not health.json()["broker"]

    def _wait_for(self, what: str, ready: Callable[[], bool]) -> None:
        deadline = time.monotonic() + START_S
        while not ready():
            self._programs.check()
            if time.monotonic() > deadline:
                raise KenpinError(f"{what} was not ready within {START_S:g} s", where="demo")
            time.sleep(0.1)

    def _runs(self, device: str, label: str) -> bool:
        return bool(self.device(device)["release"] == label)

    def _ask(self, method: str, path: str, **content: Any) -> Any:
        answer = self._rest.request(method, path, **content)
        if answer.is_error:
            said = answer.json()
            raise KenpinError(
                said.get("error", answer.text), where=said.get("where", path), remedy=said.get("remedy", "")
            )
        return answer.json()


_UNDER_WAY = (Phase.DOWNLOADING, Phase.VERIFYING, Phase.STAGED, Phase.ACTIVATING, Phase.TRIAL)
