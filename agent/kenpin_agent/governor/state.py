"""What the governor is told once, and what it remembers from step to step."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat

from kenpin_agent.governor.boards import UNKNOWN_BOARD, Board
from kenpin_agent.governor.model import Learner, Model

# `vcgencmd get_throttled`, the bits that say what is so now.
UNDER_VOLTAGE, CAPPED, THROTTLED, SOFT_LIMIT = 1 << 0, 1 << 1, 1 << 2, 1 << 3

MOST_LOWERED_C = 20.0


class GovernorSettings(BaseModel):
    """How this device is to be governed; the `[governor]` table of the configuration.

    `board` and `threads` are filled in by `thermometers.settings_for_here` where the operator gave none.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    limit_c: Annotated[FiniteFloat, Field(ge=30, le=110)] | None = None
    """The operator's own limit; None for the board's."""
    margin_c: Annotated[FiniteFloat, Field(ge=0, le=20)] = 1.0
    """How far under the limit the temperature is held, for the sensor's half-degree steps and a burst."""
    floor: Annotated[FiniteFloat, Field(gt=0, le=1)] = 0.05
    """The least rate, however hot, and the rate without a sensor, as a share of the full frame rate."""
    approach_s: Annotated[FiniteFloat, Field(ge=10, le=100)] = 30.0
    """The temperature nears its target with this time constant; shorter is sharper and noisier."""
    threads: Annotated[int, Field(ge=1, le=16)] = 4
    """Inference threads at full work."""
    board: Board = UNKNOWN_BOARD
    prior: Model | None = None
    """The board's model before anything is learned; None for what its watts suggest."""

    @property
    def shown_limit_c(self) -> float:
        """The limit that reasons speak of."""
        return self.board.limit_c if self.limit_c is None else self.limit_c

    @property
    def target_c(self) -> float:
        """The temperature that is held."""
        return self.shown_limit_c - self.margin_c

    @property
    def prior_model(self) -> Model:
        """The model to start from: a bare board of some 40 g, and 2.5 K/W between die and board."""
        watts = self.board.full_w - self.board.idle_w
        return self.prior or Model(heating=watts / 35.0, cooling=1.0 / 600.0, jump=2.5 * watts)


@dataclass(frozen=True, slots=True)
class GovernorState:
    """What the governor remembers. Start with `GovernorState()`.

    Attributes:
        temperature_c: The smoothed temperature; None until a sensor has answered.
        board_c: The board's part of it, without the die's jump.
        load: The work done, smoothed as the die follows it.
        uninvited: Work done beyond what was allowed (heatmaps of anomalies), smoothed over seconds.
        model: The board as it is thought to be now.
        learner: What the learning of the model has gathered.
        effort: The share of full work that the heat allows now, 0 to 1.
        sustainable: The share of full work that would hold the target for ever; above 1 there is headroom.
        shed: The row of `shedding.ROWS` that holds; a row gives up what those before it do.
        blind_s: For how long no sensor has answered.
        throttle_bits: The firmware's, from the last reading.
        cap, cap_s: The most effort that the firmware's bits leave, and for how many seconds more.
        lowered_c: How far under the target the firmware was seen to throttle.
    """

    temperature_c: float | None = None
    board_c: float = 0.0
    load: float = 0.0
    uninvited: float = 0.0
    model: Model | None = None
    learner: Learner = field(default_factory=Learner)
    effort: float = 1.0
    sustainable: float = 1.0
    shed: int = 0
    blind_s: float = 0.0
    throttle_bits: int = 0
    cap: float = 1.0
    cap_s: float = 0.0
    lowered_c: float = 0.0


def held_c(state: GovernorState, settings: GovernorSettings) -> float:
    """The temperature that is held now: the target, or less where the firmware throttles before it."""
    return settings.target_c - state.lowered_c
