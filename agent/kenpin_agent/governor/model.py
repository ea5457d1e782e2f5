"""The board as a model of four numbers, and how they are learned while it runs.

    dB/dt = heating · load − cooling · B + push          the board, within minutes
    T     = B + jump · load                              the die on it, within seconds

`heating` is in K/s at full work, `cooling` in 1/s (its inverse is the time constant), `jump` in K, and `push`,
in K/s, is all that the model does not know: the room, the power at rest, the sun on the case. `push` is
followed quickly, by the observer in `law`; the other three are learned slowly here, by recursive least squares
(Ljung, System Identification, ch. 11) over windows of a quarter of a minute.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True, slots=True)
class Model:
    """See the module's docstring. `board_c` is B in °C; the load is a share of full work."""

    heating: float
    cooling: float
    jump: float
    push: float = 0.0

    @property
    def time_constant_s(self) -> float:
        return 1.0 / self.cooling

    @property
    def rise_c(self) -> float:
        """How much hotter than idle the die gets at full work, in the end."""
        return self.heating / self.cooling + self.jump

    def slope(self, board_c: float, load: float) -> float:
        """dB/dt in K/s."""
        return self.heating * load - self.cooling * board_c + self.push

    def load_holding(self, target_c: float) -> float:
        """The load at which the die would settle at the target; below 0 or above 1 if none does."""
        return (self.cooling * target_c - self.push) / (self.heating + self.cooling * self.jump)

    def load_approaching(self, target_c: float, board_c: float, approach_s: float) -> float:
        """The load that takes the die towards the target with the time constant `approach_s`.

        It solves dB/dt = (target − T) / approach with T = B + jump · load.
        """
        wanted = (target_c - board_c) / approach_s + self.cooling * board_c - self.push
        return wanted / (self.heating + self.jump / approach_s)

    def seconds_to(self, target_c: float, board_c: float, load: float) -> float | None:
        """How long until the die is at the target with this load; 0 if it is past, None if never."""
        target_c -= self.jump * load  # what the board may be then
        if board_c >= target_c:
            return 0.0
        end_c = (self.heating * load + self.push) / self.cooling
        if end_c <= target_c:
            return None
        return self.time_constant_s * math.log((end_c - board_c) / (end_c - target_c))


Matrix = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Learner:
    """Recursive least squares over windows, and the window that is being filled.

    Attributes:
        theta: (4,) float64: push and heating (with the jump's share) in K/s, cooling in 1/(100 s), jump in K.
        covariance: (4, 4) float64.
        windows: How many windows were learned from.
    """

    theta: Matrix | None = field(default=None, compare=False)
    covariance: Matrix | None = field(default=None, compare=False)
    windows: int = 0
    filled_s: float = 0.0
    load_s: float = 0.0
    start_c: float | None = None
    start_load: float = 0.0


def learn(
    learner: Learner, model: Model, prior: Model, *, temperature_c: float, load: float, dt_s: float
) -> tuple[Learner, Model]:
    """Add `dt_s` seconds at `load` that ended at `temperature_c`, both smoothed alike so that they lag alike.

    Call it only while the load is not the governor's own answer to the temperature: least squares in a closed
    loop would take the sensor's noise for the board (measured: a resistance 3 times too small after an hour).

    Returns:
        The learner, and the model as learned, with the push of `model`; its slope changes, so the caller
        moves the push (`rebased`).
    """
    if learner.start_c is None:
        return replace(learner, start_c=temperature_c, start_load=load, filled_s=0.0, load_s=0.0), model
    filled_s, load_s = learner.filled_s + dt_s, learner.load_s + load * dt_s
    if filled_s < WINDOW_S:
        return replace(learner, filled_s=filled_s, load_s=load_s), model

    mean_c, mean_load = (temperature_c + learner.start_c) / 2, load_s / filled_s
    phi = np.array([1.0, mean_load, -mean_c / 100.0, (load - learner.start_load) / filled_s])
    slope = (temperature_c - learner.start_c) / filled_s
    theta, covariance = _update(*_or_start(learner, prior, mean_c), phi, slope)
    learner = Learner(theta, covariance, learner.windows + 1, start_c=temperature_c, start_load=load)
    return learner, replace(_bounded(theta, prior), push=model.push)


def forget_window(learner: Learner) -> Learner:
    """Drop the window that is being filled."""
    return replace(learner, filled_s=0.0, load_s=0.0, start_c=None)


def rebased(new: Model, old: Model, board_c: float, load: float) -> Model:
    """`new`, with the push that gives the slope that `old` has here: learning must not make the work jump."""
    return replace(new, push=new.push + old.slope(board_c, load) - new.slope(board_c, load))


WINDOW_S = 15.0
_FORGETTING = 0.998  # per window: a memory of some 500 of them, two hours of learning
_NOISE = 0.01  # K/s: what a window's slope is wrong by, from a sensor with half-degree steps over 15 s
_DOUBT = np.array([0.03, 0.5, 0.5, 0.5])  # of the start: push in K/s, the others as a share of the prior


def _or_start(learner: Learner, prior: Model, mean_c: float) -> tuple[Matrix, Matrix]:
    if learner.theta is not None and learner.covariance is not None:
        return learner.theta, learner.covariance
    heating = prior.heating + prior.cooling * prior.jump
    theta = np.array([prior.cooling * mean_c, heating, prior.cooling * 100.0, prior.jump])
    doubt = _DOUBT * np.array([1.0, *theta[1:]])
    return theta, np.diag(doubt**2)


def _update(theta: Matrix, covariance: Matrix, phi: Matrix, slope: float) -> tuple[Matrix, Matrix]:
    ahead = covariance @ phi
    gain = ahead / (_NOISE**2 + phi @ ahead)
    error = float(np.clip(slope - phi @ theta, -0.2, 0.2))  # a spike must not undo an hour's learning
    covariance = (covariance - np.outer(gain, ahead)) / _FORGETTING
    # Forgetting where nothing is excited would let the doubt grow for ever.
    too_large = np.sqrt(np.maximum(1.0, np.diag(covariance) / _MOST_DOUBT**2))
    return theta + gain * error, (covariance + covariance.T) / 2 / np.outer(too_large, too_large)


_MOST_DOUBT = np.array([0.1, 0.1, 0.2, 10.0])


def _bounded(theta: Matrix, prior: Model) -> Model:
    """What was learned, within a factor of the prior that no board we know leaves."""
    cooling = float(np.clip(theta[2] / 100.0, prior.cooling / 4, prior.cooling * 4))
    jump = float(np.clip(theta[3], prior.jump / 3, prior.jump * 3))
    heating = float(np.clip(theta[1] - cooling * jump, prior.heating / 3, prior.heating * 3))
    return Model(heating, cooling, jump)
