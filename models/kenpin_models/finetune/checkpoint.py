"""Where a run stands, so that one that was killed goes on."""

from __future__ import annotations

import io
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch

from kenpin_agent.files import write_atomically
from kenpin_models.finetune.curves import Round
from kenpin_wire.errors import ConfigError


@dataclass(slots=True)
class Stand:
    """Where a run stands.

    Attributes:
        step: How many batches it has learnt from.
        rounds: So far.
        best: All weights when the held-out loss was lowest.
        best_step: When that was.
    """

    step: int = 0
    rounds: list[Round] = field(default_factory=list)
    best: dict[str, Any] = field(default_factory=dict)
    best_step: int = 0


def keep(file: Path, key: str, stand: Stand, learner: Any, optimizer: Any) -> None:
    """Write a checkpoint; one that was there is replaced once the new one is complete.

    Args:
        key: What the run follows from.

    Raises:
        ConfigError: if it cannot be written.
    """
    packed = io.BytesIO()
    content = asdict(stand) | {
        "key": key,
        "learner": learner.state_dict(),
        "optimizer": optimizer.state_dict(),
    }
    torch.save(content, packed)
    try:
        write_atomically(file, packed.getvalue())
    except OSError as error:
        raise ConfigError.from_os(error, where=str(file)) from None


def resume(file: Path, key: str, learner: Any, optimizer: Any) -> Stand | None:
    """Where the run of this key stood, learner and optimizer as they were then; None if there was none, or its
    checkpoint cannot be read."""
    try:
        content = torch.load(file, map_location="cpu", weights_only=True)
        if content["key"] != key:
            return None
        rounds = [Round(**values) for values in content["rounds"]]
        stand = Stand(content["step"], rounds, content["best"], content["best_step"])
        learner.load_state_dict(content["learner"])
        optimizer.load_state_dict(content["optimizer"])
    except Exception:  # noqa: BLE001  # not there or damaged, in any of torch's and pickle's ways: begin anew
        return None
    return stand
