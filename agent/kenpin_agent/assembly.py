"""Puts an agent together from its configuration: the one place that names all the real parts."""

from __future__ import annotations

import fcntl
import hashlib
import logging
import shutil
import threading
from pathlib import Path
from typing import IO

from kenpin_agent import __version__
from kenpin_agent.cameras import open_camera
from kenpin_agent.cameras.config import FolderConfig
from kenpin_agent.clock import SystemClock
from kenpin_agent.config import AgentConfig
from kenpin_agent.deployment.deployer import Deployer
from kenpin_agent.deployment.slots import Slots
from kenpin_agent.deployment.state import RESTING, State
from kenpin_agent.deployment.switch import Switch
from kenpin_agent.governor import GovernorSettings
from kenpin_agent.grabber import Grabber
from kenpin_agent.heap import one_heap
from kenpin_agent.heat import HeatWatch
from kenpin_agent.link.log_handler import LinkLogHandler
from kenpin_agent.link.outbox import Outbox
from kenpin_agent.link.paho_link import PahoLink
from kenpin_agent.memory import Memory
from kenpin_agent.release import read_manifest
from kenpin_agent.reporting import Reporter
from kenpin_agent.runtime import Agent
from kenpin_agent.seams import Clock
from kenpin_agent.settings import Settings
from kenpin_agent.settings_desk import SettingsDesk
from kenpin_agent.telemetry import Vitals
from kenpin_agent.thermometers import open_thermometer, settings_for_here
from kenpin_agent.trust.fetching import MqttFetch, WebFetch
from kenpin_agent.trust.trust import Trust, read_root
from kenpin_agent.watchdog import Watchdog
from kenpin_wire.errors import ConfigError, ReleaseError
from kenpin_wire.messages import DesiredRelease, Phase

log = logging.getLogger(__name__)


def run_agent(config: AgentConfig, stop: threading.Event) -> None:
    """Run a device until `stop` is set.

    Raises:
        ConfigError: if the state folder or the pinned root cannot be used, or another agent uses that folder.
        ReleaseError: if the release that the configuration names is none.
    """
    one_heap()
    memory = Memory(config.state_dir)
    with _only_one(config.state_dir):
        agent = _assemble(config, memory)
        log.info("kenpin-agent %s, %s: starting", __version__, config.device)
        agent.run(stop)
        log.info("stopped")


def _assemble(config: AgentConfig, memory: Memory) -> Agent:
    clock = SystemClock()
    boot = memory.next_boot()
    trust = _trust(config, clock)
    link = PahoLink(
        config.broker,
        config.address,
        Outbox(config.state_dir / "outbox.sqlite", clock),
        clock,
        boot=boot,
        agent_version=__version__,
        verifier=trust,
    )
    logging.getLogger().addHandler(LinkLogHandler(link, clock))
    if trust is not None:
        url = config.trust.url
        trust.use(MqttFetch(link, clock) if url is None else WebFetch(url, clock))
        link.on_connect(trust.connected)
    own = config.inspection
    switch = Switch()
    deployer = Deployer(
        Slots(config.state_dir),
        link,
        clock,
        switch,
        threads=own.threads,
        check=trust,
        reference_s=trust.reference_s if trust else None,
    )
    if config.release is not None:
        _offer_file(config.release, deployer)
    governor = settings_for_here(
        GovernorSettings(limit_c=config.governor.limit_c), own.threads, config.thermometer
    )
    return Agent(
        grabber=Grabber(
            lambda: open_camera(config.camera, clock),
            clock,
            lossless=isinstance(config.camera, FolderConfig) and config.camera.lossless,
        ),
        link=link,
        deployer=deployer,
        switch=switch,
        desk=SettingsDesk(Settings(heatmap_every=own.heatmap_every, roi=own.roi), memory, link),
        heat=HeatWatch(lambda load: open_thermometer(config.thermometer, clock, load), governor, clock),
        reporter=Reporter(config.address),
        vitals=Vitals(config.state_dir),
        clock=clock,
        watchdog=Watchdog(),
        window=config.window,
    )


def _trust(config: AgentConfig, clock: Clock) -> Trust | None:
    if config.trust.root is not None:
        return Trust(config.state_dir / "trust", read_root(config.trust.root), clock)
    log.warning(
        "no root is pinned (trust.root): whoever can publish to this device can set it and install on it"
    )
    return None


def _offer_file(file: Path, deployer: Deployer) -> None:
    """Install the release that the configuration names, unless a controller's is committed or on its way, or it
    runs already.

    Raises:
        ReleaseError: if it cannot be read and there is no other to go on with.
    """
    deployer.load_committed()  # first, so that one that is damaged is installed anew
    committed, order = deployer.state.committed, deployer.state.order
    if committed is not None and committed.rev > 0:
        return
    if order is not None and order.rev > 0 and deployer.state.phase not in RESTING:
        return
    try:
        manifest = read_manifest(file)
        with file.open("rb") as content:
            sha256 = hashlib.file_digest(content, "sha256").hexdigest()
    except ReleaseError as error:
        if committed is None:
            raise
        log.warning("%s Going on with %s.", error, committed.release)
        return
    if committed is not None and committed.sha256 == sha256:
        return
    if committed is not None and (why := _failed_here(deployer.state, sha256)):
        log.warning("%s failed on this device before (%s). Going on with %s.", file, why, committed.release)
        return
    wish = DesiredRelease(rev=0, release=manifest.release, sha256=sha256, size=file.stat().st_size)
    deployer.install_file(wish, lambda blob: shutil.copyfile(file, blob))


def _failed_here(state: State, sha256: str) -> str:
    """Why a file is not to be tried at each start again; empty if it may be."""
    order, ends = state.order, (Phase.REJECTED, Phase.ROLLED_BACK)
    if order is not None and order.sha256 == sha256 and state.phase in ends:
        return state.reason
    return state.quarantine.get(sha256, "")


class _only_one:  # noqa: N801  a context manager reads as a verb
    """Holds the state folder for this process, so that two agents never write the same slots."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._file: IO[bytes] | None = None

    def __enter__(self) -> None:
        self._file = (self._folder / "lock").open("wb")
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ConfigError(
                "another agent runs with this state folder",
                where=str(self._folder),
                remedy="Stop it first, or give each device a `state_dir` of its own.",
            ) from None

    def __exit__(self, *_: object) -> None:
        assert self._file is not None
        self._file.close()
