"""How large a `.tflite` is: the numbers that were learnt."""

from __future__ import annotations

import math
from pathlib import Path

from ai_edge_litert import schema_py_generated as schema


def parameters(file: Path) -> int:
    """The numbers in the model's constants; shapes and paddings, a few whole numbers each, are none of them."""
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAsModel(file.read_bytes(), 0))
    learnt = (schema.TensorType.FLOAT32, schema.TensorType.FLOAT16, schema.TensorType.INT8)
    return sum(
        math.prod(int(length) for length in tensor.shape)
        for graph in model.subgraphs
        for tensor in graph.tensors
        if tensor.type in (*learnt, schema.TensorType.INT32)
        and tensor.shape is not None
        and len(tensor.shape) > 0
        and (data := model.buffers[tensor.buffer].data) is not None
        and len(data) > 0
        and (tensor.type in learnt or tensor.quantization.scale is not None)
    )
