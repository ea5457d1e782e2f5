"""The governor on the simulated board: how hot, how fast, how steady, and what it learns."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise

import pytest

from kenpin_agent.governor import GovernorSettings, GovernorState, allowance, board_for, step
from kenpin_agent.seams import Allowance, HeatReading
from kenpin_agent.testing.heat import SimulatedBoard

PI3 = GovernorSettings(board=board_for("Raspberry Pi 3 Model B Rev 1.2"))


@dataclass
class Hour:
    plant: SimulatedBoard
    state: GovernorState = field(default_factory=GovernorState)
    temperature_c: list[float] = field(default_factory=list)
    allowed: list[Allowance] = field(default_factory=list)

    @property
    def rates(self) -> list[float]:
        return [a.rate for a in self.allowed]

    def run(self, seconds: int, load: Callable[[float], float] = lambda rate: rate) -> Hour:
        for _ in range(seconds):
            rate = self.allowed[-1].rate if self.allowed else 1.0
            done = load(rate)
            self.temperature_c.append(self.plant.advance(done, 1.0))
            felt_c = round(2 * self.plant.temperature_c) / 2
            reading = HeatReading(felt_c, self.plant.throttle_bits)
            self.state = step(self.state, reading, 1.0, done, PI3)
            self.allowed.append(allowance(self.state, PI3))
        return self


BOARDS = [(12, 40), (16, 30), (20, 20), (20, 25), (24, 25), (32, 20)]


@pytest.mark.parametrize(("resistance", "ambient"), BOARDS)
def test_the_limit_is_held_without_throttling_and_with_the_frames_the_heat_allows(resistance, ambient):
    hour = Hour(SimulatedBoard(resistance, ambient)).run(3600)
    assert max(hour.temperature_c) <= PI3.target_c + 0.6
    sustained = sum(hour.rates[-900:]) / 900
    assert sustained >= 0.97 * hour.plant.holding_load(PI3.target_c)


@pytest.mark.parametrize(("resistance", "ambient"), BOARDS)
def test_on_a_constant_board_nothing_oscillates(resistance, ambient):
    hour = Hour(SimulatedBoard(resistance, ambient)).run(3600)
    tail = hour.allowed[-900:]
    assert max(a.rate for a in tail) - min(a.rate for a in tail) <= 0.05
    switched = sum(
        (a.preview, a.heatmaps, a.threads) != (b.preview, b.heatmaps, b.threads) for a, b in pairwise(tail)
    )
    assert switched <= 1


def test_a_board_with_a_fan_is_never_slowed():
    hour = Hour(SimulatedBoard(8, 30)).run(1800)
    assert set(hour.rates) == {1.0}
    assert all(a.preview and a.heatmaps for a in hour.allowed)


def test_a_room_that_gets_warmer_by_15_degrees_is_absorbed():
    hour = Hour(SimulatedBoard(20, 20)).run(1800)
    hour.plant.ambient_c += 15
    hour.run(1800)
    assert max(hour.temperature_c) <= PI3.target_c + 1.0


def test_an_idle_line_does_not_wind_the_law_up():
    hour = Hour(SimulatedBoard(20, 25)).run(1800).run(1200, lambda _: 0.0).run(1200)
    assert max(hour.temperature_c) <= PI3.target_c + 0.6


def test_work_that_nobody_allowed_is_paid_for_by_frames():
    hour = Hour(SimulatedBoard(20, 20)).run(1800)
    steady = hour.rates[-1]
    hour.run(60, lambda rate: rate + 0.25)
    assert hour.rates[-1] < steady - 0.15
    assert max(hour.temperature_c) <= PI3.target_c + 1.0


def test_minutes_to_slow_are_foretold():
    hour = Hour(SimulatedBoard(20, 25)).run(180)
    foretold_s = 60 * hour.allowed[-1].notes["minutes_to_slow"]
    hour.run(600)
    slowed_s = next(s for s, rate in enumerate(hour.rates) if rate < 0.95)
    assert foretold_s + 180 == pytest.approx(slowed_s, rel=0.25)


def test_the_sustainable_rate_is_foretold_at_the_limit():
    hour = Hour(SimulatedBoard(20, 25)).run(3600)
    assert hour.allowed[-1].notes["sustainable_rate"] == pytest.approx(
        hour.plant.holding_load(79.0), abs=0.05
    )


@pytest.mark.parametrize("resistance", [14, 20, 26])
def test_the_boards_thermal_resistance_is_learned_from_work_that_comes_and_goes(resistance):
    """Within 30 %: two masses are told as one, and the sensor has half-degree steps."""
    hour = Hour(SimulatedBoard(resistance, 10))
    for shift in range(16):
        hour.run(600, lambda rate, on=shift % 2 == 0: 0.5 * rate if on else 0.0)
    assert hour.allowed[-1].notes["resistance_k_per_w"] == pytest.approx(resistance, rel=0.3)


def test_without_control_the_simulated_board_throttles():
    plant = SimulatedBoard(20, 30)
    for _ in range(1800):
        plant.advance(1.0, 1.0)
    assert plant.throttle_bits & 0b100
    assert plant.throttle_bits & 1 << 18
    plant.ambient_c = 0.0
    for _ in range(3600):
        plant.advance(0.0, 1.0)
    assert plant.throttle_bits == 1 << 18


def test_the_simulated_board_settles_where_its_resistance_says():
    plant = SimulatedBoard(20, 10)
    for _ in range(10):
        plant.advance(0.5, 1000.0)
    assert plant.temperature_c == pytest.approx(10 + 20 * plant.watts(0.5), abs=0.1)
