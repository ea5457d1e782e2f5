"""The encoder: a LiteRT model that turns a picture into a pooled vector and mid-level maps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from kenpin_agent.litert import Model
from kenpin_agent.tiles import stitch, tiles_of
from kenpin_wire.manifest import Input

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
        where = where or (str(model) if isinstance(model, Path) else "encoder")
        self._model = Model(model, what="the encoder", where=where, threads=threads)
        self._input = self._one_picture()
        self._spec = input
        self._tiles = tiles_of(input)
        self._shape = (1, input.height, input.width, 3)
        width, height = input.picture_px
        self._picture_shape = (1, height, width, 3)
        for name in (pooled, *maps):
            if name not in self._model.outputs:
                found = ", ".join(sorted(self._model.outputs))
                raise self._model.fault(f"the encoder has no output called {name} (it has {found})")
        self._pooled, self._maps = pooled, tuple(maps)
        self._model.allocate({self._input: self._shape})
        self._check()

    def encode(self, picture: Floats) -> Features:
        """Run the model, once for each tile. The result is the caller's to keep: later runs don't change it.

        Args:
            picture: As `prepare` makes it, shape (1, height, width, 3).

        Raises:
            ReleaseError: if the shape is not the encoder's, or the model fails.
        """
        if picture.shape != self._picture_shape:
            raise self._model.fault(f"the encoder takes {self._picture_shape}, not {picture.shape}")
        _, height, width, _ = self._shape
        seen = [
            self._encode(picture[:, tile.y : tile.y + height, tile.x : tile.x + width])
            for tile in self._tiles
        ]
        return seen[0] if self._spec.tiles is None else self._joined(seen)

    def invoke(self) -> None:
        """Run the model on whatever was set last, as often as for a picture: the bare cost, for benchmarks."""
        for _ in self._tiles:
            self._model.run_again()

    def _encode(self, tile: Floats) -> Features:
        self._model.run({self._input: tile})
        # Copies, 60 KB in all at 128 × 128: microseconds.
        return Features(
            self._model.output(self._pooled)[0], {name: self._model.output(name)[0] for name in self._maps}
        )

    def _joined(self, seen: Sequence[Features]) -> Features:
        return Features(
            np.mean([features.pooled for features in seen], axis=0),
            {name: stitch([features.maps[name] for features in seen], self._spec) for name in self._maps},
        )

    def _one_picture(self) -> str:
        inputs = self._model.inputs
        if len(inputs) != 1 or any(port.dtype != np.float32 for port in inputs.values()):
            raise self._model.fault("the encoder does not take one float32 picture")
        return next(iter(inputs))

    def _check(self) -> None:
        """One run: a model that cannot run, or gives odd shapes, is found now and not on the line."""
        features = self._encode(np.zeros(self._shape, dtype=np.float32))
        if features.pooled.ndim != 1 or any(values.ndim != 3 for values in features.maps.values()):
            raise self._model.fault("the encoder's outputs are not a vector and maps")
        if any(values.dtype != np.float32 for values in (features.pooled, *features.maps.values())):
            raise self._model.fault("the encoder's outputs are not float32")
        try:
            self._joined([features] * len(self._tiles))
        except ValueError as error:
            raise self._model.fault(str(error)) from None
