"""Run a Core ML program where Core ML is not: the operations that an encoder is made of, in torch.

Core ML itself runs on Apple's systems only. This reads back what was written, graph and weights, and computes it,
so that a conversion is checked as far as another system can; how a device's own kernels round, only it can tell.

Import this only where torch and coremltools are installed (`kenpin_models.extras.need`).
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import coremltools
import numpy as np
import numpy.typing as npt
import torch
from coremltools.converters.mil.frontend.milproto.load import load

Floats = npt.NDArray[np.float32]


def run_package(package: Path, **inputs: Floats) -> dict[str, Floats]:
    """What an `.mlpackage` gives for its inputs, by output name.

    Raises:
        ValueError: if it holds an operation that encoders are not made of.
    """
    model = coremltools.models.MLModel(str(package), skip_model_load=True)
    spec = model.get_spec()
    program = load(spec, specification_version=spec.specificationVersion, file_weights_dir=model.weights_dir)
    main = program.functions["main"]
    values: dict[str, Any] = {name: torch.from_numpy(value) for name, value in inputs.items()}
    for operation in main.operations:
        if operation.op_type == "const":
            continue
        run = _OPERATIONS.get(operation.op_type)
        if run is None:
            raise ValueError(f"no operation {operation.op_type} is known")
        given = {name: _value(var, values) for name, var in operation.inputs.items() if var is not None}
        [output] = operation.outputs
        values[output.name] = run(given)
    return {output.name: values[output.name].numpy() for output in main.outputs}


def _value(var: Any, values: dict[str, Any]) -> Any:
    if isinstance(var, list | tuple):
        return [_value(each, values) for each in var]
    if var.name in values:
        return values[var.name]
    return torch.from_numpy(var.val) if isinstance(var.val, np.ndarray) else var.val


def _pad(given: dict[str, Any]) -> Any:
    ends = given["pad"].view(-1, 2).flip(0).flatten().tolist()  # torch counts from the last axis
    return torch.nn.functional.pad(given["x"], ends, value=float(given["constant_val"]))


def _conv(given: dict[str, Any]) -> Any:
    top, bottom, left, right = given["pad"].tolist() if given["pad_type"] == "custom" else (0, 0, 0, 0)
    return torch.nn.functional.conv2d(
        torch.nn.functional.pad(given["x"], (left, right, top, bottom)),
        given["weight"],
        given.get("bias"),
        stride=given["strides"].tolist(),
        groups=int(given["groups"]),
    )


def _reduced(given: dict[str, Any], by: Callable[..., Any]) -> Any:
    return by(given["x"], dim=given["axes"].tolist(), keepdim=bool(given["keep_dims"]))


_OPERATIONS: dict[str, Callable[[dict[str, Any]], Any]] = {
    "add": lambda given: given["x"] + given["y"],
    "sub": lambda given: given["x"] - given["y"],
    "mul": lambda given: given["x"] * given["y"],
    "real_div": lambda given: given["x"] / given["y"],
    "sqrt": lambda given: given["x"].sqrt(),
    "clip": lambda given: given["x"].clip(float(given["alpha"]), float(given["beta"])),
    "concat": lambda given: torch.cat(given["values"], int(given["axis"])),
    "conv": _conv,
    "expand_dims": lambda given: given["x"].unsqueeze(int(given["axes"][0])),
    "linear": lambda given: torch.nn.functional.linear(given["x"], given["weight"], given["bias"]),
    "maximum": lambda given: torch.maximum(*map(torch.as_tensor, (given["x"], given["y"]))),
    "pad": _pad,
    "reduce_l2_norm": lambda given: _reduced(given, torch.linalg.vector_norm),
    "reduce_mean": lambda given: _reduced(given, torch.mean),
    "tile": lambda given: given["x"].tile(given["reps"].tolist()),
    "transpose": lambda given: given["x"].permute(given["perm"].tolist()),
}
