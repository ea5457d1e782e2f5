"""Thermometers over real files and real programs, and none that raises."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import TypeAdapter, ValidationError

from kenpin_agent import thermometers
from kenpin_agent.governor import UNKNOWN_BOARD, GovernorSettings
from kenpin_agent.seams import HeatReading
from kenpin_agent.testing.clock import FakeClock
from kenpin_agent.testing.heat import FakeThermometer
from kenpin_agent.thermometers import (
    AutoConfig,
    BoardThermometer,
    NoConfig,
    SimulatedConfig,
    ThermometerConfig,
    open_thermometer,
    settings_for_here,
)

CONFIG: TypeAdapter[object] = TypeAdapter(ThermometerConfig)


@pytest.fixture
def sys_folder(tmp_path: Path) -> Path:
    for i, (kind, raw) in enumerate([("gpu-thermal", "90000"), ("cpu-thermal", "48312")]):
        zone = tmp_path / f"sys/class/thermal/thermal_zone{i}"
        zone.mkdir(parents=True)
        (zone / "type").write_text(f"{kind}\n")
        (zone / "temp").write_text(f"{raw}\n")
    return tmp_path / "sys"


def program(folder: Path, text: str) -> str:
    file = folder / "vcgencmd"
    file.write_text(f"#!/bin/sh\necho asked >> {folder}/asked\n{text}\n")
    file.chmod(0o755)
    return str(file)


def test_the_processors_zone_is_read_and_not_another(sys_folder):
    assert BoardThermometer(FakeClock(), sys_folder, "no-such-program").read() == HeatReading(48.312, 0)


def test_a_zone_that_cannot_be_read_is_no_sensor(sys_folder, monkeypatch):
    monkeypatch.setattr(thermometers.psutil, "sensors_temperatures", dict, raising=False)
    for file in sys_folder.glob("class/thermal/*/temp"):
        file.write_text("")
    assert BoardThermometer(FakeClock(), sys_folder, "no-such-program").read() == HeatReading(None, 0)


def test_vcgencmd_is_asked_for_the_bits_but_not_at_every_reading(sys_folder, tmp_path):
    clock = FakeClock()
    thermometer = BoardThermometer(clock, sys_folder, program(tmp_path, "echo throttled=0x50005"))
    assert [thermometer.read().throttle_bits for _ in range(5)] == [0x50005] * 5
    assert (tmp_path / "asked").read_text().count("asked") == 1
    clock.advance(thermometers.BITS_EVERY_S)
    thermometer.read()
    assert (tmp_path / "asked").read_text().count("asked") == 2


@pytest.mark.parametrize("does", ["exit 1", "echo nonsense", "exec sleep 5"])
def test_a_vcgencmd_that_fails_talks_nonsense_or_hangs_says_nothing(sys_folder, tmp_path, does):
    thermometer = BoardThermometer(FakeClock(), sys_folder, program(tmp_path, does))
    assert thermometer.read() == HeatReading(48.312, 0)


def test_the_kernels_file_is_preferred_to_starting_a_program(sys_folder, tmp_path):
    firmware = sys_folder / "devices/platform/soc/soc:firmware"
    firmware.mkdir(parents=True)
    (firmware / "get_throttled").write_text("50005\n")
    thermometer = BoardThermometer(FakeClock(), sys_folder, program(tmp_path, "echo throttled=0x0"))
    assert thermometer.read().throttle_bits == 0x50005
    assert not (tmp_path / "asked").exists()


def test_this_machine_can_be_asked_whatever_it_has():
    reading = open_thermometer(AutoConfig(), FakeClock(), lambda: 0.0).read()
    assert reading.temperature_c is None or -40 < reading.temperature_c < 125


def test_the_simulated_board_feels_the_load_and_its_fan():
    clock = FakeClock()
    hot = open_thermometer(SimulatedConfig(speed=10), clock, lambda: 1.0)
    fanned = open_thermometer(SimulatedConfig(speed=10, fan=True), clock, lambda: 1.0)
    idle = open_thermometer(SimulatedConfig(speed=10), clock, lambda: 0.0)
    clock.advance(60)
    readings = [thermometer.read().temperature_c for thermometer in (fanned, idle, hot)]
    assert None not in readings
    assert readings == sorted(readings)
    assert readings[2] > 80


def test_kind_none_never_has_a_reading():
    assert open_thermometer(NoConfig(), FakeClock(), lambda: 1.0).read() == HeatReading(None)


@pytest.mark.parametrize("bad", [{"kind": "thermocouple"}, {}, {"kind": "auto", "sensor": 1}])
def test_an_unknown_kind_or_key_is_refused(bad):
    with pytest.raises(ValidationError):
        CONFIG.validate_python(bad)


@pytest.mark.parametrize(
    ("model", "name", "limit_c", "soft_c"),
    [
        ("Raspberry Pi 5 Model B Rev 1.0\0", "Raspberry Pi 5", 80.0, None),
        ("Raspberry Pi 4 Model B Rev 1.4\0", "Raspberry Pi 4", 80.0, None),
        ("Raspberry Pi 3 Model B Plus Rev 1.3\0", "Raspberry Pi 3 Model B Plus", 80.0, 60.0),
        ("Raspberry Pi 3 Model B Rev 1.2\0", "Raspberry Pi 3", 80.0, None),
        ("Raspberry Pi 9\0", "Raspberry Pi", 80.0, None),
        ("Some Board", UNKNOWN_BOARD.name, UNKNOWN_BOARD.limit_c, None),
    ],
)
def test_the_board_is_known_by_its_device_tree(tmp_path, model, name, limit_c, soft_c):
    file = tmp_path / "model"
    file.write_text(model)
    board = settings_for_here(GovernorSettings(), 4, model_file=file).board
    assert (board.name, board.limit_c, board.soft_limit_c) == (name, limit_c, soft_c)
    assert board.is_pi == name.startswith("Raspberry Pi")


def test_a_machine_without_a_device_tree_is_an_unknown_board(tmp_path):
    settings = settings_for_here(GovernorSettings(limit_c=70), 3, model_file=tmp_path / "none")
    assert (settings.board, settings.threads, settings.target_c) == (UNKNOWN_BOARD, 3, 69)


def test_kind_none_expects_no_sensor_even_on_a_pi(tmp_path):
    file = tmp_path / "model"
    file.write_text("Raspberry Pi 5 Model B Rev 1.0\0")
    assert not settings_for_here(GovernorSettings(), 4, NoConfig(), file).board.is_pi
    assert settings_for_here(GovernorSettings(), 4, SimulatedConfig(), file).board.name == "Raspberry Pi 3"


def test_the_fake_says_what_it_is_told():
    thermometer = FakeThermometer(50.0)
    thermometer.reading = HeatReading(None, 1)
    assert thermometer.read() == HeatReading(None, 1)
