"""Pictures on their way to a release."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kenpin_agent.prepare import prepare
from kenpin_models.samples import choose_input, halved, read_samples
from kenpin_wire.errors import ConfigError
from kenpin_wire.manifest import Input, Tiles
from support.small_release import part


@pytest.mark.parametrize("tiles", [None, Tiles(columns=2, overlap_px=16)])
@given(height=st.integers(33, 700), width=st.integers(33, 700), seed=st.integers(0, 9))
def test_a_halved_picture_is_prepared_to_the_very_same_pixels(
    height: int, width: int, seed: int, tiles: Tiles | None
) -> None:
    spec = Input(width=64, height=48, tiles=tiles)
    image = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    assert (prepare(halved(image, spec), spec) == prepare(image, spec)).all()


def pictures_of(folder: Path, *shapes: tuple[int, int]) -> list[Path]:
    paths = []
    for number, shape in enumerate(shapes):
        paths.append(folder / f"{number}.png")
        cv2.imwrite(str(paths[-1]), part(number, size=shape))
    return paths


@pytest.mark.parametrize(
    ("shape", "width", "height"),
    [((100, 100), 160, 160), ((100, 200), 224, 112), ((768, 576), 144, 192), ((60, 600), 272, 96)],
)
def test_the_input_has_the_pictures_proportions_and_the_pixels_asked_for(
    tmp_path: Path, shape: tuple[int, int], width: int, height: int
) -> None:
    spec = choose_input(pictures_of(tmp_path, shape), 160)
    assert (spec.width, spec.height) == (width, height)


@given(st.floats(0.05, 20), st.integers(96, 320))
def test_every_input_suits_the_encoder(ratio: float, size: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        image = np.zeros((200, max(1, round(200 * ratio)), 3), np.uint8)
        patch.setattr("kenpin_models.samples.read_picture", lambda _: image)
        spec = choose_input([Path("any")], size)
    assert spec.width % 16 == 0 == spec.height % 16
    assert 0.8 < spec.width * spec.height / size**2 < 1.25


def test_pictures_of_all_sizes_go_by_their_median(tmp_path: Path) -> None:
    paths = pictures_of(tmp_path, (100, 200), (50, 100), (300, 100))
    assert choose_input(paths, 160).width == 224


@pytest.mark.parametrize("size", [0, 95, 321])
def test_a_size_the_encoder_was_not_tried_at_is_refused(tmp_path: Path, size: int) -> None:
    with pytest.raises(ConfigError, match="96 to 320"):
        choose_input(pictures_of(tmp_path, (64, 64)), size)


def test_damaged_and_double_pictures_are_left_out_by_name(tmp_path: Path) -> None:
    paths = pictures_of(tmp_path, (64, 64), (64, 64))
    (copy := tmp_path / "copy.png").write_bytes(paths[0].read_bytes())
    (broken := tmp_path / "broken.png").write_bytes(paths[0].read_bytes()[:200])
    samples, warnings = read_samples([*paths, copy, broken], Input(width=64, height=64), step="reading")
    assert [sample.path for sample in samples] == paths
    assert len(warnings) == 2
    assert "copy.png" in warnings[0]
    assert "0.png" in warnings[0]
    assert "broken.png" in warnings[1]
