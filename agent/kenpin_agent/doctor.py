"""`kenpin-agent doctor`: looks at everything the agent needs and says what to do about what is wrong."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from kenpin_agent.cameras import open_camera
from kenpin_agent.clock import SystemClock
from kenpin_agent.config import AgentConfig
from kenpin_agent.deployment.slots import Slots
from kenpin_agent.link.check import check_broker
from kenpin_agent.memory import Memory
from kenpin_agent.release import check_golden, load_release, unpack_release
from kenpin_agent.thermometers import open_thermometer
from kenpin_wire.errors import CameraError, KenpinError, ReleaseError

LITTLE_DISK_MB = 200.0


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at. `ok` False is to be mended."""

    what: str
    ok: bool
    found: str


def examine(config: AgentConfig) -> Iterator[Finding]:
    """Look at one thing after another, in the order in which to mend them."""
    checks: tuple[tuple[str, Callable[[AgentConfig], str]], ...] = (
        ("disk", _disk),
        ("camera", _camera),
        ("release", _release),
        ("heat", _heat),
        ("broker", _broker),
    )
    for what, check in checks:
        try:
            yield Finding(what, True, check(config))
        except KenpinError as error:
            yield Finding(what, False, str(error))
        except OSError as error:
            yield Finding(what, False, str(KenpinError.from_os(error)))


def _disk(config: AgentConfig) -> str:
    Memory(config.state_dir)
    free_mb = shutil.disk_usage(config.state_dir).free / 1e6
    if free_mb < LITTLE_DISK_MB:
        raise KenpinError(
            f"only {free_mb:.0f} MB are free", where=str(config.state_dir), remedy="Free some space."
        )
    return f"{free_mb / 1000:.1f} GB free in {config.state_dir}"


def _camera(config: AgentConfig) -> str:
    camera = open_camera(config.camera, SystemClock())
    try:
        frame = camera.read()
    finally:
        camera.close()
    if frame is None:
        raise CameraError("it gave no picture", where=config.camera.kind)
    height, width = frame.image.shape[:2]
    return f"{config.camera.kind}, {width}×{height} px, mean brightness {frame.image.mean():.0f} of 255"


def _release(config: AgentConfig) -> str:
    slots = Slots(config.state_dir)
    committed = slots.load().committed
    if committed is None and config.release is not None:
        with tempfile.TemporaryDirectory(prefix="kenpin-doctor-") as scratch:
            folder = Path(scratch) / "release"
            unpack_release(config.release, folder)
            return f"{_proven(folder, config)}; it will be installed at the first start"
    if committed is None:
        raise ReleaseError("none is installed", remedy="Push one from the controller, or set `release`.")
    return _proven(slots.slot(committed.slot), config)


def _proven(folder: Path, config: AgentConfig) -> str:
    release = load_release(folder, threads=config.inspection.threads)
    check_golden(release)
    return f"{release.label}; its {len(release.manifest.golden)} golden pictures give their scores here"


def _heat(config: AgentConfig) -> str:
    reading = open_thermometer(config.thermometer, SystemClock(), lambda: 0.0).read()
    if reading.throttle_bits & 1:
        raise KenpinError("under-voltage", where="power", remedy="Use a stronger supply and a shorter cable.")
    if reading.temperature_c is None:
        return "no temperature sensor on this machine"
    return f"{reading.temperature_c:.1f} °C, throttle bits {reading.throttle_bits:#x}"


def _broker(config: AgentConfig) -> str:
    check_broker(config.broker)
    return f"{config.broker.endpoint} answers"
