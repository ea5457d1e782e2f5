"""A large picture in parts."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from kenpin_agent.encoder import Encoder
from kenpin_agent.prepare import prepare
from kenpin_agent.tiles import stitch, tiles_of
from kenpin_models.assets import ENCODER_FILE
from kenpin_wire.errors import ReleaseError
from kenpin_wire.manifest import Input, Tiles
from support.small_release import MAPS, part

WIDE = Input(width=160, height=128, tiles=Tiles(columns=2, rows=1, overlap_px=64))

tilings = st.builds(
    lambda columns, rows, overlap, width, height: Input(
        width=32 * width,
        height=32 * height,
        tiles=Tiles(columns=columns, rows=rows, overlap_px=32 * min(overlap, width // 2, height // 2)),
    ),
    st.integers(1, 4),
    st.integers(1, 4),
    st.integers(0, 3),
    st.integers(1, 6),
    st.integers(1, 6),
)


def block_means(picture: npt.NDArray[np.float32], stride_px: int) -> npt.NDArray[np.float32]:
    """An encoder without a view beyond its cell, whose maps no tiling can change."""
    height, width, channels = picture.shape
    cells = picture.reshape(height // stride_px, stride_px, width // stride_px, stride_px, channels)
    return cells.mean(axis=(1, 3))


@given(tilings, st.sampled_from([8, 16]))
def test_a_stitched_map_is_the_map_of_the_whole_picture(spec: Input, stride_px: int) -> None:
    width, height = spec.picture_px
    picture = np.random.default_rng(0).integers(0, 256, (height, width, 2)).astype(np.float32)
    maps = [
        block_means(picture[tile.y : tile.y + spec.height, tile.x : tile.x + spec.width], stride_px)
        for tile in tiles_of(spec)
    ]
    np.testing.assert_array_equal(stitch(maps, spec), block_means(picture, stride_px))


@given(tilings)
def test_tiles_cover_the_picture_and_do_not_leave_it(spec: Input) -> None:
    width, height = spec.picture_px
    covered = np.zeros((height, width), bool)
    for tile in tiles_of(spec):
        window = covered[tile.y : tile.y + spec.height, tile.x : tile.x + spec.width]
        assert window.shape == (spec.height, spec.width)
        window[:] = True
    assert covered.all()
    assert spec.encoded_px == len(tiles_of(spec)) * spec.width * spec.height


def test_a_picture_without_tiles_is_its_own() -> None:
    assert len(tiles_of(Input())) == 1
    assert Input(width=96, height=64).picture_px == (96, 64)


def test_an_input_is_told_as_a_person_would() -> None:
    assert str(Input(width=96, height=64)) == "96×64"
    assert str(WIDE) == "256×128 in 2×1 tiles"


def test_an_overlap_hides_the_seam() -> None:
    image = part(3, scratched=True, size=(128, 256))
    touching = Input(width=128, height=128, tiles=Tiles(columns=2, overlap_px=0))
    whole, overlapping, abutting = (
        Encoder(ENCODER_FILE, spec, "pooled", MAPS).encode(prepare(image, spec)).maps
        for spec in (Input(width=256, height=128), WIDE, touching)
    )
    for name in MAPS:
        assert overlapping[name].shape == abutting[name].shape == whole[name].shape
        assert overlapping[name].dtype == np.float32
        off, off_without = (
            np.square(maps[name] - whole[name]).mean() ** 0.5 for maps in (overlapping, abutting)
        )
        assert off < off_without / 5


def test_the_encoder_runs_once_a_tile_and_its_vector_is_their_mean() -> None:
    image = prepare(part(3, size=(128, 256)), WIDE)
    single = Encoder(ENCODER_FILE, Input(width=160, height=128), "pooled", MAPS)
    halves = [single.encode(np.ascontiguousarray(image[:, :, x : x + 160])).pooled for x in (0, 96)]
    tiled = Encoder(ENCODER_FILE, WIDE, "pooled", MAPS).encode(image)
    np.testing.assert_allclose(tiled.pooled, np.mean(halves, axis=0), rtol=1e-5)


def test_an_overlap_that_the_encoders_stride_cannot_halve_is_refused_when_loading() -> None:
    odd = WIDE.model_copy(update={"tiles": Tiles(columns=2, overlap_px=48)})
    with pytest.raises(ReleaseError, match=r"does not go with tiles of 160 × 128, overlap 48"):
        Encoder(ENCODER_FILE, odd, "pooled", MAPS)


def test_tiles_that_are_mostly_overlap_or_too_many_are_no_manifest() -> None:
    with pytest.raises(ValidationError, match="overlap by more than half"):
        Input(width=96, height=160, tiles=Tiles(columns=2, overlap_px=64))
    with pytest.raises(ValidationError, match="more than 8000000"):
        Input(width=320, height=320, tiles=Tiles(columns=16, rows=16))
