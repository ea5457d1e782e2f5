"""The surrogate sets that heads are compared on (`bench/surrogates.py`)."""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import Any

import cv2
import numpy as np
import pytest

from support import ROOT


@pytest.fixture(scope="module")
def surrogates() -> Any:
    """The script as a module; it finds its neighbours beside it."""
    sys.path.insert(0, str(ROOT / "bench"))
    try:
        import surrogates as module
    finally:
        sys.path.pop(0)
    return module


NAMES = ["rolled_steel", "magnetic_tile", "glazed_tile", "el_mono", "washer", "woven"]


@pytest.mark.parametrize("name", NAMES)
def test_every_bad_picture_has_a_mask_of_its_size_and_a_defect_in_it(surrogates, name, tmp_path):
    surrogates.make(replace(surrogates.SETS[name], good=1, bad=3), tmp_path, np.random.default_rng(1))
    bad = sorted((tmp_path / "bad").iterdir())
    assert len(bad) == 3
    for path in bad:
        mask = cv2.imread(str(tmp_path / "masks" / f"{path.stem}.png"), cv2.IMREAD_UNCHANGED)
        assert mask.shape == cv2.imread(str(path)).shape[:2]
        assert set(np.unique(mask)) == {0, 255}
        assert (mask > 0).mean() < 0.5


def test_the_same_seed_makes_the_same_pictures_and_another_does_not(surrogates, tmp_path):
    few = replace(surrogates.SETS["rolled_steel"], good=2, bad=1)
    for folder, seed in (("a", 1), ("again", 1), ("b", 2)):
        surrogates.make(few, tmp_path / folder, np.random.default_rng(seed))
    a, again, b = ((tmp_path / folder / "good" / "0001.jpg").read_bytes() for folder in ("a", "again", "b"))
    assert a == again
    assert a != b


def test_no_two_good_pictures_are_the_same_surface(surrogates, tmp_path):
    surrogates.make(replace(surrogates.SETS["woven"], good=2, bad=1), tmp_path, np.random.default_rng(0))
    first, second = (cv2.imread(str(path)).astype(float) for path in sorted((tmp_path / "good").iterdir()))
    assert np.corrcoef(first.ravel(), second.ravel())[0, 1] < 0.5
