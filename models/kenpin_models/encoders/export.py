"""Export an encoder from torch: a `.tflite` with named outputs, its description, and proof that it is the same.

`python -m kenpin_models.encoders.export [PLAN] -o FILE` exports a plan; without one, what comes with the package.
"""

# ruff: noqa: PLC0415, T201 (torch is only where encoders are made; this is a command too, it prints)

from __future__ import annotations

import argparse
import hashlib
import importlib.metadata
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from kenpin_models.assets import ENCODER_FILE
from kenpin_models.encoder_file import EncoderFile, write_description
from kenpin_models.encoders.build import build
from kenpin_models.encoders.parity import Parity, compare, outputs_of
from kenpin_models.encoders.plan import EncoderPlan, parse_plan
from kenpin_models.extras import need
from kenpin_models.hush import hushed
from kenpin_wire.errors import ConfigError, KenpinError

if TYPE_CHECKING:
    from kenpin_models.encoders.networks import EncoderModule

SIZES_PX = ((96, 96), (128, 128), (160, 224), (224, 160), (320, 320))
"""Heights and widths at which an export is compared with torch: a size that the conversion baked in shows."""

TOLERANCE = 1e-4
"""Of the parity's `relative`; measured 2e-6."""


def export(module: EncoderModule, out: Path) -> tuple[EncoderFile, Parity]:
    """Write a module as a LiteRT model that takes any size, and its description beside it, `.json`.

    Raises:
        ConfigError: if torch or litert-torch is missing, or the file cannot be written, or it is not the same as
            the module.
    """
    need("torch", "litert_torch", for_what=str(out))
    plan = module.plan
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        _convert(module, out)
    except OSError as error:
        raise ConfigError.from_os(error, where=str(out)) from None
    encoder = EncoderFile(
        file=out,
        architecture=plan.described,
        pooled="pooled",
        maps=plan.map_names,
        stride_px=plan.stride_px,
        provenance=module.provenance,
    )
    pictures = [sample_picture(height, width) for height, width in SIZES_PX]
    parity = compare([module_outputs(module, picture) for picture in pictures], outputs_of(encoder, pictures))
    if not parity.relative <= TOLERANCE:
        out.unlink()
        raise ConfigError(
            f"converted, it differs from torch by {parity.relative:.2g} of its values",
            where=str(out),
            remedy="Try another version of litert-torch.",
        )
    write_description(
        encoder,
        input=f"image: float32 (1, height, width, 3), RGB, 0 to 255; height and width multiples of "
        f"{plan.stride_px}, set with resize_tensor_input; normalisation is inside",
        packages={name: importlib.metadata.version(name) for name in ("litert-torch", "torch")},
        result={"sha256": hashlib.sha256(out.read_bytes()).hexdigest(), "size": out.stat().st_size},
        parity_with_torch={
            "sizes_px": [f"{height}x{width}" for height, width in SIZES_PX],
            **parity.as_report(),
        },
    )
    return encoder, parity


def sample_picture(height: int, width: int) -> npt.NDArray[np.float32]:
    """Noise over a slope, so that both textures and borders count; (1, height, width, 3), 0 to 255."""
    noise = np.random.default_rng(0).uniform(0, 128, (1, height, width, 3))
    slope = np.linspace(0, 127, width)[None, None, :, None]
    return (noise + slope).astype(np.float32)


def module_outputs(
    module: EncoderModule, picture: npt.NDArray[np.float32]
) -> dict[str, npt.NDArray[np.float32]]:
    """What torch gives for one picture, without the leading axis."""
    import torch

    with torch.no_grad():
        return {name: value[0].numpy() for name, value in module(torch.from_numpy(picture)).items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("plan", nargs="?", default=str(EncoderPlan()), help="such as mobilenetv2-1.0:block12")
    parser.add_argument("-o", "--out", type=Path, default=ENCODER_FILE, help="the .tflite to write")
    arguments = parser.parse_args()
    try:
        encoder, _ = export(build(parse_plan(arguments.plan)), arguments.out)
    except KenpinError as error:
        sys.exit(str(error))
    print(json.dumps(json.loads(encoder.file.with_suffix(".json").read_text()), indent=2))


def _convert(module: EncoderModule, out: Path) -> None:
    with hushed():
        import litert_torch
        import torch

        from kenpin_models.encoders.networks import folded

        sample: dict[str, Any] = {"image": torch.zeros(1, 128, 128, 3)}
        litert_torch.convert(folded(module).eval(), sample_kwargs=sample).export(str(out))


if __name__ == "__main__":
    main()
