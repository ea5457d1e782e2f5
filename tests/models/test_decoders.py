"""Decoders are taught on good pictures, and find what is odd; without torch they say what is missing."""

from __future__ import annotations

import importlib.util

import numpy as np
import pytest

from kenpin_agent.encoder import Features
from kenpin_agent.seams import Image
from kenpin_models import decoders
from kenpin_models.decoders import TrainedDecoder, draw, heatmap_scale, train_decoder
from kenpin_models.decoders.gradcam import fit_gradcam
from kenpin_models.decoders.pictures import pairs, show
from kenpin_models.samples import Eye
from kenpin_wire.errors import ConfigError
from kenpin_wire.manifest import Input, Tiles
from support import require
from support.small_release import part

SPEC = Input(width=96, height=64)
GOOD = [part(number) for number in range(8)]
HELD_OUT = [part(number) for number in range(50, 56)]


@pytest.fixture(scope="module")
def eye() -> Eye:
    return Eye(SPEC, threads=1)


def scratch(number: int) -> tuple[Image, np.ndarray]:
    """A scratched part, and where it is not as it was."""
    image, whole = part(number, scratched=True), part(number)
    return image, (image != whole).any(axis=2)


# What needs no torch.


def test_each_picture_is_shown_as_it_is_and_then_nudged(eye: Eye) -> None:
    shown = list(show(GOOD[:2], eye, 4, np.random.default_rng(0)))
    np.testing.assert_array_equal(shown[0].features.pooled, eye.see(GOOD[0]).pooled)
    np.testing.assert_array_equal(shown[1].features.pooled, eye.see(GOOD[1]).pooled)
    assert (shown[2].features.pooled != shown[0].features.pooled).any()
    assert shown[0].picture.shape == (64, 96, 3)
    assert shown[0].picture.dtype == np.uint8


def test_a_pair_differs_where_its_mask_says(eye: Eye) -> None:
    for pair in pairs(GOOD, eye, 4, np.random.default_rng(0), grid=(8, 12)):
        change = np.abs(pair.bad.maps["block4"] - pair.good.maps["block4"]).mean(axis=2)
        assert pair.mask.shape == change.shape == (8, 12)
        assert 0 < pair.mask.max() <= 1
        assert change[pair.mask > 0.5].mean() > change.mean()


def test_published_decoders_are_refused_pictures_in_tiles() -> None:
    spec = Input(width=320, height=320, tiles=Tiles(columns=2, rows=1, overlap_px=64))
    with pytest.raises(ConfigError, match=r"--decoder standard.*tiles.*--decoder slim"):
        train_decoder("standard", Eye(spec, threads=1), GOOD)


def test_published_decoders_are_refused_pictures_that_make_them_larger_than_a_release() -> None:
    with pytest.raises(ConfigError, match="takes 268 MB, more than any release may"):
        train_decoder("mobile", Eye(Input(width=256, height=256), threads=1), GOOD)


