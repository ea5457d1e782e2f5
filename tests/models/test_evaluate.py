"""Measuring a release, in the program and from the command line."""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict
from pathlib import Path

import cv2
import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from kenpin_agent.pictures import list_pictures, picture_id, read_picture
from kenpin_models import cli
from kenpin_models.evaluate import evaluate
from kenpin_models.train import TrainResult
from kenpin_wire.errors import ConfigError, PictureError, ReleaseError
from support.rendered_parts import Parts
from support.small_release import members_of, part, write_zip

PROMISED = {
    "image_auroc", "tpr_at_1pct_fpr", "fpr_at_threshold", "recall_at_threshold", "pixel_auroc", "aupro",
    "encoder_ms", "frame_ms", "size_bytes",
}  # fmt: skip  # other programs rely on these


def test_rendered_defects_are_told_and_found(trained: TrainResult, parts: Parts) -> None:
    found = evaluate(trained.file, parts.good, parts.bad, parts.masks)
    assert set(asdict(found)) >= PROMISED
    assert found.image_auroc == 1.0
    assert found.recall_at_threshold == 1.0
    assert found.pixel_auroc is not None
    assert found.pixel_auroc > 0.9
    assert found.aupro is not None
    assert 0.5 < found.aupro <= 1
    assert 0 < found.encoder_ms < found.frame_ms
    assert found.size_bytes == trained.file.stat().st_size
    assert (found.n_bad, found.n_masks) == (5, 5)


def test_pictures_the_release_was_fitted_on_never_count_under_any_name(
    trained: TrainResult, parts: Parts, tmp_path: Path
) -> None:
    for path in list_pictures(parts.good):  # renamed and re-encoded without loss
        cv2.imwrite(str(tmp_path / f"again-{path.stem}.bmp"), read_picture(path))
    found = evaluate(trained.file, tmp_path, parts.bad)
    assert found.n_fitted_excluded == len(trained.manifest.fitted_on)
    assert found.n_good == found.n_calibrated == len(trained.manifest.calibrated_on)


def test_without_masks_nothing_is_said_of_pixels(trained: TrainResult, parts: Parts) -> None:
    found = evaluate(trained.file, parts.good, parts.bad)
    assert (found.pixel_auroc, found.aupro, found.n_masks) == (None, None, 0)


def test_a_folder_of_fitted_pictures_only_is_refused(
    trained: TrainResult, parts: Parts, tmp_path: Path
) -> None:
    for path in list_pictures(parts.good):
        if picture_id(read_picture(path)) in trained.manifest.fitted_on:
            shutil.copy(path, tmp_path)
    with pytest.raises(ConfigError, match="fitted on all"):
        evaluate(trained.file, tmp_path, parts.bad)


def test_fitted_pictures_among_the_bad_ones_are_said_to_be_that(
    trained: TrainResult, parts: Parts, tmp_path: Path
) -> None:
    for path in list_pictures(parts.good):
        if picture_id(read_picture(path)) in trained.manifest.fitted_on:
            shutil.copy(path, tmp_path)
    with pytest.raises(ConfigError, match="fitted on all"):
        evaluate(trained.file, parts.good, tmp_path)


def test_a_release_whose_golden_pictures_disagree_is_not_measured(
    trained: TrainResult, parts: Parts, tmp_path: Path
) -> None:
    members = members_of(trained.file)
    manifest = json.loads(members["manifest.json"])
    manifest["golden"][0]["score"] += 1.0
    members["manifest.json"] = json.dumps(manifest).encode()
    with pytest.raises(ReleaseError, match=r"golden/0\.png scores"):
        evaluate(write_zip(tmp_path / "liar.kenpin", members), parts.good, parts.bad)


def test_a_damaged_picture_is_left_out_by_name(trained: TrainResult, parts: Parts, tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "bad.png"), part(300, scratched=True))
    (tmp_path / "broken.png").write_bytes(b"no picture")
    found = evaluate(trained.file, parts.good, tmp_path)
    assert found.n_bad == 1
    assert "broken.png" in found.warnings[0]


