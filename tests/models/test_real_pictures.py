"""What a release reaches on real pictures that it has not seen, nothing tuned per set."""

from __future__ import annotations

from pathlib import Path

import pytest

from kenpin_models.evaluate import evaluate
from kenpin_models.train import train
from support import require


@pytest.mark.parametrize("name", ["aliens", "cookie"])
def test_auto_reaches_an_auroc_of_0_985(name: str, tmp_path: Path) -> None:
    folder = Path(require("data")) / name
    result = train(folder / "good", tmp_path / f"{name}.kenpin")
    masks = folder / "masks"
    found = evaluate(result.file, folder / "good", folder / "bad", masks if masks.is_dir() else None)
    assert found.image_auroc >= 0.985
    assert found.recall_at_threshold >= 0.9
    assert found.fpr_at_threshold <= 0.1
    assert found.pixel_auroc is None or found.pixel_auroc >= 0.95
    assert found.size_bytes <= 5_000_000
