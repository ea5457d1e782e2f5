"""Learning curves: what the report draws."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Round:
    """What was measured after some steps.

    Attributes:
        step: How many batches had been learnt from.
        loss: The mean over the round's batches.
        held_out_loss: Of pictures that were not learnt from.
    """

    step: int
    loss: float
    held_out_loss: float


@dataclass(frozen=True, slots=True)
class LearningCurves:
    """How the learning went.

    Attributes:
        rounds: In their order; the first, at step 0, is before anything was learnt, and its `loss` is the held-out
            one.
        best_step: When the held-out loss was lowest; the encoder is the one of then.
        stopped_early: Whether it ended because the held-out loss no longer fell.
    """

    method: str
    rounds: tuple[Round, ...]
    best_step: int
    stopped_early: bool

    def as_report(self) -> dict[str, Any]:
        """For the manifest's report, rounded to what means something."""
        rounds = [
            {key: round(value, 5) if isinstance(value, float) else value for key, value in asdict(r).items()}
            for r in self.rounds
        ]
        return {
            "method": self.method,
            "best_step": self.best_step,
            "stopped_early": self.stopped_early,
            "rounds": rounds,
        }
