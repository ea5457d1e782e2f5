"""A release's encoder as a Core ML package, for iPhones; how a phone runs a release is told in docs/phones.md.

coremltools converts from torch, not from LiteRT: the encoder is built again from its plan, or from the checkpoint
of one that was taught, and must give what the release's own gives before it is converted.
"""

# ruff: noqa: PLC0415 (torch and coremltools are asked for first)

from __future__ import annotations

import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from kenpin_agent.release import unpack_release
from kenpin_models.encoder_file import EncoderFile
from kenpin_models.encoders.build import build, load_encoder
from kenpin_models.encoders.export import module_outputs, sample_picture
from kenpin_models.encoders.parity import Parity, compare, outputs_of
from kenpin_models.encoders.plan import parse_plan
from kenpin_models.extras import need
from kenpin_models.hush import hushed
from kenpin_wire.errors import ConfigError
from kenpin_wire.manifest import Manifest, Precision

if TYPE_CHECKING:
    from kenpin_models.encoders.networks import EncoderModule

TOLERANCE: dict[Precision, float] = {"float32": 1e-3, "int8": 0.3}
"""Of the parity's `relative`, of the encoder that is converted with the release's: one in int8 is converted from
what it was quantised from, and is nearer to the truth than the release's."""


@dataclass(frozen=True, slots=True)
class CoremlExport:
    """A package and how far it was checked.

    Attributes:
        with_release: The package's outputs compared with those of the release's own encoder.
    """

    package: Path
    with_release: Parity


def export_coreml(release: Path, out: Path, checkpoint: Path | None = None) -> CoremlExport:
    """Write the encoder of a release as an `.mlpackage`.

    Its input `image` is an RGB image of the release's size, which iOS hands over as a pixel buffer; its outputs
    have the names and shapes of the LiteRT model's. Weights and arithmetic are float32: half precision would move
    scores away from the threshold that they were calibrated with.

    Args:
        checkpoint: Of the encoder, as `encoders.build.save_encoder` wrote it, if it was taught.

    Raises:
        ConfigError: if torch or coremltools is missing, the encoder cannot be built again, or the file not written.
        ReleaseError: if the release is damaged.
    """
    if out.suffix != ".mlpackage":
        raise ConfigError("not a package's name", where=str(out), remedy="Let it end with .mlpackage.")
    need("torch", "coremltools", for_what=str(out))
    with tempfile.TemporaryDirectory(prefix="kenpin-") as folder:
        manifest = unpack_release(release, Path(folder) / "release")
        module = load_encoder(checkpoint) if checkpoint else _rebuilt(manifest, str(release))
        own = EncoderFile(
            file=Path(folder) / "release" / manifest.encoder.file,
            architecture=manifest.encoder.architecture,
            pooled=manifest.encoder.pooled,
            maps=tuple(manifest.encoder.maps),
            stride_px=module.plan.stride_px,
            precision=manifest.encoder.precision,
            provenance=manifest.encoder.provenance,
        )
        picture = sample_picture(manifest.input.height, manifest.input.width)
        expected = outputs_of(own, [picture])[0]
        tolerance = TOLERANCE[own.precision]
        _check(module_outputs(module, picture), expected, tolerance, f"{release} ({own.provenance})")
        written = Path(folder) / out.name
        _convert(module, manifest, written)
        parity = _check(_run(written, picture), expected, tolerance, str(out))
        try:
            if out.is_dir():
                shutil.rmtree(out)
            shutil.move(written, out)
        except OSError as error:
            raise ConfigError.from_os(error, where=str(out)) from None
    return CoremlExport(out, parity)


def _rebuilt(manifest: Manifest, where: str) -> EncoderModule:
    try:
        plan = parse_plan(manifest.encoder.architecture)
    except ConfigError:
        raise ConfigError(
            f"its encoder is called {manifest.encoder.architecture!r}, which cannot be built again",
            where=where,
            remedy=_CHECKPOINT,
        ) from None
    return build(plan)


def _check(found: dict[str, Any], expected: dict[str, Any], tolerance: float, where: str) -> Parity:
    try:
        parity = compare([expected], [found])
    except (KeyError, ValueError):
        raise ConfigError("its outputs are not the release's", where=where, remedy=_CHECKPOINT) from None
    if not parity.relative <= tolerance:
        raise ConfigError(
            f"the encoder, built again, differs from the release's by {parity.relative:.2g} of its values",
            where=where,
            remedy=_CHECKPOINT,
        )
    return parity


def _convert(module: EncoderModule, manifest: Manifest, out: Path) -> None:
    names, spec = [manifest.encoder.pooled, *manifest.encoder.maps], manifest.input
    shape = (1, 3, spec.height, spec.width)
    with hushed():
        import coremltools
        import torch

        from kenpin_models.encoders.networks import folded

        whole = folded(module).eval()

        class ForCoreml(torch.nn.Module):  # type: ignore[misc]  # torch is not installed where mypy runs
            """Core ML's images have their channels first, and its outputs an order."""

            def __init__(self) -> None:
                super().__init__()
                self.whole = whole

            def forward(self, image: Any) -> tuple[Any, ...]:
                outputs = self.whole(image.permute(0, 2, 3, 1))
                return tuple(outputs[name] for name in names)

        with torch.no_grad():
            traced = torch.jit.trace(ForCoreml().eval(), torch.zeros(shape))
        model = coremltools.convert(
            traced,
            inputs=[
                coremltools.ImageType(name="image", shape=shape, color_layout=coremltools.colorlayout.RGB)
            ],
            outputs=[coremltools.TensorType(name=name) for name in names],
            convert_to="mlprogram",
            minimum_deployment_target=coremltools.target.iOS16,
            compute_precision=coremltools.precision.FLOAT32,
            skip_model_load=True,
        )
        model.short_description = f"Encoder of the Kenpin release {manifest.release}"
        model.license = manifest.encoder.provenance
        model.user_defined_metadata["kenpin.release"] = str(manifest.release)
        model.user_defined_metadata["kenpin.encoder_sha256"] = manifest.encoder.sha256
        model.save(str(out))


def _run(package: Path, picture: Any) -> dict[str, Any]:
    with hushed():
        from kenpin_models.encoders.mil import run_package

        outputs = run_package(package, image=np.ascontiguousarray(picture.transpose(0, 3, 1, 2)))
    return {name: value[0] for name, value in outputs.items()}


_CHECKPOINT = "If the encoder was taught, give the checkpoint that was kept of it."
