"""The decoder: draws the heatmap where a release has one, and is refused where it does not fit."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kenpin_agent.decoder import Decoder
from kenpin_agent.encoder import Features
from kenpin_agent.inspect import Inspection, inspect
from kenpin_agent.judge import Judge, JudgeState
from kenpin_agent.release import Release, load_release, unpack_release
from kenpin_agent.seams import Frame
from kenpin_wire.errors import ReleaseError
from support.small_release import manifest_for, part, release_files, write_zip
from support.tiny_decoder import section_for, tiny_decoder

GRID = (1, 8, 8, 40)  # block4 of a picture of 64 × 64
RNG = np.random.default_rng(0)
SEEN = Features(
    RNG.normal(size=464).astype(np.float32), {"block4": RNG.normal(size=GRID[1:]).astype(np.float32)}
)
GREY = np.full((1, 64, 64, 3), 128, np.float32)


def decoder(reads: dict[str, tuple[int, ...]], gives: str = "map", **how: Any) -> Decoder:
    content = tiny_decoder(reads, gives)
    return Decoder(content, section_for(content, list(reads), gives, **how), "pooled", SEEN)


def refused(what: str, content: bytes, *args: Any, **how: Any) -> None:
    with pytest.raises(ReleaseError, match=what):
        Decoder(content, section_for(content, *args, **how), "pooled", SEEN, where="discs-1")


def test_a_map_is_what_the_decoder_gives() -> None:
    found = decoder({"block4": GRID}).patch_scores(SEEN, GREY)
    np.testing.assert_allclose(found, SEEN.maps["block4"].mean(axis=2), atol=1e-6)


def test_the_pooled_vector_is_read_by_its_name() -> None:
    found = decoder({"pooled": (1, 464)}).patch_scores(SEEN, GREY)
    np.testing.assert_allclose(found[0], SEEN.pooled, atol=1e-6)


def test_where_a_reconstruction_differs_from_the_picture_is_odd_in_grey_levels() -> None:
    reconstruction = SEEN.maps["block4"].mean(axis=2)
    found = decoder({"block4": GRID}, "picture").patch_scores(SEEN, GREY)
    np.testing.assert_allclose(found, np.abs(128 - reconstruction), atol=1e-4)


def test_a_picture_of_another_size_is_brought_to_the_reconstruction_s() -> None:
    picture = GREY.copy()
    picture[:, :, 32:] = 0
    found = decoder({"block4": GRID}, "picture").patch_scores(SEEN, picture)
    assert found.shape == (8, 8)
    assert found[:, :4].min() > 100
    assert found[:, 4:].max() < 10


def test_what_it_gives_is_the_caller_s_to_keep() -> None:
    drawing = decoder({"block4": GRID})
    first = drawing.patch_scores(SEEN, GREY)
    kept = first.copy()
    drawing.patch_scores(Features(SEEN.pooled, {"block4": SEEN.maps["block4"] + 1}), GREY)
    np.testing.assert_array_equal(first, kept)


def test_what_is_no_model_is_refused() -> None:
    refused("the decoder cannot be loaded", b"no model", ["block4"])


def test_a_decoder_must_take_what_its_manifest_says() -> None:
    content = tiny_decoder({"block4": GRID})
    refused("takes block4, its manifest says block4, block7", content, ["block4", "block7"])
    refused("no output called heat", content, ["block4"], output="heat")


def test_a_decoder_for_another_encoder_is_refused() -> None:
    refused("reads block9, which the encoder does not give", tiny_decoder({"block9": GRID}), ["block9"])
    other = tiny_decoder({"block4": (1, 8, 8, 24)})
    refused(r"takes block4 as \(1, 8, 8, 24\), the encoder gives \(1, 8, 8, 40\)", other, ["block4"])


def test_a_decoder_gives_what_its_manifest_says() -> None:
    content = tiny_decoder({"block4": GRID})
    refused("is no picture", content, ["block4"], "picture", output="map")
    refused("not all float32", tiny_decoder({"block4": GRID}, dtype="int32"), ["block4"])


def members(change: Callable[[dict[str, Any]], None] = lambda manifest: None) -> dict[str, bytes]:
    """A small release with a decoder, its manifest changed."""
    files = release_files()
    files["decoder.tflite"] = content = tiny_decoder({"block4": GRID})
    manifest = json.loads(manifest_for(files).model_dump_json())
    manifest["decoder"] = json.loads(section_for(content, ["block4"]).model_dump_json())
    manifest["heatmap"] = {"kind": "decoder", "normal": 0.0, "limit": 1.0}
    change(manifest)
    return {"manifest.json": json.dumps(manifest).encode(), **files}


def loaded(folder: Path, files: dict[str, bytes]) -> Release:
    unpack_release(write_zip(folder / "r.kenpin", files), folder / "slot")
    return load_release(folder / "slot")


def inspected(release: Release, *, wanted: bool) -> Inspection:
    frame = Frame(part(1, scratched=True), 0, 0.0)
    by = Judge(release.manifest.calibration.threshold)
    return inspect(frame, release, JudgeState(), by, wanted=lambda verdict: wanted, monotonic_s=lambda: 0.0)[
        1
    ]


class Counting:
    """Stands in the decoder's place, and counts how often it is asked."""

    def __init__(self) -> None:
        self.asked = 0

    def patch_scores(self, features: Features, picture: np.ndarray) -> np.ndarray:
        self.asked += 1
        return np.full((8, 8), 100.0, np.float32)


def test_a_release_s_heatmap_is_what_its_decoder_finds_and_only_when_it_is_wanted(tmp_path: Path) -> None:
    release = loaded(tmp_path, members())
    counting = Counting()
    object.__setattr__(release, "decoder", counting)
    assert inspected(release, wanted=False).heatmap is None
    assert counting.asked == 0
    drawn = inspected(release, wanted=True).heatmap
    assert counting.asked == 1
    assert drawn is not None
    assert (drawn != part(1, scratched=True)).mean() > 0.9  # odd all over, as the stand-in says


def test_without_the_wish_for_it_a_decoder_is_not_even_loaded(tmp_path: Path) -> None:
    def patches(manifest: dict[str, Any]) -> None:
        manifest["heatmap"]["kind"] = "patch"

    assert loaded(tmp_path, members(patches)).decoder is None


def test_a_heatmap_of_a_decoder_that_is_not_there_is_refused(tmp_path: Path) -> None:
    def lost(manifest: dict[str, Any]) -> None:
        del manifest["decoder"]

    with pytest.raises(ReleaseError, match="its heatmap is a decoder's, and it has none"):
        loaded(tmp_path, members(lost))


def test_a_decoder_that_was_tampered_with_is_refused(tmp_path: Path) -> None:
    files = members()
    files["decoder.tflite"] = files["decoder.tflite"][:-1] + b"?"
    with pytest.raises(ReleaseError, match=r"decoder\.tflite is not what its manifest says"):
        loaded(tmp_path, files)


def test_a_release_s_patch_scores_are_its_decoder_s(tmp_path: Path) -> None:
    release = loaded(tmp_path, members())
    features = release.encoder.encode(GREY)
    found = release.patch_scores(GREY, features, release.head.assess(features))
    np.testing.assert_allclose(found, features.maps["block4"].mean(axis=2), atol=1e-5)
