"""What is written into a release, and that a device agrees."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import cv2
import numpy as np
import pytest

from kenpin_agent import prepare
from kenpin_agent.heads import Padim, PatchGaussian, patch_embedding
from kenpin_agent.inspect import inspect
from kenpin_agent.judge import Judge, JudgeState
from kenpin_agent.pictures import read_picture
from kenpin_agent.release import Release, check_golden, load_release, unpack_release
from kenpin_agent.seams import Frame, Image
from kenpin_models.bundle import Content, golden_pictures, write_release
from kenpin_models.classifier_file import read_classifier
from kenpin_models.decoders import TrainedDecoder
from kenpin_models.samples import Eye
from kenpin_wire.errors import ReleaseError
from kenpin_wire.manifest import Calibration, Heatmap, Input, Tiles
from kenpin_wire.messages import ReleaseName, Verdict
from support.small_release import MAPS, part
from support.tiny_classifier import LABELS, tiny_classifier

TALL = Input(width=128, height=160, tiles=Tiles(rows=3))


def tall(number: int, *, scratched: bool = False) -> Image:
    return part(number, scratched=scratched, size=(352, 128))


@pytest.fixture(scope="module")
def eye() -> Eye:
    return Eye(TALL, threads=1)


@pytest.fixture(scope="module")
def content(eye: Eye) -> Content:
    patches = np.stack([patch_embedding(eye.see(tall(number)), MAPS) for number in range(6)])
    head = Padim(
        PatchGaussian(MAPS, patches.mean(axis=0), 1 / (patches.std(axis=0) + np.float32(0.3))), 8.0, 0.5
    )
    scores = sorted(head.score(eye.see(tall(number))) for number in range(6, 12))
    return Content(
        name=ReleaseName(name="tall", version="1"),
        head=head,
        calibration=Calibration(scores=scores, false_rejects=0.01, threshold=scores[-1] * 1.2),
        heatmap=Heatmap(normal=1.0, limit=3.0),
        golden=[tall(20), tall(21, scratched=True)],
        fitted_on=[],
        calibrated_on=[],
        report={},
    )


def loaded(content: Content, eye: Eye, folder: Path) -> Release:
    write_release(folder / "r.kenpin", content, eye)
    unpack_release(folder / "r.kenpin", folder / "slot")
    return load_release(folder / "slot")


def test_a_release_that_looks_in_tiles_judges_and_draws_as_any(
    content: Content, eye: Eye, tmp_path: Path
) -> None:
    release = loaded(content, eye, tmp_path)
    check_golden(release)
    assert release.manifest.input == TALL
    image = tall(40, scratched=True)
    assert release.score(image) == pytest.approx(content.head.score(eye.see(image)), rel=1e-4)
    by = Judge(content.calibration.threshold)
    _, found = inspect(
        Frame(image, 0, 0.0), release, JudgeState(), by, wanted=lambda _: True, monotonic_s=lambda: 0.0
    )
    assert found.verdict is Verdict.ANOMALY
    assert found.heatmap is not None
    assert found.heatmap.shape == image.shape


def test_golden_pictures_are_small_but_one_is_halved_on_its_way() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (3000, 2000, 3), dtype=np.uint8)
    for spec in (Input(width=96, height=96), Input(width=304, height=320), TALL):
        *small, large = golden_pictures([noise, noise], spec)
        assert [max(image.shape[:2]) for image in small] == [192, 192]
        width, height = spec.picture_px
        assert large.shape[0] >= 2 * height
        assert large.shape[1] >= 2 * width
        stored = [
            len(cv2.imencode(".png", image, [cv2.IMWRITE_PNG_COMPRESSION, 9])[1]) for image in (*small, large)
        ]
        assert stored[-1] < 2 * stored[0]


def test_pictures_that_are_large_enough_are_golden_as_they_are() -> None:
    assert len(golden_pictures([part(0, size=(192, 192))], Input(width=96, height=96))) == 1


@pytest.mark.parametrize("fault", ["colours in another order", "halved by leaving out"])
def test_golden_pictures_find_out_another_preparation(
    fault: str, content: Content, eye: Eye, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    release = loaded(content, eye, tmp_path)
    if fault == "colours in another order":
        monkeypatch.setattr(cv2, "cvtColor", lambda image, _: image)
    else:
        monkeypatch.setattr(prepare.cv2, "INTER_AREA", cv2.INTER_NEAREST)
    with pytest.raises(ReleaseError, match=r"golden/\d\.png scores"):
        check_golden(release)


def test_a_classifier_and_its_golden_labels_travel(content: Content, eye: Eye, tmp_path: Path) -> None:
    (tmp_path / "model.tflite").write_bytes(tiny_classifier())
    (tmp_path / "labels.txt").write_text("\n".join(LABELS))
    classifier = read_classifier(tmp_path / "model.tflite", tmp_path / "labels.txt", white=8.0)
    release = loaded(dataclasses.replace(content, classifier=classifier), eye, tmp_path)
    check_golden(release)
    assert release.classifier is not None
    for golden in release.manifest.golden:
        named = release.classifier.classify(read_picture(release.folder / golden.file))
        assert (golden.label, golden.confidence) == (named.label, pytest.approx(named.confidence))


def test_a_decoder_travels(content: Content, eye: Eye, tmp_path: Path) -> None:
    decoder = TrainedDecoder(b"model", "slim", ("block4",), "map", "map", {}, 1)
    release = loaded(dataclasses.replace(content, decoder=decoder), eye, tmp_path)
    assert release.manifest.decoder == decoder.section
    assert (release.folder / decoder.section.file).read_bytes() == b"model"
