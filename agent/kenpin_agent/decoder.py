"""The decoder: a LiteRT model that says where a picture is odd, from what the encoder saw of it. Runs on demand.

It gives either the picture as it would be if it were good (the published decoders: what differs from the picture
is odd, as an autoencoder's reconstruction error), or a map of the oddness itself.
"""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from kenpin_agent.encoder import Features
from kenpin_agent.litert import Model
from kenpin_agent.prepare import Tensor
from kenpin_wire.manifest import Decoder as Section

Floats = npt.NDArray[np.float32]


class Decoder:
    """A LiteRT model whose inputs are called as the encoder's outputs. Not thread-safe: one thread decodes.

    Args:
        model: The `.tflite` file, or its bytes.
        section: What the manifest says of it.
        pooled: The name of the encoder's pooled vector.
        sample: What the encoder sees in any picture of the release's size; the decoder is tried out on it.
        where: Named in errors; the file itself if a path is given.

    Raises:
        ReleaseError: if it is no model, takes something else than what it is said to read or than the encoder
            gives, or what comes out is no picture or map.
    """

    def __init__(
        self,
        model: Path | bytes,
        section: Section,
        pooled: str,
        sample: Features,
        *,
        threads: int = 1,
        where: str = "",
    ) -> None:
        where = where or (str(model) if isinstance(model, Path) else "decoder")
        self._model = Model(model, what="the decoder", where=where, threads=threads)
        self._section = section
        self._pooled = pooled
        self._check_ports(sample)
        self._model.allocate({})
        self._channels = 3 if section.gives == "picture" else 1
        self._decode(sample)

    def patch_scores(self, features: Features, picture: Tensor) -> Floats:
        """How odd each place is.

        Args:
            picture: What the encoder saw `features` in, shape (1, height, width, 3), RGB, 0 to 255.

        Returns:
            Shape (h, w): the map, or the mean absolute difference of the colours, 0 to 255.

        Raises:
            ReleaseError: if the model fails.
        """
        decoded = self._decode(features)
        if self._section.gives == "map":
            return decoded[..., 0]
        seen = picture[0]
        height, width = decoded.shape[:2]
        if seen.shape[:2] != (height, width):
            seen = np.asarray(cv2.resize(seen, (width, height), interpolation=cv2.INTER_AREA), np.float32)
        difference: Floats = np.abs(seen - decoded).mean(axis=2)
        return difference

    def picture(self, features: Features) -> Floats:
        """What the model gives, as it is; shape (h, w, 3) or (h, w, 1). Raises as `patch_scores`."""
        return self._decode(features)

    def invoke(self) -> None:
        """Run the model on whatever was set last: the bare cost, for benchmarks."""
        self._model.run_again()

    def _decode(self, features: Features) -> Floats:
        self._model.run({name: self._seen(features, name)[np.newaxis] for name in self._section.reads})
        decoded = self._model.output(self._section.output)
        if decoded.ndim != 4 or decoded.shape[0] != 1 or decoded.shape[3] != self._channels:
            raise self._model.fault(f"the decoder gives {decoded.shape}, which is no {self._section.gives}")
        return np.asarray(decoded[0], dtype=np.float32)

    def _seen(self, features: Features, name: str) -> Floats:
        return features.pooled if name == self._pooled else features.maps[name]

    def _check_ports(self, sample: Features) -> None:
        """Names, types and shapes, before anything runs: LiteRT would read past what it is given."""
        model, section = self._model, self._section
        reads, takes = sorted(section.reads), sorted(model.inputs)
        if reads != takes:
            raise model.fault(f"the decoder takes {', '.join(takes)}, its manifest says {', '.join(reads)}")
        if section.output not in model.outputs:
            found = ", ".join(sorted(model.outputs))
            raise model.fault(f"the decoder has no output called {section.output} (it has {found})")
        ports = (*model.inputs.values(), model.outputs[section.output])
        if any(port.dtype != np.float32 for port in ports):
            raise model.fault("the decoder's inputs and output are not all float32")
        for name, port in model.inputs.items():
            if name != self._pooled and name not in sample.maps:
                raise model.fault(f"the decoder reads {name}, which the encoder does not give")
            given = (1, *self._seen(sample, name).shape)
            if port.shape != given:
                raise model.fault(f"the decoder takes {name} as {port.shape}, the encoder gives {given}")
