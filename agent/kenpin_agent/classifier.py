"""The classifier: a second LiteRT model, which names what was judged normal.

A classifier has a name for everything, also for what it was never shown. Behind the head it is only asked about
parts that are like the good ones (the gate of r1wtn/light_weight_annomaly_detection).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from kenpin_agent.litert import Model, Port
from kenpin_agent.prepare import prepare
from kenpin_agent.seams import Image
from kenpin_wire.manifest import Classifier as Section
from kenpin_wire.messages import Roi

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Classification:
    """A label, and how sure the classifier is of it, 0 to 1."""

    label: str
    confidence: float


class Classifier:
    """A LiteRT model with a label for each of its outputs. Not thread-safe: one thread classifies.

    Args:
        model: The `.tflite` file, or its bytes.
        section: What the manifest says of it.
        where: Named in errors; the file itself if a path is given.

    Raises:
        ReleaseError: if it is no model, does not take one picture of the manifest's size, or has not as many
            outputs as there are labels.
    """

    def __init__(self, model: Path | bytes, section: Section, *, threads: int = 1, where: str = "") -> None:
        where = where or (str(model) if isinstance(model, Path) else "classifier")
        self._model = Model(model, what="the classifier", where=where, threads=threads)
        self._section = section
        if section.output not in self._model.outputs:
            found = ", ".join(sorted(self._model.outputs))
            raise self._model.fault(f"the classifier has no output called {section.output} (it has {found})")
        self._input, self._port = picture_port(self._model)
        self._out = self._model.outputs[section.output]
        self._model.allocate({self._input: (1, section.input.height, section.input.width, 3)})
        self.classify(np.full((section.input.height, section.input.width, 3), 128, np.uint8))

    def classify(self, image: Image, roi: Roi | None = None) -> Classification:
        """Name what a picture shows.

        Args:
            roi: The region to look at, in pixels of `image`; all of it if None.

        Raises:
            ConfigError: if `roi` leaves the picture.
            ReleaseError: if the model fails, or gives what is no number for each label.
        """
        chances = _probabilities(self.raw(image, roi), self._section.gives)
        best = int(chances.argmax())
        return Classification(self._section.labels[best], float(chances[best]))

    def raw(self, image: Image, roi: Roi | None = None) -> Floats:
        """What the model gives, a number for each label; shape (n,). Raises as `classify`."""
        section = self._section
        pixels = prepare(image, section.input, roi)
        if self._port.dtype == np.float32:
            tensor = pixels * np.float32((section.white - section.black) / 255) + np.float32(section.black)
        else:
            tensor = (pixels - (128 if self._port.dtype == np.int8 else 0)).astype(self._port.dtype)
        self._model.run({self._input: tensor})
        values = self._model.output(section.output)
        labels = len(section.labels)
        if values.shape != (1, labels):
            shape = " × ".join(str(length) for length in values.shape)
            raise self._model.fault(f"the classifier gives {shape} numbers for {labels} labels")
        numbers: Floats = values[0].astype(np.float32)
        if self._out.scale:
            numbers = (numbers - self._out.zero_point) * np.float32(self._out.scale)
        if not np.isfinite(numbers).all():
            raise self._model.fault("the classifier gives what is no number")
        return numbers


def picture_port(model: Model) -> tuple[str, Port]:
    """The name of a classifier's one input, and what it takes.

    Raises:
        ReleaseError: if it takes something else than one picture.
    """
    if len(model.inputs) == 1:
        ((name, port),) = model.inputs.items()
        if port.dtype in (np.float32, np.uint8, np.int8) and len(port.shape) == 4 and port.shape[3] == 3:
            return name, port
    raise model.fault("the classifier does not take one picture of three colours, float32, uint8 or int8")


def _probabilities(numbers: Floats, gives: str) -> Floats:
    if gives == "probabilities":
        return np.clip(numbers, 0, 1)
    powers = np.exp(numbers - numbers.max())
    return np.asarray(powers / powers.sum(), dtype=np.float32)