def test_without_torch_one_line_says_what_to_install(eye: Eye, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    monkeypatch.setattr("kenpin_models.extras.find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"--decoder slim.*torch is not installed.*kenpin\[train\]"):
        train_decoder("slim", eye, GOOD)


def test_grad_cam_points_to_where_the_channels_are_that_moved() -> None:
    rng = np.random.default_rng(0)

    def seen(odd: float) -> Features:
        values = rng.normal(1, 0.1, (4, 6, 5)).astype(np.float32)
        values[1, 2, 3] += odd
        return Features(np.zeros(1, np.float32), {"block10": values})

    cam = fit_gradcam([seen(0) for _ in range(20)], "block10")
    found = cam.patch_scores(seen(20))
    assert found.shape == (4, 6)
    assert np.unravel_index(found.argmax(), found.shape) == (1, 2)


# What needs it.


@pytest.mark.parametrize("grids", [[(8, 12), (4, 6)], [(9, 7), (5, 4), (9, 7), (3, 2)], [(6, 6)]])
def test_slim_takes_maps_of_any_size_and_stays_under_a_third_of_a_million_weights(
    grids: list[tuple[int, int]],
) -> None:
    require("torch")
    import torch

    from kenpin_models.decoders.slim import Slim

    maps = [torch.randn(2, *grid, 40 + 8 * index) for index, grid in enumerate(grids)]
    module = Slim([values.shape[3] for values in maps], [grid == grids[0] for grid in grids])
    assert module(*maps).shape == (2, *grids[0], 1)
    assert sum(weights.numel() for weights in module.parameters()) < 300_000


@pytest.mark.parametrize(("mobile", "millions"), [(False, 21.45), (True, 20.25)])
def test_published_decoders_have_the_published_size_at_96_pixels(mobile: bool, millions: float) -> None:
    require("torch")
    import torch

    from kenpin_models.decoders.published import Published

    module = Published(1280, 96, 96, mobile=mobile)
    stem = sum(weights.numel() for weights in module.stem.parameters())
    assert stem == pytest.approx(20.2e6, rel=0.01)
    assert sum(weights.numel() for weights in module.parameters()) == pytest.approx(millions * 1e6, rel=0.01)
    with torch.no_grad():
        picture = module(torch.randn(1, 1280))
    assert picture.shape == (1, 96, 96, 3)
    assert 0 <= picture.min() < picture.max() <= 255


@pytest.fixture(scope="module")
def slim(eye: Eye) -> TrainedDecoder:
    require("torch")
    from kenpin_models.decoders import slim_lesson

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(slim_lesson, "PAIRS", 48)
        patch.setattr(slim_lesson, "EPOCHS", 10)
        return train_decoder("slim", eye, GOOD, seed=1)


def test_slim_finds_a_scratch(slim: TrainedDecoder, eye: Eye) -> None:
    assert slim.reads == eye.encoder.maps
    assert (slim.gives, slim.section.size) == ("map", len(slim.content))
    assert slim.curves["loss"][-1] < slim.curves["loss"][0]
    decoder = slim.open(eye, GOOD[0])
    image, where = scratch(60)
    found = draw(decoder, eye, image)
    assert found.shape == (8, 12)
    rows, columns = (np.flatnonzero(where.any(axis=axis)) for axis in (1, 0))
    inside = found[rows[0] // 12 : rows[-1] // 12 + 1, columns[0] * 12 // 128 : columns[-1] * 12 // 128 + 1]
    assert inside.max() == found.max()


def test_a_scale_keeps_good_parts_calm_and_colours_a_defect(slim: TrainedDecoder, eye: Eye) -> None:
    decoder = slim.open(eye, GOOD[0])
    scale = heatmap_scale(decoder, eye, HELD_OUT, 0.01)
    assert scale.kind == "decoder"
    assert scale.normal < scale.limit
    assert np.median(draw(decoder, eye, part(61))) < scale.limit
    assert draw(decoder, eye, scratch(61)[0]).max() > scale.limit


def test_slim_is_taught_on_parts_of_large_maps(eye: Eye, monkeypatch: pytest.MonkeyPatch) -> None:
    require("torch")
    from kenpin_models.decoders import slim_lesson

    monkeypatch.setattr(slim_lesson, "CROP", 6)
    monkeypatch.setattr(slim_lesson, "PAIRS", 12)
    monkeypatch.setattr(slim_lesson, "EPOCHS", 1)
    steps = []
    module, losses = slim_lesson.train_slim(
        GOOD, eye, seed=0, progress=lambda step, done, total: steps.append((step, done, total))
    )
    assert steps.count(("showing the decoder good pictures", 3, 3)) == 1  # four parts of each
    assert np.isfinite(losses).all()
    assert all(bool(weights.isfinite().all()) for weights in module.parameters())


def test_mobile_learns_the_picture_and_gives_it_from_its_file(
    eye: Eye, monkeypatch: pytest.MonkeyPatch
) -> None:
    require("torch")
    from kenpin_models.decoders import published

    monkeypatch.setattr(published, "EPOCH_PICTURES", 8)
    mobile = train_decoder("mobile", eye, GOOD)
    assert (mobile.reads, mobile.gives) == (("pooled",), "picture")
    assert len(mobile.curves["loss"]) == 10
    assert mobile.curves["loss"][-1] < mobile.curves["loss"][0]
    decoder = mobile.open(eye, GOOD[0])
    assert decoder.picture(eye.see(GOOD[0])).shape == (64, 96, 3)
    assert len(mobile.content) < 2.2 * mobile.parameters  # half precision
    assert mobile.section.file == decoders.DECODER_FILE


def test_learning_and_using_the_standard_decoder_give_the_same(eye: Eye) -> None:
    require("torch")
    import torch

    from kenpin_models.decoders.published import Published

    module, pooled = Published(16, 32, 48, mobile=False), torch.randn(2, 16)
    learning = module.train()(pooled)
    assert torch.allclose(module.eval()(pooled), learning, atol=1e-2)  # of 255
