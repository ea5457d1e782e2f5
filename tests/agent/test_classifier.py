"""The second model, which names what was judged normal, and the gate before it."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kenpin_agent.classifier import Classifier
from kenpin_agent.inspect import Inspection, inspect
from kenpin_agent.judge import Judge, JudgeState
from kenpin_agent.release import Release, check_golden, load_release, unpack_release
from kenpin_agent.reporting import Reporter
from kenpin_agent.seams import Frame, Image
from kenpin_wire.errors import ConfigError, ReleaseError
from kenpin_wire.manifest import Classifier as Section
from kenpin_wire.messages import Roi, Score, Verdict
from kenpin_wire.topics import Address, Channel
from support.small_release import manifest_for, part, release_files, write_zip
from support.tiny_classifier import LABELS, SIDE_PX, tiny_classifier


def section(**changes: Any) -> Section:
    entry = {"file": "classifier.tflite", "sha256": "0" * 64, "size": 1}
    look = {
        "input": {"width": SIDE_PX, "height": SIDE_PX},
        "output": "chances",
        "labels": LABELS,
        "white": 8.0,
    }
    return Section.model_validate({**entry, **look, **changes})


def coloured(red: int, green: int, blue: int) -> Image:
    return np.full((40, 50, 3), (blue, green, red), np.uint8)


@pytest.mark.parametrize("dtype", ["float32", "uint8", "int8"])
@pytest.mark.parametrize("softmax", [True, False])
def test_whatever_numbers_a_model_works_in_it_says_the_same(dtype: str, softmax: bool) -> None:
    model = tiny_classifier(dtype, softmax=softmax)
    spoken = {"gives": "probabilities"} if softmax else {"gives": "logits", "output": "means"}
    classifier = Classifier(model, section(**spoken))
    for colour, label in (((200, 100, 0), "red"), ((10, 200, 100), "green"), ((0, 100, 200), "blue")):
        named = classifier.classify(coloured(*colour))
        assert named.label == label
        assert named.confidence == pytest.approx(0.957, abs=0.01)


def test_only_the_region_is_looked_at() -> None:
    classifier = Classifier(tiny_classifier(), section())
    image = coloured(200, 0, 0)
    image[10:20, 30:45] = (200, 0, 0)  # blue
    assert classifier.classify(image).label == "red"
    assert classifier.classify(image, Roi(x=30, y=10, width=15, height=10)).label == "blue"
    with pytest.raises(ConfigError, match="leaves the picture"):
        classifier.classify(image, Roi(x=30, y=10, width=99, height=10))


def test_black_and_white_are_what_the_model_was_taught_with() -> None:
    centred = Classifier(tiny_classifier(softmax=False), section(output="means", black=-1.0, white=1.0))
    np.testing.assert_allclose(centred.raw(coloured(255, 0, 51)), [1, -1, -0.6], atol=1e-6)


@pytest.mark.filterwarnings("ignore:overflow")
@pytest.mark.parametrize(
    ("model", "changes", "what"),
    [
        (tiny_classifier(), {"labels": ["red", "blue"]}, "gives 1 × 3 numbers for 2 labels"),
        (tiny_classifier(), {"output": "names"}, r"no output called names \(it has chances\)"),
        (tiny_classifier(channels=4), {}, "does not take one picture of three colours"),
        (tiny_classifier()[:300], {}, "the classifier cannot be loaded"),
        (b"", {}, "the classifier cannot be loaded"),
        (tiny_classifier(), {"white": 1e39, "gives": "logits"}, "what is no number"),
    ],
)
def test_a_model_that_is_not_what_the_manifest_says_is_refused_when_loading(
    model: bytes, changes: dict[str, Any], what: str
) -> None:
    with pytest.raises(ReleaseError, match=what):
        Classifier(model, section(**changes), where="r-1")


def test_a_classifier_has_no_tiles_and_its_labels_have_names() -> None:
    with pytest.raises(ValueError, match="not in tiles"):
        section(input={"tiles": {"columns": 2}})
    with pytest.raises(ValueError, match="at least 1 character"):
        section(labels=["red", ""])


def release_with(folder: Path, model: bytes, **golden: Any) -> Path:
    """The small release, and a classifier in it; its golden pictures expect a label as `golden` says."""
    files = {**release_files(), "classifier.tflite": model}
    manifest = manifest_for(files)
    second = section(sha256=hashlib.sha256(model).hexdigest(), size=len(model))
    pictures = [entry.model_copy(update=golden) for entry in manifest.golden]
    whole = manifest.model_copy(update={"classifier": second, "golden": pictures})
    return write_zip(folder / "r.kenpin", {"manifest.json": whole.model_dump_json().encode(), **files})


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> Release:
    folder = tmp_path_factory.mktemp("gate")
    unpack_release(release_with(folder, tiny_classifier()), folder / "slot")
    return load_release(folder / "slot")


def inspected(release: Release, image: Image) -> Inspection:
    by = Judge(release.manifest.calibration.threshold)
    frame = Frame(image, 0, 0.0)
    return inspect(frame, release, JudgeState(), by, wanted=lambda _: False, monotonic_s=lambda: 0.0)[1]


def test_a_normal_part_is_named_and_an_anomaly_never_is(release: Release) -> None:
    normal, anomaly = inspected(release, part(40)), inspected(release, part(40, scratched=True))
    assert normal.verdict is Verdict.NORMAL
    assert normal.classification is not None
    assert normal.classification.label in LABELS
    assert list(normal.timings_ms)[-1] == "classify"
    assert anomaly.verdict is Verdict.ANOMALY
    assert anomaly.classification is None
    assert "classify" not in anomaly.timings_ms


def test_the_label_is_published_with_the_verdict(release: Release) -> None:
    normal = inspected(release, part(40))
    reporter = Reporter(Address("s", "l", "d"))
    (score,) = (out.payload for out in reporter.report(normal, wall_s=0.0) if out.channel is Channel.SCORE)
    assert isinstance(score, Score)
    assert normal.classification is not None
    assert score.label == normal.classification.label
    assert score.confidence == pytest.approx(normal.classification.confidence, abs=1e-4)


def test_a_golden_picture_must_be_called_the_same_here(tmp_path: Path, release: Release) -> None:
    assert release.classifier is not None
    named = {golden: release.classifier.classify(part(golden, scratched=bool(golden))) for golden in (0, 1)}
    label = named[0].label
    wrong = next(other for other in LABELS if other != label)
    unpack_release(release_with(tmp_path, tiny_classifier(), label=wrong), tmp_path / "wrong")
    with pytest.raises(ReleaseError, match=rf"golden/0\.png is called {label} here .*, not {wrong}"):
        check_golden(load_release(tmp_path / "wrong"))
    unsure = {"label": label, "confidence": named[0].confidence - 0.05}
    unpack_release(release_with(tmp_path, tiny_classifier(), **unsure), tmp_path / "unsure")
    with pytest.raises(ReleaseError, match=rf"golden/0\.png is called {label} here .*, not {label}"):
        check_golden(load_release(tmp_path / "unsure"))


def test_an_altered_classifier_is_refused_like_any_file_of_a_release(tmp_path: Path) -> None:
    unpack_release(release_with(tmp_path, tiny_classifier()), tmp_path / "slot")
    (tmp_path / "slot" / "classifier.tflite").write_bytes(tiny_classifier("uint8"))
    with pytest.raises(ReleaseError, match=r"classifier\.tflite was altered"):
        load_release(tmp_path / "slot")
