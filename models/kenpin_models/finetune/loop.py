"""The learning loop. A run that is killed goes on from its last round and ends with the same weights."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from kenpin_models.finetune.checkpoint import Stand, keep, resume
from kenpin_models.finetune.curves import LearningCurves, Round
from kenpin_models.finetune.feed import Feed
from kenpin_models.finetune.prefix import BATCH, Rows
from kenpin_models.finetune.settings import FineTuneSettings
from kenpin_models.finetune.tail import Tail
from kenpin_models.samples import Progress

WARM_UP_STEPS = 20

OBJECTIVE_RATE = 10
"""How much faster the objective's own weights learn: they begin with chance, the network does not."""


def learn(
    tail: Tail,
    objective: Any,
    rows: Rows,
    settings: FineTuneSettings,
    *,
    method: str,
    seed: int,
    checkpoint: Path,
    key: str,
    progress: Progress,
) -> LearningCurves:
    """Teach the tail, in place; it ends as it was when the held-out loss was lowest.

    Args:
        checkpoint: Where the run stands, after each round. One with another `key` is not gone on from.

    Raises:
        ConfigError: if the checkpoint cannot be written.
    """
    step_name = f"teaching {method}"
    feed = Feed(rows.labels, rows.held_out, settings.batch, seed)
    learner = nn.ModuleList([tail, objective]).requires_grad_(True)
    rates = {tail: 1, objective: OBJECTIVE_RATE}
    optimizer = torch.optim.AdamW(
        [{"params": list(part.parameters()), "rate": rate} for part, rate in rates.items()],
        weight_decay=settings.weight_decay,
    )
    stand = resume(checkpoint, key, learner, optimizer)
    if stand is None:
        stand = Stand()
        _look_up(stand, learner, rows, feed, loss=None)
    losses = []
    while stand.step < settings.steps and not _is_over(stand, settings):
        progress(step_name, stand.step, settings.steps)
        for group in optimizer.param_groups:
            group["lr"] = group["rate"] * _learning_rate(settings, stand.step)
        states, seen, labels = rows.batch(feed.fitted(stand.step))
        loss = objective(tail(states, seen), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
        stand.step += 1
        if stand.step % settings.round_steps == 0 or stand.step == settings.steps:
            _look_up(stand, learner, rows, feed, loss=float(np.mean(losses)))
            losses.clear()
            keep(checkpoint, key, stand, learner, optimizer)
    progress(step_name, settings.steps, settings.steps)
    learner.load_state_dict(stand.best)
    return LearningCurves(method, tuple(stand.rounds), stand.best_step, stand.step < settings.steps)


def _is_over(stand: Stand, settings: FineTuneSettings) -> bool:
    return stand.step - stand.best_step >= settings.patience * settings.round_steps


def _learning_rate(settings: FineTuneSettings, step: int) -> float:
    rising = min(1.0, (step + 1) / WARM_UP_STEPS)
    return settings.learning_rate * rising * (1 + math.cos(math.pi * step / settings.steps)) / 2


def _look_up(stand: Stand, learner: Any, rows: Rows, feed: Feed, loss: float | None) -> None:
    """Look at the held-out pictures, and remember the weights if the loss was never lower."""
    tail, objective = learner
    objective.eval()
    held_out = []
    with torch.no_grad():
        for indices in feed.held_out():
            states, seen, labels = rows.batch(indices)
            starts = range(0, len(indices), BATCH)
            embeddings = torch.cat([tail(states[i : i + BATCH], seen[i : i + BATCH]) for i in starts])
            held_out.append(float(objective(embeddings, labels)))
    objective.train()
    now = float(np.mean(held_out))
    if not stand.rounds or now < min(past.held_out_loss for past in stand.rounds):
        stand.best = {name: value.clone() for name, value in learner.state_dict().items()}
        stand.best_step = stand.step
    stand.rounds.append(Round(stand.step, now if loss is None else loss, now))
