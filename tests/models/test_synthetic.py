"""Synthetic defects: seeded, visible, inside their masks."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kenpin_agent.seams import Image
from kenpin_models.augment import nudge
from kenpin_models.synthetic import SIZES, Kind, add_defect
from support.small_release import part

kinds = st.sampled_from(list(Kind))
sizes = st.sampled_from(SIZES)
seeds = st.integers(0, 2**32 - 1)


@st.composite
def pictures(draw: st.DrawFn) -> Image:
    """Discs, plain ones and noise, down to a few pixels, of any proportions."""
    height, width = draw(st.integers(4, 90)), draw(st.integers(4, 90))
    match draw(st.sampled_from(["disc", "plain", "noise"])):
        case "plain":
            return np.full((height, width, 3), draw(st.integers(0, 255)), np.uint8)
        case "noise":
            return np.random.default_rng(draw(seeds)).integers(0, 256, (height, width, 3), dtype=np.uint8)
        case _:
            return part(draw(st.integers(0, 99)), size=(max(height, 20), max(width, 20)))


@given(pictures(), kinds, sizes, seeds)
def test_a_defect_shows_and_changes_nothing_outside_its_mask(
    image: Image, kind: Kind, size: float, seed: int
) -> None:
    before = image.copy()
    defective = add_defect(image, kind, size, np.random.default_rng(seed))
    assert (image == before).all()
    assert defective.image.shape == image.shape
    assert defective.image.dtype == np.uint8
    assert set(np.unique(defective.mask)) <= {0, 255}
    assert defective.mask.any()
    assert ((defective.image != image).any(axis=2) == (defective.mask > 0)).all()


@given(pictures(), kinds, sizes, seeds)
def test_the_same_seed_paints_the_same_defect(image: Image, kind: Kind, size: float, seed: int) -> None:
    one, other = (add_defect(image, kind, size, np.random.default_rng(seed)) for _ in range(2))
    assert (one.image == other.image).all()


@pytest.mark.parametrize("kind", list(Kind))
def test_a_larger_size_is_a_larger_defect(kind: Kind) -> None:
    image = part(0, size=(300, 400))
    rng = np.random.default_rng(0)
    areas = [
        np.median([(add_defect(image, kind, size, rng).mask > 0).sum() for _ in range(15)]) for size in SIZES
    ]
    assert areas == sorted(areas)
    assert areas[-1] > 3 * areas[0]


def test_a_defect_is_put_on_the_part_rather_than_on_the_background() -> None:
    image = np.full((200, 200, 3), 240, np.uint8)
    cv2.rectangle(image, (20, 20), (70, 70), (40, 90, 140), -1)
    cv2.randn(noise := np.zeros((50, 50, 3), np.int8), 0, 12)
    image[20:70, 20:70] = np.clip(image[20:70, 20:70] + noise.astype(int), 0, 255)
    rng = np.random.default_rng(0)
    near = np.zeros((200, 200), bool)
    near[:90, :90] = True
    hits = [(add_defect(image, Kind.STAIN, 0.08, rng).mask[near] > 0).any() for _ in range(40)]
    assert np.mean(hits) > 0.7  # the part and its rim cover a fifth of the picture


@given(pictures(), seeds)
def test_a_nudged_picture_keeps_its_shape_and_its_colours(image: Image, seed: int) -> None:
    nudged = nudge(image, np.random.default_rng(seed))
    assert nudged.shape == image.shape
    assert image.min() <= nudged.min()
    assert nudged.max() <= image.max()


def test_a_wide_blur_of_a_large_picture_is_as_smooth_as_a_blur_is() -> None:
    image = np.random.default_rng(0).integers(0, 256, (1500, 2000, 3), dtype=np.uint8)
    image = np.asarray(cv2.GaussianBlur(image, (0, 0), 1.5), np.uint8)
    blurred = add_defect(image, Kind.BLUR, 0.16, np.random.default_rng(1))
    inside = cv2.erode(blurred.mask, np.ones((41, 41), np.uint8)) > 0
    assert inside.any()
    assert blurred.image[inside].std() < 0.2 * image[inside].std()
