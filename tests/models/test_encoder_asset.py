"""The committed encoder is the one its provenance speaks of, runs at any size, and equals PyTorch."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from kenpin_agent.encoder import Encoder
from kenpin_models.assets import ENCODER_FILE, PROVENANCE_FILE
from kenpin_models.encoder_file import shipped_encoder
from kenpin_models.encoders.export import SIZES_PX, TOLERANCE
from kenpin_wire.manifest import Input
from support import require

MAPS = shipped_encoder().maps
PROVENANCE = json.loads(PROVENANCE_FILE.read_text())


def test_the_provenance_is_that_of_this_file() -> None:
    data = ENCODER_FILE.read_bytes()
    assert hashlib.sha256(data).hexdigest() == PROVENANCE["result"]["sha256"]
    assert len(data) < 8_000_000
    parity = PROVENANCE["parity_with_torch"]
    assert {"pooled", *MAPS} <= parity.keys()
    assert all(parity[name]["relative"] <= TOLERANCE for name in ("pooled", *MAPS))


@pytest.mark.parametrize("size", [*SIZES_PX, (96, 320)])
def test_it_runs_at_every_size_and_its_means_are_those_of_its_maps(size: tuple[int, int]) -> None:
    # A size baked in by the conversion shows here: the pooled vector would be a sum over the wrong count.
    height, width = size
    encoder = Encoder(ENCODER_FILE, Input(width=width, height=height), shipped_encoder().pooled, MAPS)
    noise = np.random.default_rng(0).uniform(0, 255, (1, height, width, 3)).astype(np.float32)
    features = encoder.encode(noise)
    maps = [features.maps[name] for name in MAPS]
    assert [m.shape for m in maps] == [
        (height // 8, width // 8, 40), (height // 16, width // 16, 80), (height // 16, width // 16, 112),
    ]  # fmt: skip
    expected = [m.mean(axis=(0, 1)) for m in maps] + [m.std(axis=(0, 1)) for m in maps]
    np.testing.assert_allclose(features.pooled, np.concatenate(expected), atol=2e-4)


@pytest.mark.slow
def test_the_export_can_be_made_again(tmp_path: Path) -> None:
    require("torch")
    out = tmp_path / "encoder.tflite"
    subprocess.run([sys.executable, "-m", "kenpin_models.encoders.export", "-o", str(out)], check=True)
    made = json.loads(out.with_suffix(".json").read_text())
    assert made["provenance"] == PROVENANCE["provenance"]
    assert all(made["parity_with_torch"][name]["relative"] <= TOLERANCE for name in ("pooled", *MAPS))


def test_the_runtime_says_nothing_past_python() -> None:
    code = """
import sys
from kenpin_models.samples import Eye
from kenpin_wire.manifest import Input
Eye(Input(width=96, height=96))
print("heard", file=sys.stderr)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr == "heard\n"
