"""How far two encoders' outputs are apart: the converted from the original, the quantised from the exact."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from kenpin_agent.encoder import Encoder
from kenpin_models.encoder_file import EncoderFile
from kenpin_wire.manifest import Input

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class OutputParity:
    """One output, over all pictures.

    Attributes:
        largest: The largest absolute difference.
        relative: The differences' root mean square by the expected values'.
        cosine: The mean cosine of what is found to what is expected.
    """

    largest: float
    relative: float
    cosine: float


@dataclass(frozen=True, slots=True)
class Parity:
    """All outputs by name, and the encoders' bare invoke where it was measured: before and after, in ms."""

    outputs: dict[str, OutputParity]
    invoke_ms: tuple[float, float] | None = None

    @property
    def relative(self) -> float:
        """The worst output's."""
        return max(output.relative for output in self.outputs.values())

    def as_report(self) -> dict[str, Any]:
        """For a JSON file."""
        report: dict[str, Any] = {
            name: {key: float(f"{value:.4g}") for key, value in asdict(output).items()}
            for name, output in self.outputs.items()
        }
        if self.invoke_ms is not None:
            report["invoke_ms"] = [round(ms, 3) for ms in self.invoke_ms]
        return report


def compare(expected: Iterable[Mapping[str, Floats]], found: Iterable[Mapping[str, Floats]]) -> Parity:
    """The parity of outputs, picture by picture in the same order; at least one, of any size.

    Raises:
        ValueError: if there are not as many, or an output is of another shape.
    """
    seen: dict[str, list[tuple[float, float, float, float]]] = {}
    for one, other in zip(expected, found, strict=True):
        for name, value in one.items():
            seen.setdefault(name, []).append(_differences(value, other[name]))
    return Parity({name: _together(rows) for name, rows in seen.items()})


def outputs_of(encoder: EncoderFile, tensors: Iterable[Floats]) -> list[dict[str, Floats]]:
    """What the agent's own encoder gives, as float32 without the leading axis, by output name.

    Args:
        tensors: Each (1, height, width, 3); of one size or several.

    Raises:
        ReleaseError: if the model cannot run.
    """
    runs: dict[tuple[int, ...], Encoder] = {}
    given = []
    for tensor in tensors:
        if tensor.shape not in runs:
            runs[tensor.shape] = open_encoder(encoder, tensor.shape)
        features = runs[tensor.shape].encode(tensor)
        given.append({encoder.pooled: features.pooled, **features.maps})
    return given


def open_encoder(encoder: EncoderFile, shape: tuple[int, ...]) -> Encoder:
    """The agent's encoder on one thread, for pictures of a shape (1, height, width, 3)."""
    return Encoder(encoder.file, Input(height=shape[1], width=shape[2]), encoder.pooled, encoder.maps)


def _differences(expected: Floats, found: Floats) -> tuple[float, float, float, float]:
    """Largest difference, sum of squared differences, of squared expected values, cosine."""
    if expected.shape != found.shape:
        raise ValueError(f"{found.shape}, not {expected.shape}")
    one, other = (np.asarray(values, dtype=np.float64).ravel() for values in (expected, found))
    lengths = float(np.linalg.norm(one) * np.linalg.norm(other))
    cosine = float(one @ other) / lengths if lengths else float(np.array_equal(one, other))
    return float(np.abs(one - other).max()), float(((one - other) ** 2).sum()), float((one**2).sum()), cosine


def _together(rows: list[tuple[float, float, float, float]]) -> OutputParity:
    largest, wrong, energy, cosine = np.array(rows).T
    return OutputParity(
        largest=float(largest.max()),
        relative=float(np.sqrt(wrong.sum() / max(energy.sum(), np.finfo(np.float64).tiny))),
        cosine=float(cosine.mean()),
    )
