"""Thermometers: how the board's temperature and its firmware's complaints are read.

A thermometer never raises: what cannot be read is `HeatReading(None)`, and the governor knows what to do
then.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Literal

import psutil
from pydantic import BaseModel, ConfigDict, Field, FiniteFloat

from kenpin_agent.governor import UNKNOWN_BOARD, GovernorSettings, board_for
from kenpin_agent.plant import SimulatedBoard
from kenpin_agent.seams import Clock, HeatReading, Thermometer


class _Config(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class AutoConfig(_Config):
    """Whatever sensor this machine has, and a Pi's firmware."""

    kind: Literal["auto"] = "auto"


class SimulatedConfig(_Config):
    """A board that is heated by the work this agent does, for demonstrations and tests."""

    kind: Literal["simulated"] = "simulated"
    ambient_c: Annotated[FiniteFloat, Field(ge=-20, le=60)] = 25.0
    resistance_k_per_w: Annotated[FiniteFloat, Field(ge=4, le=60)] = 24.0
    """From the die to the room, without a fan; a bare Pi 3 has about 32."""
    fan: bool = False
    """A fan leaves about a third of the resistance."""
    speed: Annotated[FiniteFloat, Field(ge=1, le=60)] = 1.0
    """How much faster than real it heats, so that a short demonstration shows it."""


class NoConfig(_Config):
    """No thermometer: the heat is not governed. For a machine whose sensor is not to be believed."""

    kind: Literal["none"] = "none"


_AUTO = AutoConfig()

ThermometerConfig = Annotated[AutoConfig | SimulatedConfig | NoConfig, Field(discriminator="kind")]


def open_thermometer(
    config: AutoConfig | SimulatedConfig | NoConfig, clock: Clock, load: Callable[[], float]
) -> Thermometer:
    """The thermometer that `config` asks for. Never raises.

    Args:
        clock: For how often the firmware is asked, and for the simulation's time.
        load: The work that this agent does now, as a share of full work; only the simulated board feels it.
    """
    match config:
        case AutoConfig():
            return BoardThermometer(clock)
        case SimulatedConfig():
            return SimulatedThermometer(config, clock, load)
        case NoConfig():
            return NoThermometer()


def settings_for_here(
    settings: GovernorSettings,
    threads: int,
    thermometer: AutoConfig | SimulatedConfig | NoConfig = _AUTO,
    model_file: Path = Path("/proc/device-tree/model"),
) -> GovernorSettings:
    """`settings` with `threads`, and with the board that `thermometer` looks at, unless one was named.

    That is this machine, the simulated board, or, for kind `none`, a board of which no sensor is expected.
    """
    update: dict[str, object] = {"threads": threads}
    if "board" not in settings.model_fields_set:
        match thermometer:
            case AutoConfig():
                update["board"] = board_for(_text(model_file))
            case SimulatedConfig():
                update["board"] = board_for(_SIMULATED_BOARD)
            case NoConfig():
                update["board"] = UNKNOWN_BOARD
    return settings.model_copy(update=update)


class BoardThermometer:
    """The processor's sensor through psutil or `/sys/class/thermal`, and a Pi's throttle bits.

    The bits come from the kernel's file where there is one, else from `vcgencmd`, which is asked no more than
    every `BITS_EVERY_S` because it starts a program.
    """

    def __init__(self, clock: Clock, sys: Path = Path("/sys"), vcgencmd: str = "vcgencmd") -> None:
        self._clock = clock
        self._sys = sys
        self._vcgencmd = shutil.which(vcgencmd)
        self._bits = 0
        self._bits_s: float | None = None

    def read(self) -> HeatReading:
        return HeatReading(self._temperature_c(), self._throttle_bits())

    def _temperature_c(self) -> float | None:
        zones = [
            (_text(zone / "type"), _text(zone / "temp"))
            for zone in sorted(self._sys.glob("class/thermal/thermal_zone*"))
        ]
        known = {kind: int(raw) / 1000.0 for kind, raw in zones if re.fullmatch(r"-?\d+", raw)}
        for kind in _PROCESSOR_SENSORS:
            if kind in known:
                return known[kind]
        return _from_psutil()

    def _throttle_bits(self) -> int:
        now_s = self._clock.monotonic_s()
        if self._bits_s is None or now_s - self._bits_s >= BITS_EVERY_S:
            self._bits_s = now_s
            self._bits = self._ask_firmware()
        return self._bits

    def _ask_firmware(self) -> int:
        for file in self._sys.glob("devices/platform/soc*/*firmware/get_throttled"):
            if (bits := _hex(_text(file))) is not None:
                return bits
        if self._vcgencmd is None:
            return 0
        try:
            said = subprocess.run(
                [self._vcgencmd, "get_throttled"], capture_output=True, text=True, timeout=1.0, check=False
            ).stdout
        except (OSError, subprocess.SubprocessError):
            return 0
        return _hex(said.strip().removeprefix("throttled=")) or 0


class SimulatedThermometer:
    """Reads a `SimulatedBoard` that feels this agent's work, in half-degree steps as a Pi's sensor has."""

    def __init__(self, config: SimulatedConfig, clock: Clock, load: Callable[[], float]) -> None:
        fan = 1.0 / 3.0 if config.fan else 1.0
        self.board = SimulatedBoard(config.resistance_k_per_w * fan, config.ambient_c)
        self._speed = config.speed
        self._clock = clock
        self._load = load
        self._last_s = clock.monotonic_s()

    def read(self) -> HeatReading:
        now_s = self._clock.monotonic_s()
        dt_s, self._last_s = now_s - self._last_s, now_s
        if dt_s > 0:
            self.board.advance(self._load(), min(dt_s * self._speed, 600.0))
        return HeatReading(round(self.board.temperature_c * 2) / 2, self.board.throttle_bits)


class NoThermometer:
    """Kind `none`: there is never a reading."""

    def read(self) -> HeatReading:
        return HeatReading(None)


BITS_EVERY_S = 5.0

_SIMULATED_BOARD = "Raspberry Pi 3"  # whose watts `SimulatedBoard` draws unless told otherwise

_PROCESSOR_SENSORS = (
    "cpu-thermal",
    "cpu_thermal",
    "bcm2835_thermal",
    "x86_pkg_temp",
    "soc-thermal",
    "soc_thermal",
)
_PSUTIL_SENSORS = ("cpu_thermal", "coretemp", "k10temp", "zenpower", "acpitz")


def _from_psutil() -> float | None:
    try:
        sensors = psutil.sensors_temperatures()
    except (AttributeError, OSError, ValueError):  # psutil has none on macOS and Windows
        return None
    for name in _PSUTIL_SENSORS:
        if found := [entry.current for entry in sensors.get(name, []) if entry.current is not None]:
            return float(max(found))
    return None


def _text(file: Path) -> str:
    try:
        return file.read_text(errors="replace").strip("\0 \n")
    except OSError:
        return ""


def _hex(text: str) -> int | None:
    try:
        return int(text, 16)
    except ValueError:
        return None
