"""Encoders as files: exported from torch, brought to int8, converted for phones, each proven to be the same."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kenpin_models.encoder_file import EncoderFile, read_encoder_file, shipped_encoder
from kenpin_models.encoders.build import build, save_encoder
from kenpin_models.encoders.parity import compare, outputs_of
from kenpin_models.encoders.plan import parse_plan
from kenpin_models.encoders.quantize import TOLERANCE, quantize
from kenpin_models.export_coreml import export_coreml
from kenpin_models.train import TrainResult, train
from kenpin_models.wishes import Wishes
from kenpin_wire.errors import ConfigError
from kenpin_wire.manifest import Input
from support import require
from support.rendered_parts import Parts
from support.small_release import part

SMALL = "mobilenetv2-0.5:block3@maps=1,3@weights=none@embedding=8"


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, EncoderFile]:
    """A small encoder with an embedding, in torch and as a file."""
    require("torch")
    from kenpin_models.encoders.export import export

    module = build(parse_plan(SMALL))
    return module, export(module, tmp_path_factory.mktemp("encoder") / "small.tflite")[0]


def pictures(count: int, height: int = 96, width: int = 128) -> list[np.ndarray]:
    """Rendered parts as the encoder is given them."""
    from kenpin_agent.prepare import prepare

    return [prepare(part(number), Input(width=width, height=height)) for number in range(count)]


def test_an_export_is_described_and_gives_what_torch_gives_at_sizes_that_nobody_tried(
    exported: tuple[Any, EncoderFile],
) -> None:
    from kenpin_models.encoders.export import module_outputs, sample_picture

    module, encoder = exported
    assert read_encoder_file(encoder.file) == encoder
    assert (encoder.maps, encoder.stride_px, encoder.precision) == (("block1", "block3"), 8, "float32")
    assert "random weights" in encoder.provenance
    picture = sample_picture(104, 72)
    parity = compare([module_outputs(module, picture)], outputs_of(encoder, [picture]))
    assert parity.relative < 1e-5
    assert outputs_of(encoder, [picture])[0]["pooled"].shape == (8,)


def test_int8_keeps_to_its_tolerance_and_takes_any_size_still(
    exported: tuple[Any, EncoderFile], tmp_path: Path
) -> None:
    _, encoder = exported
    steps: list[int] = []
    small, parity = quantize(
        encoder, pictures(8), tmp_path / "small8.tflite", lambda _step, done, _total: steps.append(done)
    )
    assert read_encoder_file(small.file) == small
    assert small.precision == "int8"
    assert "int8" in small.provenance
    assert small.file.stat().st_size < encoder.file.stat().st_size
    assert set(parity.outputs) == {"pooled", "block1", "block3"}
    assert all(output.cosine > 0.98 for output in parity.outputs.values())
    assert steps == sorted(steps)
    other = pictures(3, height=160, width=96)
    assert compare(outputs_of(encoder, other), outputs_of(small, other)).relative < 0.2


def test_the_shipped_encoder_in_int8_is_a_third_of_its_size_and_close(tmp_path: Path) -> None:
    require("torch")
    small, parity = quantize(shipped_encoder(), pictures(8), tmp_path / "shipped8.tflite")
    assert small.file.stat().st_size < 0.4 * shipped_encoder().file.stat().st_size
    assert parity.relative <= TOLERANCE
    written = json.loads(small.file.with_suffix(".json").read_text())
    assert written["parity_with_float32"]["pooled"]["cosine"] > 0.99


def test_nothing_to_calibrate_with_is_said(tmp_path: Path) -> None:
    require("torch")
    with pytest.raises(ConfigError, match="no picture"):
        quantize(shipped_encoder(), [], tmp_path / "x.tflite")


def test_what_kenpin_train_brings_is_asked_for_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kenpin_models.extras.find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"torch is not installed here\. pip install 'kenpin\[train\]'"):
        build(parse_plan(SMALL))
    with pytest.raises(ConfigError, match="ai_edge_quantizer is not installed"):
        quantize(shipped_encoder(), pictures(1), tmp_path / "x.tflite")


def test_parity_is_of_what_was_expected() -> None:
    expected = [{"pooled": np.array([3.0, 4.0], np.float32)}, {"pooled": np.array([0.0, 5.0], np.float32)}]
    found = [{"pooled": np.array([3.0, 4.0], np.float32)}, {"pooled": np.array([0.0, 6.0], np.float32)}]
    output = compare(expected, found).outputs["pooled"]
    assert output.largest == 1
    assert output.relative == pytest.approx((1 / 50) ** 0.5)
    assert output.cosine == pytest.approx(1)
    with pytest.raises(ValueError, match="shorter"):
        compare(expected, found[:1])


@pytest.mark.slow
def test_a_releases_encoder_becomes_a_core_ml_package_that_gives_the_same(
    trained: TrainResult, tmp_path: Path
) -> None:
    require("torch")
    coremltools = pytest.importorskip("coremltools")
    made = export_coreml(trained.file, tmp_path / "discs.mlpackage")
    assert made.with_release.relative < 1e-5
    spec = coremltools.utils.load_spec(str(made.package))
    assert spec.description.input[0].type.imageType.width == trained.manifest.input.width
    assert [output.name for output in spec.description.output] == ["pooled", *trained.manifest.encoder.maps]
    with pytest.raises(ConfigError, match=r"end with \.mlpackage"):
        export_coreml(trained.file, tmp_path / "discs.onnx")
    other = tmp_path / "other.pt"
    save_encoder(build(parse_plan("efficientnet-lite0@weights=none")), other)
    with pytest.raises(ConfigError, match="differs from the release's"):
        export_coreml(trained.file, tmp_path / "discs.mlpackage", other)


@pytest.mark.slow
def test_an_encoder_with_an_embedding_becomes_a_core_ml_package_from_its_kept_weights(
    exported: tuple[Any, EncoderFile], parts: Parts, tmp_path: Path
) -> None:
    pytest.importorskip("coremltools")
    module, encoder = exported
    save_encoder(module, tmp_path / "small.pt")
    wishes = Wishes(encoder=str(encoder.file), head="cosine", size=96)
    made = train(parts.good, tmp_path / "small.kenpin", wishes, version="1")
    package = export_coreml(made.file, tmp_path / "small.mlpackage", tmp_path / "small.pt")
    assert package.with_release.relative < 1e-5
