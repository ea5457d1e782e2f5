"""The board as a model of three numbers, and how they are learned while it runs.

    dT/dt = heating · load − cooling · T + push

`heating` is in K/s at full work, `cooling` in 1/s (its inverse is the time constant), and `push`, in K/s, is
all that the model does not know: the room, the power at rest, the sun on the case. `push` is followed
quickly, by the observer in `law`; the other two are learned slowly here, by recursive least squares (Ljung,
System Identification, ch. 11) over windows of a quarter of a minute.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True, slots=True)
class Model:
    """See the module's docstring. The defaults are a bare board, good within a factor of 3."""

    heating: float = 0.09
    cooling: float = 1.0 / 500.0
    push: float = 0.0

    @property
    def time_constant_s(self) -> float:
        return 1.0 / self.cooling

    @property
    def rise_c(self) -> float:
        """How much hotter than idle the board gets at full work, in the end."""
        return self.heating / self.cooling

    def slope(self, temperature_c: float, load: float) -> float:
        """dT/dt in K/s."""
        return self.heating * load - self.cooling * temperature_c + self.push

    def load_for(self, temperature_c: float, slope: float = 0.0) -> float:
        """The load that gives this slope at this temperature; below 0 or above 1 if none does."""
        return (slope + self.cooling * temperature_c - self.push) / self.heating

    def seconds_to(self, target_c: float, temperature_c: float, load: float) -> float | None:
        """How long until the target is reached at this load; 0 if it is past, None if never."""
        if temperature_c >= target_c:
            return 0.0
        end_c = (self.heating * load + self.push) / self.cooling
        if end_c <= target_c:
            return None
        return self.time_constant_s * math.log((end_c - temperature_c) / (end_c - target_c))


Matrix = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Learner:
    """Recursive least squares over windows, and the window that is being filled.

    Attributes:
        theta: (4,) float64: push, heating, cooling per 100 K, and the die's quick jump with the load, K.
        covariance: (4, 4) float64.
        windows: How many windows were learned from; windows without a change of load or heat teach nothing.
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
    """Add `dt_s` seconds at `load` that ended at `temperature_c`.

    `temperature_c` and `load` are smoothed alike, so that they lag alike. A changed model is changed around
    the point where the board is now, so that the allowance does not jump when something is learned.
    """
    if learner.start_c is None:
        return replace(learner, start_c=temperature_c, start_load=load, filled_s=0.0, load_s=0.0), model
    filled_s, load_s = learner.filled_s + dt_s, learner.load_s + load * dt_s
    if filled_s < WINDOW_S:
        return replace(learner, filled_s=filled_s, load_s=load_s), model

    fresh = replace(learner, filled_s=0.0, load_s=0.0, start_c=temperature_c, start_load=load)
    moved_c, turned = temperature_c - learner.start_c, load - learner.start_load
    if abs(moved_c) < 0.3 and abs(turned) < 0.05:
        return fresh, model
    mean_c = (temperature_c + learner.start_c) / 2
    phi = np.array([1.0, load_s / filled_s, -mean_c / 100.0, turned / filled_s])
    theta, covariance = _start(learner, prior, mean_c, load_s / filled_s)
    theta, covariance = _update(theta, covariance, phi, moved_c / filled_s)
    fresh = replace(fresh, theta=theta, covariance=covariance, windows=learner.windows + 1)
    return fresh, _around(model, _bounded(theta, prior), temperature_c, load)


def forget_window(learner: Learner) -> Learner:
    """Drop the window that is being filled: the sensor was away, so it would teach nonsense."""
    return replace(learner, filled_s=0.0, load_s=0.0, start_c=None)


WINDOW_S = 15.0
_FORGETTING = 0.995  # per window that teaches: a memory of some 200 of them
_NOISE = 0.01  # K/s: what a window's slope is wrong by, from half-degree steps over 15 s


def _start(learner: Learner, prior: Model, mean_c: float, load: float) -> tuple[Matrix, Matrix]:
    if learner.theta is not None and learner.covariance is not None:
        return learner.theta, learner.covariance
    push = prior.cooling * mean_c - prior.heating * load
    theta = np.array([push, prior.heating, prior.cooling * 100.0, 5.0])
    return theta, _start_covariance(theta)


def _start_covariance(theta: Matrix) -> Matrix:
    doubt = np.array([0.2, 0.5 * theta[1], 0.5 * theta[2], 5.0])
    covariance: Matrix = np.diag(doubt**2)
    return covariance


def _update(theta: Matrix, covariance: Matrix, phi: Matrix, slope: float) -> tuple[Matrix, Matrix]:
    ahead = covariance @ phi
    gain = ahead / (_NOISE**2 + phi @ ahead)
    error = float(np.clip(slope - phi @ theta, -0.2, 0.2))  # a spike must not undo an hour's learning
    theta = theta + gain * error
    covariance = (covariance - np.outer(gain, ahead)) / _FORGETTING
    covariance = (covariance + covariance.T) / 2
    # Forgetting without excitation would let the doubt grow for ever: hold it at what it was at the start.
    ceiling = np.sqrt(np.diag(_start_covariance(np.array([0.0, 0.09, 0.2, 0.0]))))
    scale = np.minimum(1.0, ceiling / np.sqrt(np.maximum(np.diag(covariance), 1e-18)))
    return theta, covariance * np.outer(scale, scale)


def _bounded(theta: Matrix, prior: Model) -> Model:
    heating = float(np.clip(theta[1], prior.heating / 3, prior.heating * 3))
    cooling = float(np.clip(theta[2] / 100.0, prior.cooling / 4, prior.cooling * 4))
    return Model(heating, cooling)


def _around(old: Model, new: Model, temperature_c: float, load: float) -> Model:
    """`new`, with the push that gives the slope that `old` gave here."""
    return replace(
        new, push=old.slope(temperature_c, load) - new.heating * load + new.cooling * temperature_c
    )
