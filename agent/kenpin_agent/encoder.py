"""The encoder: a LiteRT model that turns a picture into a pooled vector and mid-level maps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from kenpin_agent.tiles import stitch, tiles_of
from kenpin_wire.errors import ReleaseError
from kenpin_wire.manifest import Input

try:
    from ai_edge_litert.interpreter import Interpreter
except ImportError:  # 32-bit ARM has only LiteRT's predecessor
    from tflite_runtime.interpreter import Interpreter

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Features:
    """What the encoder saw in a picture.

    Attributes:
        pooled: Shape (d,), float32.
        maps: By the output's name; each of shape (height, width, channels), float32.
    """

    pooled: Floats
    maps: Mapping[str, Floats]


class Encoder:
    """A LiteRT model on XNNPACK. Not thread-safe: one thread encodes.

    Outputs are found by their names in the model's signature, which survive conversion; their order does not.

    Args:
        model: The `.tflite` file, or its bytes.
        input: The size to run at, and in how many tiles; a convolutional model takes any.
        pooled: The name of the pooled vector's output.
        maps: The names of the maps' outputs.
        threads: Threads of an invoke.
        where: Named in errors; the file itself if a path is given.

    Raises:
        ReleaseError: if it is no model, lacks an output, or does not take pictures of this size.
    """

    def __init__(
        self,
        model: Path | bytes,
        input: Input,
        pooled: str,
        maps: Sequence[str],
        *,
        threads: int = 1,
        where: str = "",
    ) -> None:
        self._where = where or (str(model) if isinstance(model, Path) else "encoder")
        self._spec = input
        self._tiles = tiles_of(input)
        self._shape = (1, input.height, input.width, 3)
        width, height = input.picture_px
        self._picture_shape = (1, height, width, 3)
        self._interpreter = self._open(model, threads)
        self._input, outputs = self._resolve()
        for name in (pooled, *maps):
            if name not in outputs:
                found = ", ".join(sorted(outputs))
                raise self._fault(f"the encoder has no output called {name} (it has {found})")
        self._pooled = outputs[pooled]
        self._maps = {name: outputs[name] for name in maps}
        self._check()

    def encode(self, picture: Floats) -> Features:
        """Run the model, once for each tile. The result is the caller's to keep: later runs don't change it.

        Args:
            picture: As `prepare` makes it, shape (1, height, width, 3).

        Raises:
            ReleaseError: if the shape is not the encoder's, or the model fails.
        """
        if picture.shape != self._picture_shape:
            raise self._fault(f"the encoder takes {self._picture_shape}, not {picture.shape}")
        _, height, width, _ = self._shape
        try:
            seen = [
                self._encode(picture[:, tile.y : tile.y + height, tile.x : tile.x + width])
                for tile in self._tiles
            ]
            return seen[0] if self._spec.tiles is None else self._joined(seen)
        except (RuntimeError, ValueError) as error:
            raise self._fault(f"the encoder failed ({_first_line(error)})") from None

    def invoke(self) -> None:
        """Run the model on whatever was set last, as often as for a picture: the bare cost, for benchmarks."""
        for _ in self._tiles:
            self._interpreter.invoke()

    def _encode(self, tile: Floats) -> Features:
        self._interpreter.set_tensor(self._input, tile)
        self._interpreter.invoke()
        # get_tensor copies, 60 KB in all at 128 × 128: microseconds.
        return Features(
            self._interpreter.get_tensor(self._pooled)[0],
            {name: self._interpreter.get_tensor(index)[0] for name, index in self._maps.items()},
        )

    def _joined(self, seen: Sequence[Features]) -> Features:
        return Features(
            np.mean([features.pooled for features in seen], axis=0),
            {name: stitch([features.maps[name] for features in seen], self._spec) for name in self._maps},
        )

    def _open(self, model: Path | bytes, threads: int) -> Any:
        try:
            content = model.read_bytes() if isinstance(model, Path) else model
            interpreter = Interpreter(model_content=content, num_threads=threads)
            interpreter.resize_tensor_input(interpreter.get_input_details()[0]["index"], self._shape)
            interpreter.allocate_tensors()
        except OSError as error:
            raise self._fault(f"the encoder cannot be read ({error.strerror})") from None
        except (RuntimeError, ValueError) as error:
            raise self._fault(f"the encoder cannot be loaded ({_first_line(error)})") from None
        return interpreter

    def _resolve(self) -> tuple[int, dict[str, int]]:
        """The input's tensor index, and each named output's."""
        signatures = self._interpreter.get_signature_list()
        if len(signatures) != 1:
            raise self._fault(f"the encoder has {len(signatures)} signatures, not one")
        runner = self._interpreter.get_signature_runner()
        inputs = list(runner.get_input_details().values())
        if len(inputs) != 1 or inputs[0]["dtype"] != np.float32:
            raise self._fault("the encoder does not take one float32 picture")
        return inputs[0]["index"], {name: d["index"] for name, d in runner.get_output_details().items()}

    def _check(self) -> None:
        """One run: a model that cannot run, or gives odd shapes, is found now and not on the line."""
        try:
            features = self._encode(np.zeros(self._shape, dtype=np.float32))
        except (RuntimeError, ValueError) as error:
            raise self._fault(f"the encoder failed ({_first_line(error)})") from None
        if features.pooled.ndim != 1 or any(values.ndim != 3 for values in features.maps.values()):
            raise self._fault("the encoder's outputs are not a vector and maps")
        if any(values.dtype != np.float32 for values in (features.pooled, *features.maps.values())):
            raise self._fault("the encoder's outputs are not float32")
        try:
            self._joined([features] * len(self._tiles))
        except ValueError as error:
            raise self._fault(str(error)) from None

    def _fault(self, what: str) -> ReleaseError:
        return ReleaseError(
            what, where=self._where, remedy="Make the release again with `kenpin train`, or fetch it again."
        )


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0][:200] if lines else type(error).__name__
