"""From a decoder in torch to its `.tflite`: named inputs and one named output, weights in half precision.

Import this only where torch is installed (`kenpin_models.extras.need`).
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import litert_torch
import torch
from ai_edge_quantizer import recipe_manager
from ai_edge_quantizer.algorithm_manager import AlgorithmName
from ai_edge_quantizer.qtyping import TFLOperationName
from ai_edge_quantizer.quantizer import Quantizer


def export(module: Any, reads: Mapping[str, tuple[int, ...]], output: str) -> bytes:
    """Convert a module for inputs of exactly these shapes.

    Args:
        module: Takes float32 tensors in the order of `reads`, gives one.
        reads: The inputs' names and shapes, each (1, ...).
        output: The output's name.
    """
    sample = {name: torch.zeros(shape) for name, shape in reads.items()}
    model = litert_torch.convert(_Named(module, output).eval(), sample_kwargs=sample)
    with tempfile.TemporaryDirectory(prefix="kenpin-") as folder:
        file = Path(folder) / "decoder.tflite"
        model.export(str(file))
        return _halved(file)


class _Named(torch.nn.Module):  # type: ignore[misc]  # torch is not installed where mypy runs
    """Takes its inputs by name, gives its output under one."""

    def __init__(self, module: Any, output: str) -> None:
        super().__init__()
        self.module = module
        self.output = output

    def forward(self, **inputs: Any) -> dict[str, Any]:
        return {self.output: self.module(*inputs.values())}


def _halved(file: Path) -> bytes:
    """Weights as float16, which XNNPACK makes float32 again when it loads them: half the size, as fast."""
    recipe = recipe_manager.RecipeManager()
    for operation in (
        TFLOperationName.CONV_2D,
        TFLOperationName.DEPTHWISE_CONV_2D,
        TFLOperationName.FULLY_CONNECTED,
    ):
        recipe.add_weight_only_config(
            regex=".*", operation_name=operation, num_bits=16, algorithm_key=AlgorithmName.FLOAT_CASTING
        )
    quantizer = Quantizer(str(file), recipe.get_quantization_recipe())
    return bytes(quantizer.quantize().quantized_model)
