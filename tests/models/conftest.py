"""Folders of rendered parts, small enough to train on in a second."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from kenpin_models.train import TrainResult, train
from kenpin_models.wishes import Wishes
from support.rendered_parts import Parts
from support.small_release import part

N_GOOD, N_BAD = 16, 5


@pytest.fixture(scope="session")
def parts(tmp_path_factory: pytest.TempPathFactory) -> Parts:
    """Grey discs, and scratched ones with their masks."""
    folder = tmp_path_factory.mktemp("parts")
    made = Parts(folder / "good", folder / "bad", folder / "masks")
    for path in (made.good, made.bad, made.masks):
        path.mkdir()
    for number in range(N_GOOD):
        cv2.imwrite(str(made.good / f"part-{number}.png"), part(number))
    for number in range(100, 100 + N_BAD):
        image, whole = part(number, scratched=True), part(number)
        cv2.imwrite(str(made.bad / f"part-{number}.png"), image)
        mask = np.where((image != whole).any(axis=2), 255, 0).astype(np.uint8)
        cv2.imwrite(str(made.masks / f"part-{number}.png"), mask)
    return made


@pytest.fixture(scope="session")
def trained(parts: Parts, tmp_path_factory: pytest.TempPathFactory) -> TrainResult:
    """A release of the rendered parts, head and all chosen by the trainer."""
    return train(
        parts.good, tmp_path_factory.mktemp("release") / "discs.kenpin", Wishes(size=96), version="1"
    )
