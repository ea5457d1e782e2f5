"""A decoder of a kilobyte, built operator by operator: each place's oddness is the mean of what it reads there."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema

from kenpin_wire.manifest import Decoder as Section


def tiny_decoder(reads: Mapping[str, Sequence[int]], gives: str = "map", dtype: str = "float32") -> bytes:
    """A `.tflite` that gives the mean over the channels of its first input, (1, h, w, c); for a picture three
    times. A vector, (1, d), counts as a map of 1 × d places.

    Args:
        reads: The inputs' names and shapes; only the first is made anything of.
        gives: The output's name: `map`, or `picture` for three channels.
        dtype: Of all of them: float32 or int32.
    """
    kind = schema.TensorType.FLOAT32 if dtype == "float32" else schema.TensorType.INT32
    model, graph = schema.ModelT(), schema.SubGraphT()
    model.version = 3
    first = list(next(iter(reads.values())))
    places = [1, 1, first[1], 1] if len(first) == 2 else [*first[:3], 1]
    constant = np.array(places if len(first) == 2 else [3], np.int32)
    model.buffers = [schema.BufferT(), schema.BufferT()]
    model.buffers[1].data = np.frombuffer(constant.tobytes(), np.uint8)
    graph.tensors = [_tensor(name, list(shape), kind) for name, shape in reads.items()]
    graph.inputs = list(range(len(reads)))
    constant_at, mean_at, out_at = len(reads), len(reads) + 1, len(reads) + 2
    graph.tensors.append(_tensor("constant", [constant.size], schema.TensorType.INT32, buffer=1))
    graph.tensors.append(_tensor("map" if gives == "map" else "mean", places, kind))
    graph.operators = [_operator(0 if len(first) == 4 else 1, [0, constant_at], [mean_at])]
    if gives == "picture":
        graph.tensors.append(_tensor("picture", [*places[:3], 3], kind))
        graph.operators.append(_operator(2, [mean_at] * 3, [out_at]))
    graph.outputs = [mean_at if gives == "map" else out_at]
    model.subgraphs = [graph]
    model.operatorCodes = [
        _code(code)
        for code in (
            schema.BuiltinOperator.MEAN,
            schema.BuiltinOperator.RESHAPE,
            schema.BuiltinOperator.CONCATENATION,
        )
    ]
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def section_for(content: bytes, reads: Sequence[str], gives: str = "map", output: str = "") -> Section:
    """What a manifest says of such a decoder."""
    return Section(
        file="decoder.tflite",
        sha256=hashlib.sha256(content).hexdigest(),
        size=len(content),
        kind="slim" if gives == "map" else "standard",
        reads=list(reads),
        gives=gives,
        output=output or gives,
    )


def _tensor(name: str, shape: list[int], kind: int, *, buffer: int = 0) -> schema.TensorT:
    tensor = schema.TensorT()
    tensor.name, tensor.shape, tensor.type, tensor.buffer = name, shape, kind, buffer
    return tensor


def _code(code: int) -> schema.OperatorCodeT:
    entry = schema.OperatorCodeT()
    entry.builtinCode, entry.deprecatedBuiltinCode, entry.version = code, code, 1
    return entry


def _operator(code: int, inputs: list[int], outputs: list[int]) -> schema.OperatorT:
    operator = schema.OperatorT()
    operator.opcodeIndex, operator.inputs, operator.outputs = code, inputs, outputs
    if code == 0:
        operator.builtinOptionsType, options = schema.BuiltinOptions.ReducerOptions, schema.ReducerOptionsT()
        options.keepDims = True
    elif code == 1:
        operator.builtinOptionsType, options = schema.BuiltinOptions.ReshapeOptions, schema.ReshapeOptionsT()
    else:
        operator.builtinOptionsType = schema.BuiltinOptions.ConcatenationOptions
        options = schema.ConcatenationOptionsT()
        options.axis = 3
    operator.builtinOptions = options
    return operator
