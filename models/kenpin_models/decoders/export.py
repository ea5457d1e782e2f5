"""From a decoder in torch to its `.tflite`: named inputs and one named output, weights in half precision."""

# ruff: noqa: PLC0415 (torch is only where decoders are taught; asking for it comes first)

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kenpin_models.hush import hushed


def export(module: Any, reads: Mapping[str, tuple[int, ...]], output: str) -> bytes:
    """Convert a torch module for inputs of exactly these shapes.

    Args:
        module: Takes float32 tensors in the order of `reads`, gives one.
        reads: The inputs' names and shapes, each (1, ...).
        output: The output's name.
    """
    with hushed(), tempfile.TemporaryDirectory(prefix="kenpin-") as folder:
        file = Path(folder) / "decoder.tflite"
        _convert(module, reads, output, file)
        return _halved(file)


def _convert(module: Any, reads: Mapping[str, tuple[int, ...]], output: str, file: Path) -> None:
    import litert_torch
    import torch

    class Named(torch.nn.Module):  # type: ignore[misc]  # torch is not installed where mypy runs
        """Takes its inputs by name, gives its output under one."""

        def __init__(self) -> None:
            super().__init__()
            self.module = module

        def forward(self, **inputs: Any) -> dict[str, Any]:
            return {output: self.module(*inputs.values())}

    sample = {name: torch.zeros(shape) for name, shape in reads.items()}
    litert_torch.convert(Named().eval(), sample_kwargs=sample).export(str(file))


def _halved(file: Path) -> bytes:
    """Weights as float16, which XNNPACK makes float32 again when it loads them: half the size, as fast."""
    from ai_edge_quantizer import recipe_manager
    from ai_edge_quantizer.algorithm_manager import AlgorithmName
    from ai_edge_quantizer.qtyping import TFLOperationName
    from ai_edge_quantizer.quantizer import Quantizer

    recipe = recipe_manager.RecipeManager()
    for operation in (
        TFLOperationName.CONV_2D,
        TFLOperationName.DEPTHWISE_CONV_2D,
        TFLOperationName.FULLY_CONNECTED,
    ):
        recipe.add_weight_only_config(
            regex=".*", operation_name=operation, num_bits=16, algorithm_key=AlgorithmName.FLOAT_CASTING
        )
    return bytes(Quantizer(str(file), recipe.get_quantization_recipe()).quantize().quantized_model)
