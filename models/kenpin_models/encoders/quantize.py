"""An encoder in int8: smaller, about twice as fast, and as near to the exact one as was asked.

Post-training quantisation, calibrated on good pictures: convolutions and the additions between them work in int8,
channel by channel in the weights (Jacob et al. 2018, arXiv 1712.05877); input, outputs and the statistics of the
pooled vector stay float32. Most of the error is made in the first few layers, where a channel's values may be far
smaller than its neighbour's (stem and first block: 0.13 of the maps' values on aliens, all the rest 0.04), and
they cost little there in float32; so as many of them stay as it takes, which is measured.

Needs ai-edge-quantizer, but no torch.
"""

# ruff: noqa: PLC0415 (the quantiser is only where encoders are made; asking for it comes first)

from __future__ import annotations

import hashlib
import importlib.metadata
import re
import tempfile
import time
from collections.abc import Iterable, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from kenpin_agent.files import write_atomically
from kenpin_models.encoder_file import EncoderFile, write_description
from kenpin_models.encoders.parity import Parity, compare, open_encoder, outputs_of
from kenpin_models.extras import need
from kenpin_models.hush import hushed
from kenpin_models.samples import Progress, silent
from kenpin_wire.errors import ConfigError

Floats = npt.NDArray[np.float32]

PICTURES = 48
"""As many are calibrated with; the ranges have settled by then."""

COMPARED = 12

TOLERANCE = 0.06
"""Of the parity's `relative`: no head's AUROC falls by more than 0.002 on aliens and cookie at 160 px
(`bench/int8.py`)."""

FLOAT_LAYERS = (2, 3, 4, 5, 6)
"""How many of the first layers may stay float32, in the order that they are tried."""

TIMED_RUNS = 60


def quantize(
    encoder: EncoderFile, tensors: Iterable[Floats], out: Path, progress: Progress = silent
) -> tuple[EncoderFile, Parity]:
    """Write an encoder in int8, and its description beside it.

    Args:
        encoder: One in float32.
        tensors: Good pictures, as `prepare` makes them, (1, height, width, 3), of one size; the first 48 are used.

    Returns:
        The new file, and how it compares to `encoder` on some of the pictures.

    Raises:
        ConfigError: if the quantiser is not installed, there is no picture, or the model cannot be quantised.
    """
    need("ai_edge_quantizer", for_what=str(out))
    pictures = list(islice(tensors, PICTURES))
    if not pictures:
        raise ConfigError("no picture to calibrate with", where=str(out), remedy="Give good pictures.")
    try:
        content, parity, n_float = _best(encoder, pictures, progress)
    except (RuntimeError, ValueError, KeyError) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise ConfigError(
            f"it cannot be brought to int8 ({reason[:200]})",
            where=str(encoder.file),
            remedy="Use it as it is, or export it again.",
        ) from None
    made = encoder.model_copy(
        update={
            "file": out,
            "precision": "int8",
            "provenance": f"{encoder.provenance}; int8 but for the first {n_float} layers, "
            f"calibrated on {len(pictures)} good pictures",
        }
    )
    try:
        write_atomically(out, content)
    except OSError as error:
        raise ConfigError.from_os(error, where=str(out)) from None
    write_description(
        made,
        packages={"ai-edge-quantizer": importlib.metadata.version("ai-edge-quantizer")},
        result={"sha256": hashlib.sha256(content).hexdigest(), "size": len(content)},
        parity_with_float32=parity.as_report(),
    )
    return made, parity


def _best(encoder: EncoderFile, pictures: Sequence[Floats], progress: Progress) -> tuple[bytes, Parity, int]:
    """The fewest layers in float32 that keep the tolerance; or if none do, the nearest."""
    step = "quantising the encoder"
    progress(step, 0, len(FLOAT_LAYERS) + 1)
    layers = _layers(encoder.file)
    ranges = _ranges(encoder.file, layers, pictures)
    shown = [pictures[i] for i in np.linspace(0, len(pictures) - 1, min(COMPARED, len(pictures))).astype(int)]
    exact = outputs_of(encoder, shown)
    tried: list[tuple[bytes, Parity, int]] = []
    with tempfile.TemporaryDirectory(prefix="kenpin-") as folder:
        candidate = encoder.model_copy(update={"file": Path(folder) / "encoder.tflite"})
        for done, n_float in enumerate(FLOAT_LAYERS, 1):
            progress(step, done, len(FLOAT_LAYERS) + 1)
            content = _quantized(encoder.file, layers[n_float:], ranges)
            candidate.file.write_bytes(content)
            tried.append((content, compare(exact, outputs_of(candidate, shown)), n_float))
            if tried[-1][1].relative <= TOLERANCE:
                break
        content, parity, n_float = min(tried, key=lambda each: each[1].relative)
        candidate.file.write_bytes(content)
        times = _invoke_ms([encoder, candidate], pictures[0])
    progress(step, len(FLOAT_LAYERS) + 1, len(FLOAT_LAYERS) + 1)
    return content, Parity(parity.outputs, times), n_float