def test_a_file_that_is_no_release_is_refused(parts: Parts, tmp_path: Path) -> None:
    (file := tmp_path / "x.kenpin").write_bytes(b"no release")
    with pytest.raises(ReleaseError):
        evaluate(file, parts.good, parts.bad)
    with pytest.raises(ConfigError, match="no such file"):
        evaluate(tmp_path / "none.kenpin", parts.good, parts.bad)


def test_masks_that_fit_no_picture_are_refused(trained: TrainResult, parts: Parts, tmp_path: Path) -> None:
    (masks := tmp_path / "masks").mkdir()
    cv2.imwrite(str(masks / "stranger.png"), np.full((96, 128), 255, np.uint8))
    with pytest.raises(ConfigError, match="no mask has the name"):
        evaluate(trained.file, parts.good, parts.bad, masks)
    cv2.imwrite(str(masks / "part-100.png"), np.full((50, 50), 255, np.uint8))
    with pytest.raises(PictureError, match="50 × 50"):
        evaluate(trained.file, parts.good, parts.bad, masks)


@pytest.fixture
def app() -> typer.Typer:
    made = typer.Typer(pretty_exceptions_enable=False)
    cli.register(made)
    return made


def test_json_on_standard_output_is_json_and_nothing_else(
    app: typer.Typer, trained: TrainResult, parts: Parts
) -> None:
    arguments = ["evaluate", str(trained.file), "--good", str(parts.good), "--bad", str(parts.bad)]
    result = CliRunner().invoke(app, [*arguments, "--json", "-"])
    assert result.exit_code == 0
    figures = json.loads(result.stdout)
    assert set(figures) >= PROMISED
    assert figures["pixel_auroc"] is None


def test_json_goes_to_a_file_too(
    app: typer.Typer, trained: TrainResult, parts: Parts, tmp_path: Path
) -> None:
    arguments = ["evaluate", str(trained.file), "--good", str(parts.good), "--bad", str(parts.bad)]
    result = CliRunner().invoke(app, [*arguments, "--json", str(tmp_path / "out.json")])
    assert result.exit_code == 0
    assert json.loads((tmp_path / "out.json").read_text())["image_auroc"] == 1.0
    assert "left out: the release was fitted on them" in result.stdout


def test_many_pictures_left_out_are_not_all_told(app: typer.Typer, parts: Parts, tmp_path: Path) -> None:
    good = tmp_path / "good"
    shutil.copytree(parts.good, good)
    for number in range(30):
        (good / f"part-{number}b.png").write_bytes(b"nothing")
    arguments = ["train", str(good), "-o", str(tmp_path / "x.kenpin"), "--size", "96", "--head", "cosine"]
    lines = CliRunner().invoke(app, arguments).stderr.splitlines()
    assert sum("left out" in line for line in lines) == 10
    assert any("20 more like these" in line for line in lines)
    assert "the threshold is an estimate" in lines[-1]


def test_train_prints_what_it_chose_from(app: typer.Typer, parts: Parts, tmp_path: Path) -> None:
    out = tmp_path / "discs.kenpin"
    result = CliRunner().invoke(app, ["train", str(parts.good), "-o", str(out), "--size", "96"])
    assert result.exit_code == 0
    assert out.is_file()
    for head in ("lof", "knn", "cosine", "mahalanobis", "padim", "patch_knn"):
        assert head in result.stdout
    assert "fitted on 10 good pictures, 6 held out" in " ".join(result.stdout.split())


def test_a_missing_argument_is_a_usage_error(app: typer.Typer) -> None:
    assert CliRunner().invoke(app, ["train"]).exit_code == 2
    assert CliRunner().invoke(app, ["evaluate", "x.kenpin"]).exit_code == 2
