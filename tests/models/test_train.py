"""A release from a folder of good pictures."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from kenpin_agent.pictures import list_pictures, picture_id, read_picture
from kenpin_agent.release import check_golden, load_release, unpack_release
from kenpin_models.naming import release_name
from kenpin_models.recipes import AUTO
from kenpin_models.train import TrainResult, train
from kenpin_models.wishes import Wishes
from kenpin_wire.errors import ConfigError
from support.rendered_parts import Parts
from support.small_release import members_of, part


def test_a_release_loads_and_gives_its_golden_scores(trained: TrainResult, tmp_path: Path) -> None:
    manifest = unpack_release(trained.file, tmp_path / "release")
    assert manifest == trained.manifest
    release = load_release(tmp_path / "release")
    check_golden(release)
    assert release.label == "discs-1"
    assert trained.file.stat().st_size < 5_000_000


def test_one_golden_picture_is_a_defect(trained: TrainResult) -> None:
    scores = [golden.score for golden in trained.manifest.golden]
    assert scores[3] > max(scores[:3])


def test_auto_tries_every_head_and_says_how_each_did(trained: TrainResult) -> None:
    assert trained.selection is not None
    assert {str(candidate.recipe) for candidate in trained.selection.candidates} == {str(r) for r in AUTO}
    assert trained.manifest.head.kind == trained.selection.chosen.recipe.kind
    assert trained.manifest.report["candidates"] == trained.selection.as_report()


def test_what_was_fitted_on_and_what_was_held_out_are_known_by_their_pixels(
    trained: TrainResult, parts: Parts
) -> None:
    fitted, held_out = set(trained.manifest.fitted_on), set(trained.manifest.calibrated_on)
    everything = {picture_id(read_picture(path)) for path in list_pictures(parts.good)}
    assert fitted | held_out == everything
    assert not fitted & held_out
    assert len(held_out) == round(0.4 * len(everything))


def test_it_says_what_so_few_pictures_cannot_promise(trained: TrainResult) -> None:
    assert "cannot promise" in trained.manifest.calibration.note
    assert trained.manifest.calibration.note in trained.warnings


def test_bad_parts_lie_above_the_threshold_and_good_ones_below(trained: TrainResult, tmp_path: Path) -> None:
    unpack_release(trained.file, tmp_path / "release")
    release = load_release(tmp_path / "release")
    threshold = release.manifest.calibration.threshold
    assert min(release.score(part(n, scratched=True)) for n in range(200, 205)) > threshold
    assert max(release.score(part(n)) for n in range(200, 205)) < threshold


def test_a_good_part_stays_calm_on_the_heatmap(trained: TrainResult, tmp_path: Path) -> None:
    unpack_release(trained.file, tmp_path / "release")
    release = load_release(tmp_path / "release")
    scale = release.manifest.heatmap
    for number in range(200, 205):
        good = release.head.patch_scores(release.features(part(number)))
        bad = release.head.patch_scores(release.features(part(number, scratched=True)))
        assert np.median(good) < (scale.normal + scale.limit) / 2
        assert good.max() < 1.2 * scale.limit < 1.2 * bad.max()


def test_the_same_seed_makes_the_same_release(parts: Parts, tmp_path: Path) -> None:
    one, other = (
        train(parts.good, tmp_path / f"{n}.kenpin", Wishes(head="patch_knn", size=96), name="a", version="1")
        for n in range(2)
    )
    assert one.manifest.model_dump(exclude=TIMELY) == other.manifest.model_dump(exclude=TIMELY)
    files = [members_of(result.file) for result in (one, other)]
    assert files[0]["head.npz"] == files[1]["head.npz"]
    assert (
        train(parts.good, tmp_path / "3.kenpin", Wishes(head="knn", size=96, seed=1)).manifest.fitted_on
        != one.manifest.fitted_on
    )


TIMELY = {"created", "report_page"}  # the report says when, and what a frame took


@pytest.mark.parametrize("count", [3, 4, 5])
def test_a_handful_of_pictures_is_enough_to_begin(count: int, parts: Parts, tmp_path: Path) -> None:
    (few := tmp_path / "few").mkdir()
    for path in list_pictures(parts.good)[:count]:
        shutil.copy(path, few)
    result = train(few, tmp_path / "few.kenpin", Wishes(size=96))
    assert len(result.manifest.fitted_on) >= 3
    assert np.isfinite(result.manifest.calibration.threshold)


def test_pictures_of_every_mode_and_size_make_a_release(tmp_path: Path) -> None:
    (folder := tmp_path / "mixed").mkdir()
    for number in range(6):
        cv2.imwrite(str(folder / f"{number}.jpg"), part(number, size=(96 + 16 * number, 128)))
    grey = cv2.cvtColor(part(6), cv2.COLOR_BGR2GRAY)
    cv2.imwrite(str(folder / "grey.png"), grey)
    cv2.imwrite(str(folder / "deep.png"), grey.astype(np.uint16) * 257)
    cv2.imwrite(str(folder / "clear.png"), cv2.cvtColor(part(7), cv2.COLOR_BGR2BGRA))
    (folder / "broken.jpg").write_bytes((folder / "0.jpg").read_bytes()[:500])
    (folder / "notes.txt").write_text("not a picture")
    result = train(folder, tmp_path / "mixed.kenpin", Wishes(head="padim", size=96, holdout=0))
    assert len(result.manifest.fitted_on) == 8  # the 16-bit picture is the grey one again
    assert [w for w in result.warnings if "broken.jpg" in w]


def test_labelled_bad_parts_help_to_choose(parts: Parts, tmp_path: Path) -> None:
    result = train(parts.good, tmp_path / "x.kenpin", Wishes(bad=parts.bad, size=96))
    assert result.selection is not None
    assert all(candidate.bad_auroc is not None for candidate in result.selection.candidates)
    known = set(result.manifest.fitted_on) | set(result.manifest.calibrated_on)
    assert not known & {picture_id(read_picture(path)) for path in list_pictures(parts.bad)}


def test_a_good_picture_among_the_bad_ones_counts_as_good(parts: Parts, tmp_path: Path) -> None:
    (bad := tmp_path / "bad").mkdir()
    twin = list_pictures(parts.good)[0]
    shutil.copy(twin, bad / "a\nb.png")
    result = train(parts.good, tmp_path / "x.kenpin", Wishes(head="cosine", bad=bad, size=96))
    assert result.manifest.report["pictures"]["bad"] == 0
    assert any(r"a\nb.png: it is among the good ones too" in line for line in result.warnings)


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"method": "arcface"}, "Give --reference DIR"),
        ({"method": "magic"}, "no method 'magic'"),
        ({"quantize": "int4"}, "no quantize 'int4'"),
        ({"decoder": "large"}, "no decoder 'large'"),
        ({"budget_ms": 0.0}, "a budget of 0 ms"),
        ({"encoder": "resnet"}, "resnet"),
        ({"labels": Path("labels.txt")}, "a second model needs its labels"),
        ({"head": "forest"}, "no head 'forest'"),
        ({"size": 20}, "20 pixels"),
        ({"false_rejects": 0.0}, "a rate of 0"),
        ({"holdout": 1.0}, "a share of 1"),
        ({"name": "No!"}, "'No!'"),
        ({"bad": Path("/nowhere")}, "no such folder"),
        ({"reference": Path("/nowhere")}, "Give --method doc too"),
    ],
)
def test_a_wrong_argument_is_refused_before_anything_is_done(
    wrong: dict[str, Any], says: str, parts: Parts, tmp_path: Path
) -> None:
    (out := tmp_path / "x.kenpin").write_bytes(b"precious")
    wishes = Wishes(**{key: value for key, value in wrong.items() if key != "name"})
    with pytest.raises(ConfigError, match=says):
        train(parts.good, out, wishes, name=wrong.get("name"))
    assert out.read_bytes() == b"precious"
    assert [path.name for path in tmp_path.iterdir()] == ["x.kenpin"]


@pytest.mark.parametrize(
    ("wish", "says"),
    [
        ({"quantize": "int8"}, "--quantize int8: ai_edge_quantizer is not installed here"),
        ({"decoder": "slim"}, "--decoder slim: torch is not installed here"),
        ({"method": "doc", "reference": Path()}, "--method doc: torch is not installed here"),
    ],
)
def test_what_is_not_installed_is_told_before_any_picture_is_read(
    wish: dict[str, Any], says: str, parts: Parts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kenpin_models.extras.find_spec", lambda _name: None)
    monkeypatch.setattr("kenpin_models.train.read_samples", lambda *_, **__: pytest.fail("read"))
    with pytest.raises(ConfigError, match=says):
        train(parts.good, tmp_path / "x.kenpin", Wishes(**wish))


def test_pictures_that_are_all_black_make_a_release_and_a_warning(tmp_path: Path) -> None:
    (folder := tmp_path / "black").mkdir()
    for number in range(6):
        cv2.imwrite(str(folder / f"{number}.png"), np.zeros((64 + number, 64, 3), np.uint8))
    out = tmp_path / "x.kenpin"
    result = train(folder, out, Wishes(head="fusion", size=96))
    assert out.exists()
    assert any("nothing is to be seen" in warning for warning in result.warnings)


def test_a_release_is_called_one(parts: Parts, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"Let it end in .kenpin"):
        train(parts.good, tmp_path / "x.zip")


@pytest.mark.parametrize("count", [0, 1, 2])
def test_too_few_pictures_are_refused_in_one_line(count: int, parts: Parts, tmp_path: Path) -> None:
    (folder := tmp_path / "few").mkdir()
    for path in list_pictures(parts.good)[:count]:
        shutil.copy(path, folder)
    with pytest.raises(ConfigError) as caught:
        train(folder, tmp_path / "x.kenpin")
    assert str(folder) in str(caught.value)
    assert caught.value.remedy
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "x.kenpin").exists()


def test_only_damaged_pictures_are_refused(tmp_path: Path) -> None:
    (folder := tmp_path / "damaged").mkdir()
    for number in range(5):
        (folder / f"{number}.png").write_bytes(b"\x89PNG\r\n\x1a\n nonsense")
    with pytest.raises(ConfigError, match="none of its pictures can be read"):
        train(folder, tmp_path / "x.kenpin")


@pytest.mark.parametrize("where", ["nowhere/x.kenpin", "."])
def test_a_place_that_cannot_be_written_is_refused_first(where: str, parts: Parts, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="folder"):
        train(parts.good, tmp_path / where)


@pytest.mark.parametrize(
    ("file", "name", "version"),
    [
        ("part-1.0.0.kenpin", "part", "1.0.0"),
        ("m6-bolt-2.kenpin", "m6-bolt", "2"),
        ("Lid_A-1.2.0+b3.kenpin", "lid-a", "1.2.0+b3"),
        ("Türgriff groß-1.kenpin", "turgriff-gross", "1"),
        ("検品-1.kenpin", "release", "1"),
        ("part.kenpin", "part", None),
    ],
)
def test_the_files_name_says_what_the_release_is_called(file: str, name: str, version: str | None) -> None:
    label = release_name(Path(file))
    assert label.name == name
    assert version is None or label.version == version
