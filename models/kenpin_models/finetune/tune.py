"""Teach an encoder: find the reference set, run the frozen blocks once, learn the rest, write the model."""

# ruff: noqa: PLC0415 (torch is only where encoders are taught; asking for it comes first)

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from kenpin_models.encoder_file import EncoderFile
from kenpin_models.encoders.plan import EncoderPlan
from kenpin_models.extras import need
from kenpin_models.finetune.curves import LearningCurves
from kenpin_models.finetune.lesson import Lesson, Picture
from kenpin_models.finetune.reference import find_reference
from kenpin_models.finetune.settings import DEFAULTS, FineTuneSettings, Method
from kenpin_models.samples import Progress, silent
from kenpin_wire.errors import ConfigError
from kenpin_wire.manifest import Input

MIN_GOOD = 3
"""Two to learn from, and one that was not."""

_WRITING = "writing the encoder"


@dataclass(frozen=True, slots=True)
class Taught:
    """What came of teaching.

    Attributes:
        module: The `encoders.networks.EncoderModule`, ready to be exported.
        classes: The reference set's.
        n_target: Good pictures, learnt from or held out; without copies.
        n_reference: Pictures of other things.
        seconds: How long it took; of a run that was resumed, the last part.
        warnings: A line for each reference picture that was left out.
    """

    module: Any
    curves: LearningCurves
    classes: tuple[str, ...]
    n_target: int
    n_reference: int
    seconds: float
    warnings: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class FineTuned:
    """An encoder that was taught, as a file, and how it came about."""

    encoder: EncoderFile
    taught: Taught


def fine_tune(
    method: Method,
    plan: EncoderPlan,
    target: Sequence[Picture],
    reference: Path,
    spec: Input,
    *,
    workdir: Path,
    seed: int = 0,
    never: Collection[str] = (),
    settings: FineTuneSettings | None = None,
    progress: Progress = silent,
) -> FineTuned:
    """`teach`, then write the encoder to `workdir`: as `METHOD.tflite` and its description, and as `METHOD.pt`, which
    `export_coreml` takes. Arguments and errors are those of `teach`."""
    need("torch", "litert_torch", for_what=f"--method {method}")
    from kenpin_models.encoders.build import save_encoder
    from kenpin_models.encoders.export import export

    taught = teach(
        method,
        plan,
        target,
        reference,
        spec,
        workdir=workdir,
        seed=seed,
        never=never,
        settings=settings,
        progress=progress,
    )
    progress(_WRITING, 0, 1)
    save_encoder(taught.module, workdir / f"{method}.pt")
    encoder, _ = export(taught.module, workdir / f"{method}.tflite")
    progress(_WRITING, 1, 1)
    return FineTuned(encoder, taught)


def teach(
    method: Method,
    plan: EncoderPlan,
    target: Sequence[Picture],
    reference: Path,
    spec: Input,
    *,
    workdir: Path,
    seed: int = 0,
    never: Collection[str] = (),
    settings: FineTuneSettings | None = None,
    progress: Progress = silent,
) -> Taught:
    """Teach the encoder of a plan what the part is.

    Called again with the same arguments after it was killed, it goes on from its last checkpoint and ends with the
    same weights as if it had not been.

    Args:
        plan: The encoder to begin with. How long its embedding is, `settings` say.
        target: Good pictures to learn from: none that calibrates or judges. Some of them are held out here too, to
            know when to stop.
        reference: A tree of folders with pictures of other things; each folder that holds pictures is a class.
        spec: The encoder's input, as the release will say. Of a tiled one each tile is learnt from, and of other
            things whole pictures, as large as a tile.
        workdir: Where the checkpoint and what the frozen blocks gave are kept. Methods may share one, and then share
            the latter.
        never: `picture_id` of further pictures that must not be learnt from, should the reference set hold them.
            The target's own are left out of it in any case.
        settings: How; `DEFAULTS[method]` if None.

    Raises:
        ConfigError: if torch or pytorch-metric-learning is missing, a setting cannot be, a folder cannot be read or
            written, or there are too few pictures.
    """
    need("torch", "pytorch_metric_learning", for_what=f"--method {method}")
    started_s = time.monotonic()
    settings = settings or DEFAULTS[method]
    settings.check()
    if len(target) < MIN_GOOD:
        raise ConfigError(
            f"only {len(target)} good picture(s) to learn from",
            where=f"--method {method}",
            remedy=f"At least {MIN_GOOD} are needed; below a few dozen, use --method frozen.",
        )
    others = find_reference(reference, settings.most_reference, seed)
    others.check(method, reference)
    lesson = Lesson(target, others, spec, settings, seed, frozenset(never))
    plan = replace(plan, embedding=settings.embedding, seed=seed)
    module, rows, curves = _learn(method, plan, lesson, workdir, progress)
    return Taught(
        module=module,
        curves=curves,
        classes=others.classes,
        n_target=len(target),
        n_reference=int((rows.labels > 0).sum()),
        seconds=time.monotonic() - started_s,
        warnings=rows.warnings,
    )


def _learn(
    method: Method, plan: EncoderPlan, lesson: Lesson, workdir: Path, progress: Progress
) -> tuple[Any, Any, LearningCurves]:
    import torch

    from kenpin_models.encoders.build import build
    from kenpin_models.finetune.loop import learn
    from kenpin_models.finetune.objectives import objective
    from kenpin_models.finetune.prefix import look
    from kenpin_models.finetune.tail import Tail

    settings = lesson.settings
    first = settings.frozen_block(plan) + 1
    # Channels last: learning six blocks takes 5.0 ms a picture on one core instead of 8.0.
    module = build(plan).to(memory_format=torch.channels_last)
    module.requires_grad_(False)
    facts = lesson.facts() | {
        "plan": str(replace(plan, embedding=0)),
        "weights": module.provenance,
        "first": first,
    }
    rows = look(module, first, lesson, file=workdir / "frozen.npy", facts=facts, progress=progress)
    tail = Tail(module, first, rows, lesson.seed)
    facts |= {"method": method, "settings": asdict(settings)}
    curves = learn(
        tail,
        objective(method, len(lesson.reference.classes), settings, lesson.seed),
        rows,
        settings,
        method=method,
        seed=lesson.seed,
        checkpoint=workdir / f"{method}.checkpoint",
        key=hashlib.sha256(json.dumps(facts, sort_keys=True, default=str).encode()).hexdigest(),
        progress=progress,
    )
    tail.whiten(rows)
    tail.write_back()
    module.requires_grad_(False)
    module.to(memory_format=torch.contiguous_format)
    things = f"{len(lesson.target)} good pictures and {int((rows.labels > 0).sum())} of other things"
    module.provenance += f"; taught by {method} on {things}, seed {lesson.seed}"
    return module, rows, curves
