"""Which inputs a picture could be looked at with."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kenpin_agent.encoder import Encoder
from kenpin_models.encoder_file import shipped_encoder
from kenpin_models.tiling import ALWAYS_PX, MAX_RATIO, PIECE_PX, candidate_inputs, in_pieces

sizes = st.tuples(st.integers(16, 5000), st.integers(16, 5000))


@given(sizes, st.sampled_from([16, 32]))
def test_candidates_grow_fit_the_memory_and_end_at_the_pictures_own_scale(
    size: tuple[int, int], stride_px: int
) -> None:
    specs = candidate_inputs([size], stride_px=stride_px)
    costs = [spec.encoded_px for spec in specs]
    assert costs == sorted(costs)
    assert len({spec.picture_px for spec in specs}) == len(specs)
    for spec in specs:
        assert spec.width % stride_px == 0 == spec.height % stride_px
        assert spec.width * spec.height <= PIECE_PX
        assert (spec.tiles is None) == (spec.encoded_px == spec.picture_px[0] * spec.picture_px[1])
    width, height = specs[-1].picture_px
    narrow = max(size) / min(size) > MAX_RATIO
    own_px = max(size[0], 4 * stride_px) * max(size[1], 4 * stride_px)  # no side is shorter
    assert narrow or width * height < 1.5 * max(own_px, (ALWAYS_PX + 2 * stride_px) ** 2)


@given(sizes)
def test_pictures_keep_their_proportions(size: tuple[int, int]) -> None:
    ratio = min(MAX_RATIO, max(1 / MAX_RATIO, size[0] / size[1]))
    for spec in candidate_inputs([size]):
        width, height = spec.picture_px
        if min(width, height) > 64:  # no side is less, whatever the picture is
            assert width / height == pytest.approx(ratio, rel=0.25)


def test_a_tall_picture_is_seen_at_its_own_scale_in_tiles() -> None:
    whole, *_, native = candidate_inputs([(500, 1250)])
    assert whole.tiles is None
    assert native.tiles is not None
    assert native.tiles.rows > native.tiles.columns
    width, height = native.picture_px
    assert abs(width - 500) < 32
    assert abs(height - 1250) < 32
    assert native.encoded_px < 1.25 * width * height


def test_a_budget_leaves_out_what_costs_more_but_never_all() -> None:
    assert [spec.picture_px for spec in candidate_inputs([(640, 640)], most_px=30_000)] == [
        (96, 96),
        (128, 128),
        (160, 160),
    ]
    assert len(candidate_inputs([(640, 640)], most_px=1)) == 1


def test_pictures_of_all_sizes_go_by_their_median() -> None:
    assert candidate_inputs([(200, 100), (200, 100), (100, 900)]) == candidate_inputs([(200, 100)])


def test_what_no_manifest_may_say_is_no_candidate() -> None:
    assert in_pieces(16_000, 16_000) is None


def test_the_encoder_takes_its_tiles() -> None:
    file, spec = shipped_encoder(), in_pieces(272, 800)
    assert spec is not None
    assert spec.tiles is not None
    Encoder(file.file, spec, file.pooled, file.maps)  # checks that maps, tiles and overlap go together
