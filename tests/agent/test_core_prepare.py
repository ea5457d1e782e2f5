"""What the encoder is given, and what it gives."""

from __future__ import annotations

import hashlib

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kenpin_agent.encoder import Encoder
from kenpin_agent.prepare import Region, prepare, region, scaled, view
from kenpin_models.assets import ENCODER_FILE
from kenpin_wire.errors import ConfigError, ReleaseError
from kenpin_wire.manifest import Input
from kenpin_wire.messages import Roi
from support.small_release import INPUT, MAPS, encoder, part


def test_colours_arrive_red_first() -> None:
    image = np.zeros((64, 64, 3), np.uint8)
    image[..., 0] = 200  # blue
    tensor = prepare(image, INPUT)
    assert tensor.shape == (1, 64, 64, 3)
    assert tensor.dtype == np.float32
    assert tensor[0, 3, 3].tolist() == [0, 0, 200]


def test_a_picture_becomes_the_same_input_on_every_board() -> None:
    # Found so on x86-64 and on an arm64 system; OpenCV's plain bilinear filter is another one there.
    y, x = np.mgrid[0:396, 0:576]
    image = np.stack([(7 * x + 13 * y) % 256, (x * y) % 256, (x ^ y) % 256], axis=2).astype(np.uint8)
    digest = hashlib.sha256(prepare(image, Input(width=192, height=128)).tobytes()).hexdigest()
    assert digest == "dcc128384e3fd357d6ea2d0bc42f7b398d818cd8aa6e51bd4c920d2669e63314"


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 700), st.integers(1, 700), st.sampled_from(["area", "linear"]))
def test_any_size_becomes_the_inputs_size_and_keeps_its_grey(height: int, width: int, resize: str) -> None:
    spec = Input.model_validate({"width": 96, "height": 64, "resize": resize})
    tensor = prepare(np.full((height, width, 3), 77, np.uint8), spec)
    assert tensor.shape == (1, 64, 96, 3)
    assert (tensor == 77).all()


@pytest.mark.parametrize("size", [(480, 640), (720, 1280), (1080, 1920), (333, 517), (128, 2000)])
def test_fine_stripes_shrink_to_grey_and_not_to_false_patterns(size: tuple[int, int]) -> None:
    image = np.zeros((*size, 3), np.uint8)
    image[:, ::2] = 200
    small = scaled(image, Input(width=128, height=128)).astype(float)
    assert abs(small.mean() - 100) < 3
    assert small.std() < 30  # nearest-neighbour sampling would give up to 100


def test_a_picture_shrinks_as_the_area_filter_would() -> None:
    image = cv2.GaussianBlur(np.random.default_rng(0).integers(0, 256, (480, 640, 3), np.uint8), (0, 0), 3)
    small = scaled(image, Input(width=128, height=128)).astype(float)
    area = cv2.resize(image, (128, 128), interpolation=cv2.INTER_AREA).astype(float)
    assert np.abs(small - area).mean() < 3


def test_the_region_is_inspected_and_nothing_else() -> None:
    image = np.zeros((100, 120, 3), np.uint8)
    image[10:50, 20:70] = 255
    roi = Roi(x=20, y=10, width=50, height=40)
    assert (prepare(image, INPUT, roi) == 255).all()
    assert view(image, INPUT, roi).base is image  # nothing is copied


def test_a_square_is_cut_from_the_regions_middle() -> None:
    spec = INPUT.model_copy(update={"crop": "center_square"})
    image = np.zeros((100, 160, 3), np.uint8)
    assert region(image, spec) == Region(30, 0, 100, 100)
    assert region(image, spec, Roi(x=10, y=20, width=20, height=60)) == Region(10, 40, 20, 20)


@pytest.mark.parametrize("roi", [Roi(x=90, width=31, height=9), Roi(y=100, width=1, height=1)])
def test_a_region_that_leaves_the_picture_is_refused_and_not_clipped(roi: Roi) -> None:
    with pytest.raises(ConfigError, match="leaves the picture of 120 × 100"):
        prepare(np.zeros((100, 120, 3), np.uint8), INPUT, roi)


def test_the_same_picture_gives_the_same_bytes() -> None:
    assert prepare(part(0), INPUT).tobytes() == prepare(part(0).copy(), INPUT).tobytes()


def test_features_stay_what_they_were_after_the_next_picture() -> None:
    first = encoder().encode(prepare(part(0), INPUT))
    pooled, fine = first.pooled.copy(), first.maps["block4"].copy()
    encoder().encode(prepare(part(1, scratched=True), INPUT))
    np.testing.assert_array_equal(first.pooled, pooled)
    np.testing.assert_array_equal(first.maps["block4"], fine)


def test_the_encoder_runs_at_the_releases_size() -> None:
    wide = Encoder(ENCODER_FILE.read_bytes(), Input(width=96, height=64), "pooled", MAPS)
    features = wide.encode(prepare(part(0), Input(width=96, height=64)))
    assert features.maps["block4"].shape[:2] == (8, 12)
    assert features.maps["block7"].shape[:2] == (4, 6)
    assert features.pooled.ndim == 1
    assert list(features.maps) == list(MAPS)


def test_a_wrong_shape_is_refused_by_name() -> None:
    with pytest.raises(ReleaseError, match=r"takes \(1, 64, 64, 3\), not \(1, 32, 32, 3\)"):
        encoder().encode(np.zeros((1, 32, 32, 3), np.float32))


def test_a_missing_output_is_refused_with_those_there_are() -> None:
    with pytest.raises(ReleaseError, match=r"no output called block99 \(it has block10, block4"):
        Encoder(ENCODER_FILE, INPUT, "pooled", ["block99"])
    with pytest.raises(ReleaseError, match="not a vector and maps"):
        Encoder(ENCODER_FILE, INPUT, "block4", ["pooled"])


@pytest.mark.parametrize("size", [0, 40, 100_000])
def test_what_is_no_model_is_refused(size: int) -> None:
    with pytest.raises(ReleaseError, match="cannot be loaded"):
        Encoder(ENCODER_FILE.read_bytes()[:size], INPUT, "pooled", MAPS)


def test_a_missing_model_is_refused() -> None:
    with pytest.raises(ReleaseError, match=r"gone\.tflite: the encoder cannot be read"):
        Encoder(ENCODER_FILE.with_name("gone.tflite"), INPUT, "pooled", MAPS)
