"""A classifier of a kilobyte, built operator by operator: it names the strongest of red, green and blue."""

from __future__ import annotations

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema

LABELS = ("red", "green", "blue")
SIDE_PX = 32

_TYPES = {
    "float32": schema.TensorType.FLOAT32,
    "uint8": schema.TensorType.UINT8,
    "int8": schema.TensorType.INT8,
}
_SPAN = 8.0  # a white picture's value behind the quantised input


def tiny_classifier(dtype: str = "float32", *, softmax: bool = True, channels: int = 3) -> bytes:
    """A `.tflite`: the mean of each colour over the picture, and their softmax.

    Args:
        dtype: Of input and output: float32, uint8 or int8.
        softmax: Without it, it gives the means: logits.
        channels: Of the picture: 3, or a number that no picture has.
    """
    low = -128 if dtype == "int8" else 0
    pixels = None if dtype == "float32" else (_SPAN / 255, low)
    chances = None if dtype == "float32" else (1 / 256, low)
    model = schema.ModelT()
    model.version = 3
    model.buffers = [schema.BufferT(), schema.BufferT()]
    model.buffers[1].data = np.frombuffer(np.array([1, 2], np.int32).tobytes(), np.uint8)
    graph = schema.SubGraphT()
    graph.tensors = [
        _tensor("picture", [1, SIDE_PX, SIDE_PX, channels], _TYPES[dtype], pixels),
        _tensor("axes", [2], schema.TensorType.INT32, None, buffer=1),
        _tensor("means", [1, channels], _TYPES[dtype], pixels),
        _tensor("chances", [1, channels], _TYPES[dtype], chances),
    ]
    mean = _operator(0, [0, 1], [2], schema.BuiltinOptions.ReducerOptions, schema.ReducerOptionsT())
    to_chances = schema.SoftmaxOptionsT()
    to_chances.beta = 1.0
    graph.operators = [mean, _operator(1, [2], [3], schema.BuiltinOptions.SoftmaxOptions, to_chances)][
        : 1 + softmax
    ]
    graph.inputs, graph.outputs = [0], [3 if softmax else 2]
    model.subgraphs = [graph]
    codes = (schema.BuiltinOperator.MEAN, schema.BuiltinOperator.SOFTMAX)
    model.operatorCodes = []
    for code in codes:
        entry = schema.OperatorCodeT()
        entry.builtinCode, entry.deprecatedBuiltinCode, entry.version = code, code, 2
        model.operatorCodes.append(entry)
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def _tensor(
    name: str, shape: list[int], kind: int, quantised: tuple[float, int] | None, *, buffer: int = 0
) -> schema.TensorT:
    tensor = schema.TensorT()
    tensor.name, tensor.shape, tensor.type, tensor.buffer = name, shape, kind, buffer
    if quantised:
        tensor.quantization = schema.QuantizationParametersT()
        tensor.quantization.scale, tensor.quantization.zeroPoint = [quantised[0]], [quantised[1]]
    return tensor


def _operator(
    code: int, inputs: list[int], outputs: list[int], kind: int, options: object
) -> schema.OperatorT:
    operator = schema.OperatorT()
    operator.opcodeIndex, operator.inputs, operator.outputs = code, inputs, outputs
    operator.builtinOptionsType, operator.builtinOptions = kind, options
    return operator
