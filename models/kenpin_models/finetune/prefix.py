"""What the frozen blocks give, computed once and kept on disk: a step then costs only what is learnt.

Each picture becomes a row. Rows are half precision: rounding moves an embedding far less than a nudge of the part
does. They outlive the process, so a run that was killed goes on without looking at the pictures again.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from kenpin_agent.files import write_atomically
from kenpin_agent.prepare import Tensor
from kenpin_models.encoders.networks import EncoderModule, means_and_deviations
from kenpin_models.finetune.lesson import Lesson, Shown
from kenpin_models.samples import Progress
from kenpin_wire.errors import ConfigError

BATCH = 32
"""Pictures that run through the frozen blocks together."""

_STEP = "looking at pictures to learn from"


@dataclass(frozen=True, slots=True, eq=False)
class Rows:
    """What the frozen blocks gave.

    Attributes:
        states: What the last of them gave, shape (n, h, w, c), float16; on disk.
        seen: The means and deviations of those maps that they gave out, shape (n, 2, k), float32.
        labels: Shape (n,), int64.
        held_out: Shape (n,), bool.
        warnings: A line for each picture that was left out.
    """

    states: npt.NDArray[np.float16]
    seen: npt.NDArray[np.float32]
    labels: npt.NDArray[np.int64]
    held_out: npt.NDArray[np.bool_]
    warnings: tuple[str, ...] = ()

    def batch(self, indices: npt.NDArray[np.intp]) -> tuple[Any, Any, Any]:
        """States (n, c, h, w) as the next block takes them, `seen` and labels, in torch."""
        states = torch.from_numpy(np.asarray(self.states[indices], dtype=np.float32)).permute(0, 3, 1, 2)
        return states, torch.from_numpy(self.seen[indices]), torch.from_numpy(self.labels[indices])


def look(
    module: EncoderModule, stop: int, lesson: Lesson, *, file: Path, facts: dict[str, Any], progress: Progress
) -> Rows:
    """Run the blocks before `stop` on a lesson's pictures, or read what an earlier run kept of the same.

    Args:
        file: Where the states are kept, a `.npy`; the rest beside it, written last.
        facts: What the rows follow from; rows of others are replaced.

    Raises:
        ConfigError: if the rows cannot be written, or too few pictures can be read.
    """
    beside = file.with_suffix(".npz")
    key = hashlib.sha256(json.dumps(facts, sort_keys=True, default=str).encode()).hexdigest()
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        rows = _kept(file, beside, key)
        if rows is None:
            beside.unlink(missing_ok=True)  # it no longer goes with the states
            rows = _make(module, stop, lesson, file, progress)
            _keep(rows, beside, key)
    except OSError as error:
        raise ConfigError.from_os(error, where=str(file)) from None
    return rows


def _make(module: EncoderModule, stop: int, lesson: Lesson, file: Path, progress: Progress) -> Rows:
    states: Any = None
    seen: list[npt.NDArray[np.float32]] = []
    labels: list[int] = []
    held_out: list[bool] = []
    for batch in _batches(lesson.shown()):
        progress(_STEP, len(labels), lesson.most)
        given, maps = _run(module, stop, np.concatenate([one.tensor for one in batch]))
        if states is None:
            shape = (lesson.most, *given.shape[1:])
            states = np.lib.format.open_memmap(file, mode="w+", dtype=np.float16, shape=shape)
        states[len(labels) : len(labels) + len(batch)] = given
        seen.append(maps)
        labels += [one.label for one in batch]
        held_out += [one.held_out for one in batch]
    progress(_STEP, lesson.most, lesson.most)
    rows = Rows(
        states=states[: len(labels)],
        seen=np.concatenate(seen),
        labels=np.array(labels, dtype=np.int64),
        held_out=np.array(held_out, dtype=np.bool_),
        warnings=tuple(lesson.warnings),
    )
    for held in (False, True):
        if not (rows.labels[rows.held_out == held] > 0).any():
            raise ConfigError(
                "too few pictures of other things can be read",
                where=str(lesson.reference.paths[0].parent),
                remedy="Save them again as JPEG or PNG.",
            )
    states.flush()
    return rows


def _keep(rows: Rows, file: Path, key: str) -> None:
    packed = io.BytesIO()
    warnings = np.array(json.dumps(rows.warnings))
    np.savez(
        packed,
        key=np.array(key),
        seen=rows.seen,
        labels=rows.labels,
        held_out=rows.held_out,
        warnings=warnings,
    )
    write_atomically(file, packed.getvalue())


def _kept(file: Path, beside: Path, key: str) -> Rows | None:
    try:
        with np.load(beside, allow_pickle=False) as rest:
            if str(rest["key"]) != key:
                return None
            states = np.load(file, mmap_mode="r", allow_pickle=False)
            labels = rest["labels"]
            warnings = tuple(json.loads(str(rest["warnings"])))
            return Rows(states[: len(labels)], rest["seen"], labels, rest["held_out"], warnings)
    except (OSError, ValueError, KeyError):
        return None


def _run(
    module: EncoderModule, stop: int, images: Tensor
) -> tuple[npt.NDArray[Any], npt.NDArray[np.float32]]:
    with torch.no_grad():
        given, maps = module.advance(module.begin(torch.from_numpy(images)), 0, stop)
        limit = torch.finfo(torch.float16).max
        half = given.clamp(-limit, limit).permute(0, 2, 3, 1).contiguous().to(torch.float16).numpy()
        if not maps:
            return half, np.zeros((len(images), 2, 0), dtype=np.float32)
        both = means_and_deviations(list(maps.values())).reshape(len(images), 2, -1)
        return half, both.numpy().astype(np.float32)


def _batches(shown: Iterable[Shown]) -> Iterator[list[Shown]]:
    batch: list[Shown] = []
    for one in shown:
        batch.append(one)
        if len(batch) == BATCH:
            yield batch
            batch = []
    if batch:
        yield batch
