"""From what a person calls an encoder to its file."""

from __future__ import annotations

import hashlib
from pathlib import Path

from kenpin_models.encoder_file import EncoderFile, read_encoder_file, shipped_encoder
from kenpin_models.encoders.build import build
from kenpin_models.encoders.plan import EncoderPlan, parse_plan

SHIPPED = "shipped"


def resolve(name: str, workdir: Path) -> EncoderFile:
    """The encoder that a command's `--encoder` means.

    Args:
        name: `shipped`, or a plan that means the same, for the one that comes with the package; the path of a
            `.tflite` with its description beside it; or any other plan, as `plan.parse_plan` reads it, which is
            built and exported (half a minute, with torch).
        workdir: Where an exported one is put; a folder, made if it is not there.

    Raises:
        ConfigError: if there is no such encoder, or what it takes to make it is not here.
    """
    if name == SHIPPED:
        return shipped_encoder()
    if name.endswith(".tflite"):
        return read_encoder_file(Path(name))
    plan = parse_plan(name)
    if (plan.described, plan.weights) == (EncoderPlan().described, EncoderPlan().weights):
        return shipped_encoder()
    from kenpin_models.encoders.export import export  # noqa: PLC0415  # only this case needs torch

    digest = hashlib.sha256(str(plan).encode()).hexdigest()[:8]
    return export(build(plan), workdir / f"{plan.architecture}-{digest}.tflite")[0]