class _Layer(NamedTuple):
    operation: str
    scope: str


_QUANTIZED = {"CONV_2D": 3, "DEPTHWISE_CONV_2D": 4, "ADD": 0, "PAD": 34}
"""Operations that work in int8, and their codes in LiteRT's schema."""


def _layers(file: Path) -> list[_Layer]:
    """The model's layers that can be brought to int8, in the order that they run."""
    from ai_edge_litert.tools import flatbuffer_utils
    from ai_edge_quantizer.utils.tfl_flatbuffer_utils import get_op_scope

    names = {code: name for name, code in _QUANTIZED.items()}
    model = flatbuffer_utils.read_model(str(file))
    graph = model.subgraphs[0]
    return [
        _Layer(names[code], get_op_scope(operator, graph.tensors))
        for operator in graph.operators
        if (code := model.operatorCodes[operator.opcodeIndex].builtinCode) in names
    ]


def _ranges(file: Path, layers: Sequence[_Layer], pictures: Sequence[Floats]) -> Any:
    """The values that each tensor takes on the pictures."""
    with hushed():
        signature, name = _signature(file)
        data = {signature: [{name: picture} for picture in pictures]}
        return _quantizer(file, layers).calibrate(data, num_threads=1)


def _quantized(file: Path, layers: Sequence[_Layer], ranges: Any) -> bytes:
    from ai_edge_litert.tools import flatbuffer_utils

    with hushed():
        result = _quantizer(file, layers).quantize(
            ranges, enable_progress_bar=False, enable_progress_report=False
        )
    before = flatbuffer_utils.read_model(str(file))
    after = flatbuffer_utils.read_model_from_bytearray(bytearray(result.quantized_model))
    # The quantiser puts float32 copies of int8 outputs among the graph's outputs, but leaves the names to the
    # int8 ones.
    moved = dict(zip(before.subgraphs[0].outputs, after.subgraphs[0].outputs, strict=True))
    for output in after.signatureDefs[0].outputs:
        output.tensorIndex = moved[output.tensorIndex]
    return bytes(flatbuffer_utils.convert_object_to_bytearray(after))


def _quantizer(file: Path, layers: Sequence[_Layer]) -> Any:
    from ai_edge_quantizer.qtyping import TFLOperationName
    from ai_edge_quantizer.quantizer import Quantizer

    quantizer = Quantizer(str(file))
    for layer in layers:
        quantizer.add_static_config(
            f"^{re.escape(layer.scope)}$",
            TFLOperationName(layer.operation),
            activation_num_bits=8,
            weight_num_bits=8,
        )
    return quantizer


def _signature(file: Path) -> tuple[str, str]:
    """The signature's name and its input's."""
    from ai_edge_litert.interpreter import Interpreter

    signatures = Interpreter(str(file)).get_signature_list()
    [(name, ends)] = signatures.items()
    return name, ends["inputs"][0]


def _invoke_ms(encoders: Sequence[EncoderFile], picture: Floats) -> tuple[float, float]:
    """The bare invoke of each, in turns so that a busy machine is so for both; the least of all."""
    runs = [open_encoder(encoder, picture.shape) for encoder in encoders]
    times: list[list[float]] = [[] for _ in runs]
    for run in runs:
        run.encode(picture)
    for _ in range(TIMED_RUNS):
        for run, taken in zip(runs, times, strict=True):
            start = time.perf_counter()
            run.invoke()
            taken.append((time.perf_counter() - start) * 1000)
    before, after = (min(taken) for taken in times)
    return before, after
