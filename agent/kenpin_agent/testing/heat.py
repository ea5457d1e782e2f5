"""Heat to test against: the simulated board, and a thermometer that says what it is told."""

from __future__ import annotations

from kenpin_agent.plant import Capacities, SimulatedBoard
from kenpin_agent.seams import HeatReading

__all__ = ["Capacities", "FakeThermometer", "SimulatedBoard"]


class FakeThermometer:
    """A `Thermometer` that reads what a test has put into `reading`."""

    def __init__(self, temperature_c: float | None = 45.0, throttle_bits: int = 0) -> None:
        self.reading = HeatReading(temperature_c, throttle_bits)

    def read(self) -> HeatReading:
        return self.reading
