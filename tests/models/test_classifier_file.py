"""A classifier on its way into a release."""

from __future__ import annotations

from pathlib import Path

import pytest

from kenpin_agent.classifier import Classifier
from kenpin_models.classifier_file import read_classifier, read_labels
from kenpin_wire.errors import ConfigError
from support.small_release import part
from support.tiny_classifier import LABELS, SIDE_PX, tiny_classifier


@pytest.fixture
def labels(tmp_path: Path) -> Path:
    (file := tmp_path / "labels.txt").write_text("\n".join(LABELS) + "\n")
    return file


def written(folder: Path, model: bytes) -> Path:
    (file := folder / "model.tflite").write_bytes(model)
    return file


def test_what_the_manifest_must_say_is_found_in_the_model(tmp_path: Path, labels: Path) -> None:
    section = read_classifier(written(tmp_path, tiny_classifier()), labels).section
    assert (section.input.width, section.input.height) == (SIDE_PX, SIDE_PX)
    assert (section.output, section.gives, section.labels) == ("chances", "probabilities", list(LABELS))


@pytest.mark.parametrize("dtype", ["float32", "uint8"])
def test_logits_are_told_from_probabilities(dtype: str, tmp_path: Path, labels: Path) -> None:
    file = written(tmp_path, tiny_classifier(dtype, softmax=False))
    assert read_classifier(file, labels).section.gives == "logits"


def test_labels_may_be_numbered_or_have_blank_lines(tmp_path: Path) -> None:
    (file := tmp_path / "labels.txt").write_bytes(b"\xef\xbb\xbf0 bolt M4\r\n1 bolt M5\r\n\r\n")
    assert read_labels(file) == ["bolt M4", "bolt M5"]
    file.write_text("2 bolts\n3 bolts\n")
    assert read_labels(file) == ["2 bolts", "3 bolts"]


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"", "it holds no label"),
        (b"a\nb\na\n", "it holds 'a' twice"),
        (b"\xff\xfe\x00", "it is no text in UTF-8"),
        (b"a\n" + 81 * b"b", "a label of 81 characters"),
        (b"\n".join(b"%d" % number for number in range(1, 1002)), "it holds 1001 labels"),
    ],
)
def test_a_faulty_label_file_is_refused(content: bytes, what: str, tmp_path: Path) -> None:
    (file := tmp_path / "labels.txt").write_bytes(content)
    with pytest.raises(ConfigError, match=rf"labels\.txt: {what}.*a label a line"):
        read_labels(file)


def test_a_faulty_model_is_refused_by_name(tmp_path: Path, labels: Path) -> None:
    with pytest.raises(ConfigError, match=r"model\.tflite: the classifier cannot be loaded.*Give a \.tflite"):
        read_classifier(written(tmp_path, b"no model"), labels)
    with pytest.raises(ConfigError, match=r"gone\.tflite: "):
        read_classifier(tmp_path / "gone.tflite", labels)
    labels.write_text("red\n")
    with pytest.raises(ConfigError, match="gives 1 × 3 numbers for 1 labels"):
        read_classifier(written(tmp_path, tiny_classifier()), labels)


def test_a_picture_of_any_size_is_classified(tmp_path: Path, labels: Path) -> None:
    read = read_classifier(written(tmp_path, tiny_classifier()), labels)
    assert Classifier(read.model, read.section).classify(part(0, size=(333, 217))).label in LABELS
