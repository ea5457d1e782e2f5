"""A board that heats and cools, for the simulated thermometer and for judging the governor.

Two thermal masses (a die that follows the load within seconds, and a board that follows within minutes), and
a firmware that slows the cores as the real one does. It is a simulation and says nothing about a particular
board.
"""

from __future__ import annotations

import math
from typing import NamedTuple


class Capacities(NamedTuple):
    """Heat that each mass takes to warm by one kelvin, in J/K."""

    die: float = 3.0
    board: float = 32.0


class SimulatedBoard:
    """A die on a board in a room.

    Args:
        resistance_k_per_w: From the die to the room, in steady state; a bare Pi 3 has about 32.
        ambient_c: The room. May be set at any time; so may `resistance_k_per_w` (a fan that fails).
        capacities: See `Capacities`.
        idle_w: Power at rest.
        full_w: Power at full work (load 1).
        throttle_c: Where the firmware begins to slow the cores.
    """

    def __init__(
        self,
        resistance_k_per_w: float = 20.0,
        ambient_c: float = 25.0,
        *,
        capacities: tuple[float, float] = Capacities(),
        idle_w: float = 1.4,
        full_w: float = 3.7,
        throttle_c: float = 80.0,
    ) -> None:
        self.resistance_k_per_w = resistance_k_per_w
        self.ambient_c = ambient_c
        self.capacities = Capacities(*capacities)
        self.idle_w = idle_w
        self.full_w = full_w
        self.throttle_c = throttle_c
        self.board_c = ambient_c + idle_w * (resistance_k_per_w - DIE_TO_BOARD_K_PER_W)
        self.temperature_c = self.board_c + idle_w * DIE_TO_BOARD_K_PER_W
        self._throttled_once = False

    @property
    def speed(self) -> float:
        """Share of full speed that the firmware leaves: 1 below its limit, then falling to 0.4 over 5 °C."""
        return min(1.0, max(0.4, 1.0 - 0.6 * (self.temperature_c - self.throttle_c) / 5.0))

    @property
    def throttle_bits(self) -> int:
        """As `vcgencmd get_throttled` would say."""
        return (0b100 if self.speed < 1.0 else 0) | (1 << 18 if self._throttled_once else 0)

    def watts(self, load: float) -> float:
        """Power drawn at `load` (1 is full work), slowed cores included."""
        return self.idle_w + (self.full_w - self.idle_w) * load * self.speed

    def advance(self, load: float, dt_s: float) -> float:
        """Run for `dt_s` at `load` (0 idle, 1 full; a burst may exceed 1).

        Returns:
            The die's temperature in °C.
        """
        steps = max(1, math.ceil(dt_s / 0.5))  # well under the die's own time constant
        h = dt_s / steps
        to_room = max(self.resistance_k_per_w - DIE_TO_BOARD_K_PER_W, 0.5)
        for _ in range(steps):
            up = (self.temperature_c - self.board_c) / DIE_TO_BOARD_K_PER_W
            out = (self.board_c - self.ambient_c) / to_room
            self.temperature_c += h * (self.watts(load) - up) / self.capacities.die
            self.board_c += h * (up - out) / self.capacities.board
        self._throttled_once = self._throttled_once or self.speed < 1.0
        return self.temperature_c

    def holding_load(self, temperature_c: float) -> float:
        """The load at which the die would settle at `temperature_c`; negative if idling is hotter."""
        watts = (temperature_c - self.ambient_c) / self.resistance_k_per_w
        return (watts - self.idle_w) / (self.full_w - self.idle_w)


DIE_TO_BOARD_K_PER_W = 2.5
