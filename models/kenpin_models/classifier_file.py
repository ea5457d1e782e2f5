"""A classifier on its way into a release: any `.tflite` that takes one picture, and its labels."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from pydantic import ValidationError

from kenpin_agent.classifier import Classifier, picture_port
from kenpin_agent.litert import Model
from kenpin_wire.errors import ConfigError, KenpinError
from kenpin_wire.faults import first_fault
from kenpin_wire.manifest import MAX_LABEL_LENGTH, MAX_LABELS, Input
from kenpin_wire.manifest import Classifier as Section

MODEL_NAME = "classifier.tflite"


@dataclass(frozen=True, slots=True)
class ClassifierFile:
    """A classifier that was tried out.

    Attributes:
        model: The `.tflite`'s bytes.
        section: What the manifest says of it.
    """

    model: bytes
    section: Section


def read_classifier(model: Path, labels: Path, *, black: float = 0.0, white: float = 255.0) -> ClassifierFile:
    """Read a classifier and try it out.

    Whether it gives probabilities or logits is found here, once, by what it gives for a few pictures, and written
    into the manifest: logits leave 0 to 1 for one of them.

    Args:
        model: The `.tflite`; one input, a picture of its own fixed size, and one output, a number for each label.
        labels: A text file, a label a line, in the order of the outputs; `0 Name`, numbered, is taken too.
        black, white: What a float model takes for pixel values 0 and 255: 0 and 255, 0 and 1, or −1 and 1,
            as it was trained. A whole-number model takes pixel values.

    Raises:
        ConfigError: naming the file and what is wrong with it.
    """
    names = read_labels(labels)
    try:
        content = model.read_bytes()
    except OSError as error:
        raise ConfigError.from_os(error, where=str(model)) from None
    try:
        opened = Model(content, what="the classifier", where=str(model))
        height, width = picture_port(opened)[1].shape[1:3]
        if len(opened.outputs) != 1:
            raise opened.fault(f"the classifier has {len(opened.outputs)} outputs, not one")
        (output,) = opened.outputs
        section = Section(
            file=MODEL_NAME,
            sha256=hashlib.sha256(content).hexdigest(),
            size=len(content),
            input=Input(width=width, height=height),
            output=output,
            labels=names,
            black=black,
            white=white,
        )
        given = [Classifier(content, section, where=str(model)).raw(image) for image in _pictures()]
    except ValidationError as error:
        field, what = first_fault(error)
        raise ConfigError(
            f"its {field.removeprefix('input.')}: {what}", where=str(model), remedy=_REMEDY
        ) from None
    except KenpinError as error:
        raise ConfigError(error.what, where=str(model), remedy=_REMEDY) from None
    chances = all(numbers.min() >= 0 and numbers.max() <= 1 for numbers in given)
    gives = {"gives": "probabilities" if chances else "logits"}
    return ClassifierFile(content, section.model_copy(update=gives))


def read_labels(file: Path) -> list[str]:
    """The labels in a text file, a line each; blank lines are passed over.

    Raises:
        ConfigError: if it cannot be read, or holds none, one twice, or more than a manifest takes.
    """
    try:
        lines = file.read_text("utf-8-sig").splitlines()
    except OSError as error:
        raise ConfigError.from_os(error, where=str(file)) from None
    except UnicodeDecodeError:
        raise ConfigError("it is no text in UTF-8", where=str(file), remedy=_LABELS) from None
    labels = [line.strip() for line in lines if line.strip()]
    numbered = [label.partition(" ") for label in labels]
    if all(number == str(index) and name for index, (number, _, name) in enumerate(numbered)):
        labels = [name.strip() for _, _, name in numbered]
    if fault := _fault(labels):
        raise ConfigError(fault, where=str(file), remedy=_LABELS)
    return labels


_REMEDY = (
    "Give a .tflite that takes one picture of a fixed size, 32 to 1024 pixels a side, "
    "and gives a number for each label."
)
_LABELS = "Write a label a line, in the order of the model's outputs."


def _fault(labels: list[str]) -> str:
    if not labels:
        return "it holds no label"
    if len(labels) > MAX_LABELS:
        return f"it holds {len(labels)} labels, more than {MAX_LABELS}"
    for label in labels:
        if len(label) > MAX_LABEL_LENGTH:
            return f"a label of {len(label)} characters, more than {MAX_LABEL_LENGTH}"
        if labels.count(label) > 1:
            return f"it holds {label!r} twice"
    return ""


def _pictures() -> list[npt.NDArray[np.uint8]]:
    """Black, white, each colour alone, and noise."""
    plain = [(0, 0, 0), (255, 255, 255), (255, 0, 0), (0, 255, 0), (0, 0, 255)]
    noise = np.random.default_rng(0).integers(0, 256, (4, 64, 64, 3), dtype=np.uint8)
    return [*(np.full((64, 64, 3), colour, np.uint8) for colour in plain), *noise]
