"""A LiteRT model, opened with suspicion: its inputs and outputs by name, every failure a `ReleaseError`."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from kenpin_wire.errors import ReleaseError, os_words

try:
    from ai_edge_litert.interpreter import Interpreter
except ImportError:  # 32-bit ARM has only LiteRT's predecessor
    from tflite_runtime.interpreter import Interpreter


@dataclass(frozen=True, slots=True)
class Port:
    """An input or output.

    Attributes:
        shape: As the model has it; an input can be resized.
        scale, zero_point: A whole number q stands for (q − zero_point) × scale; scale 0 for floats.
    """

    index: int
    shape: tuple[int, ...]
    dtype: npt.DTypeLike
    scale: float
    zero_point: int


class Model:
    """A model on XNNPACK. Not thread-safe: one thread runs it.

    Ports are found by their names in the model's signature, which survive conversion, unlike their order; a model
    without a signature has its tensors' names.

    Args:
        model: The `.tflite` file, or its bytes.
        what: What it is to the reader of an error: `the encoder`.
        where: Named in errors: the release.

    Raises:
        ReleaseError: if it is no model, or has several signatures.
    """

    def __init__(self, model: Path | bytes, *, what: str, where: str, threads: int = 1) -> None:
        self._what, self._where = what, where
        try:
            content = model.read_bytes() if isinstance(model, Path) else model
        except OSError as error:
            raise self.fault(f"{what} cannot be read ({os_words(error)})") from None
        try:
            self._interpreter = Interpreter(model_content=content, num_threads=threads)
        except (RuntimeError, ValueError) as error:
            raise self._failure("cannot be loaded", error) from None
        signatures = self._interpreter.get_signature_list()
        if len(signatures) > 1:
            raise self.fault(f"{what} has {len(signatures)} signatures, not one")
        if signatures:
            runner = self._interpreter.get_signature_runner()
            inputs, outputs = runner.get_input_details(), runner.get_output_details()
        else:
            inputs, outputs = (
                {details["name"]: details for details in ports}
                for ports in (self._interpreter.get_input_details(), self._interpreter.get_output_details())
            )
        self.inputs: Mapping[str, Port] = {name: _port(details) for name, details in inputs.items()}
        self.outputs: Mapping[str, Port] = {name: _port(details) for name, details in outputs.items()}

    def allocate(self, shapes: Mapping[str, Sequence[int]]) -> None:
        """Get ready to run with inputs of these shapes.

        Raises:
            ReleaseError: if the model can't.
        """
        try:
            for name, shape in shapes.items():
                self._interpreter.resize_tensor_input(self.inputs[name].index, shape)
            with _first_words_unheard():
                self._interpreter.allocate_tensors()
        except (RuntimeError, ValueError) as error:
            raise self._failure("cannot be loaded", error) from None

    def run(self, inputs: Mapping[str, npt.NDArray[Any]]) -> None:
        """Run on these inputs; what comes of it, `output` tells.

        Raises:
            ReleaseError: if the model fails, or an input is not of the shape and type it takes.
        """
        try:
            for name, values in inputs.items():
                self._interpreter.set_tensor(self.inputs[name].index, values)
            self._interpreter.invoke()
        except (RuntimeError, ValueError) as error:
            raise self._failure("failed", error) from None

    def run_again(self) -> None:
        """Run on what was set last: the bare cost, for benchmarks."""
        self._interpreter.invoke()

    def output(self, name: str) -> npt.NDArray[Any]:
        """A copy: the caller's to keep."""
        values: npt.NDArray[Any] = self._interpreter.get_tensor(self.outputs[name].index)
        return values

    def fault(self, what: str) -> ReleaseError:
        return ReleaseError(
            what, where=self._where, remedy="Make the release again with `kenpin train`, or fetch it again."
        )

    def _failure(self, what: str, error: Exception) -> ReleaseError:
        lines = str(error).strip().splitlines() or [type(error).__name__]
        return self.fault(f"{self._what} {what} ({lines[0][:200]})")


@contextmanager
def _first_words_unheard() -> Iterator[None]:
    """LiteRT writes past Python to standard error, once in a process, that it made its XNNPACK delegate: no news to
    anyone, in the middle of a progress bar. Only the first time: what other threads write meanwhile is lost."""
    if _spoken.is_set():
        yield
        return
    _spoken.set()
    try:
        kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    except OSError:  # a process may have no standard error
        yield
        return
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


_spoken = threading.Event()


def _port(details: Mapping[str, Any]) -> Port:
    scale, zero_point = details["quantization"]
    shape = tuple(int(length) for length in np.asarray(details["shape"]))
    return Port(details["index"], shape, details["dtype"], float(scale), int(zero_point))
