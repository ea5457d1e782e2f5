"""What fine-tuning needs no torch for: settings, the reference set, the order of pictures, curves."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kenpin_agent.pictures import picture_id, read_picture
from kenpin_agent.seams import Image
from kenpin_models.encoders.plan import EncoderPlan
from kenpin_models.finetune.curves import LearningCurves, Round
from kenpin_models.finetune.feed import Feed
from kenpin_models.finetune.lesson import Lesson
from kenpin_models.finetune.reference import Reference, find_reference
from kenpin_models.finetune.settings import DEFAULTS, METHODS, FineTuneSettings, method_named
from kenpin_models.finetune.tune import teach
from kenpin_wire.errors import ConfigError
from kenpin_wire.manifest import Input, Tiles
from support.small_release import part

SPEC = Input(width=64, height=64)


@dataclass(frozen=True)
class Drawn:
    id: str
    image: Image


def drawn(number: int) -> Drawn:
    image = part(number)
    return Drawn(picture_id(image), image)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Twelve pictures of each of two kinds, one of which lies two folders down."""
    rng = np.random.default_rng(0)
    for folder in ("nuts", "fruit/apples"):
        (tmp_path / folder).mkdir(parents=True)
        for number in range(12):
            noise = rng.integers(0, 256, (40, 40, 3), dtype=np.uint8)
            cv2.imwrite(str(tmp_path / folder / f"{number}.png"), noise)
    return tmp_path


def lesson(tree: Path, n: int = 4, *, spec: Input = SPEC, never: frozenset[str] = frozenset()) -> Lesson:
    settings = FineTuneSettings(copies_to=8, held_out=0.25)
    return Lesson([drawn(i) for i in range(n)], find_reference(tree, 6000), spec, settings, 0, never)


def test_each_folder_that_holds_pictures_is_a_class(tree: Path) -> None:
    found = find_reference(tree, 6000)
    assert found.classes == ("fruit/apples", "nuts")
    assert [found.classes[label] for label in found.labels] == ["fruit/apples"] * 12 + ["nuts"] * 12


def test_a_large_reference_set_is_cut_down_the_same_way_each_time(tree: Path) -> None:
    found = find_reference(tree, 20, seed=3)
    assert len(found.paths) == 20
    assert found == find_reference(tree, 20, seed=3) != find_reference(tree, 20, seed=4)


def test_too_few_pictures_of_other_things_are_refused(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "one.png"), np.zeros((20, 20, 3), np.uint8))
    with pytest.raises(ConfigError, match="only 1 picture"):
        find_reference(tmp_path, 6000)


def test_doc_must_have_kinds_to_tell_apart() -> None:
    alone = Reference((".",), (), ())
    with pytest.raises(ConfigError, match="arcface"):
        alone.check("doc", Path("things"))
    alone.check("arcface", Path("things"))


def test_few_good_pictures_come_with_copies_but_held_out_ones_without(tree: Path) -> None:
    rows = list(lesson(tree).shown())
    part_rows = [row for row in rows if row.label == 0]
    assert [row.held_out for row in part_rows].count(True) == 1
    assert len(part_rows) == 3 * 2 + 1
    assert {row.label for row in rows} == {0, 1, 2}
    assert all(row.tensor.shape == (1, 64, 64, 3) for row in rows)


def test_each_tile_of_the_part_is_learnt_from_and_other_things_whole(tree: Path) -> None:
    tiled = SPEC.model_copy(update={"tiles": Tiles(columns=2, rows=1, overlap_px=32)})
    rows = list(lesson(tree, spec=tiled).shown())
    assert sum(row.label == 0 for row in rows) == 4 * 2
    assert sum(row.label > 0 for row in rows) == 24
    assert all(row.tensor.shape == (1, 64, 64, 3) for row in rows)


def test_no_picture_that_judges_is_learnt_from_though_the_reference_set_holds_it(tree: Path) -> None:
    cv2.imwrite(str(tree / "nuts" / "good.png"), part(0))
    cv2.imwrite(str(tree / "nuts" / "judged.png"), part(99))
    told = lesson(tree, never=frozenset({picture_id(read_picture(tree / "nuts" / "judged.png"))}))
    assert sum(row.label > 0 for row in told.shown()) == 24
    assert [Path(line.split(": ")[1]).name for line in told.warnings] == ["good.png", "judged.png"]


def test_a_damaged_reference_picture_is_left_out(tree: Path) -> None:
    (tree / "nuts" / "torn.png").write_bytes(b"no picture")
    told = lesson(tree)
    assert sum(row.label > 0 for row in told.shown()) == 24
    assert "torn.png" in told.warnings[0]


@given(
    n_part=st.integers(2, 40),
    n_others=st.integers(2, 40),
    batch=st.integers(4, 16),
    held_out=st.integers(1, 20),
    seed=st.integers(0, 5),
)
def test_every_row_comes_once_before_any_comes_again(
    n_part: int, n_others: int, batch: int, held_out: int, seed: int
) -> None:
    labels = np.array([0] * n_part + [1] * n_others, dtype=np.int64)
    apart = np.zeros(len(labels), dtype=np.bool_)
    apart[: min(held_out, n_part - 1)] = True
    apart[n_part : n_part + min(held_out, n_others - 1)] = True
    feed = Feed(labels, apart, batch, seed)
    taken = np.concatenate([feed.fitted(step) for step in range(12)])
    counts = np.bincount(taken, minlength=len(labels))
    assert not counts[apart].any()
    for kind in (labels == 0, labels > 0):
        fitted = counts[kind & ~apart]
        assert fitted.max() - fitted.min() <= 1
    judged = np.concatenate(feed.held_out())
    assert set(judged) == set(np.flatnonzero(apart))


def test_a_batch_follows_from_seed_and_step_alone() -> None:
    labels = np.array([0, 0, 0, 1, 1, 1, 1], dtype=np.int64)
    held_out = np.array([1, 0, 0, 1, 0, 0, 0], dtype=np.bool_)
    late = Feed(labels, held_out, 4, seed=1).fitted(7)
    early = Feed(labels, held_out, 4, seed=1)
    assert [early.fitted(step) for step in range(8)][-1].tolist() == late.tolist()


@pytest.mark.parametrize(
    ("plan", "block"),
    [
        (EncoderPlan(), 7),
        (EncoderPlan("mobilenetv2"), 9),
        (EncoderPlan(cut=7), 4),
        (EncoderPlan(cut=10, maps=(10,)), 4),
        (EncoderPlan(cut=0, maps=(0,)), -1),
    ],
)
def test_blocks_up_to_the_last_map_but_one_stay_as_they_are(plan: EncoderPlan, block: int) -> None:
    assert FineTuneSettings().frozen_block(plan) == block


def test_something_must_be_left_to_learn() -> None:
    assert FineTuneSettings(freeze=-1).frozen_block(EncoderPlan()) == -1
    with pytest.raises(ConfigError, match="freeze"):
        FineTuneSettings(freeze=10).frozen_block(EncoderPlan())


@pytest.mark.parametrize(
    ("name", "value"),
    [("batch", 2), ("steps", 0), ("embedding", 0), ("held_out", 1.0), ("learning_rate", 0.0)],
)
def test_a_setting_that_cannot_be_is_named(name: str, value: float) -> None:
    with pytest.raises(ConfigError, match=name):
        replace(FineTuneSettings(), **{name: value}).check()


def test_each_method_has_settings_and_no_other_has() -> None:
    assert set(DEFAULTS) == set(METHODS)
    assert method_named("doc") == "doc"
    with pytest.raises(ConfigError, match="doc, arcface, triplet"):
        method_named("frozen")


def test_curves_are_told_in_a_release() -> None:
    curves = LearningCurves("doc", (Round(0, 2.0, 2.0), Round(5, 1.23456789, 1.5)), 5, stopped_early=False)
    assert curves.as_report() == {
        "method": "doc",
        "best_step": 5,
        "stopped_early": False,
        "rounds": [
            {"step": 0, "loss": 2.0, "held_out_loss": 2.0},
            {"step": 5, "loss": 1.23457, "held_out_loss": 1.5},
        ],
    }


def test_without_torch_it_says_what_to_install(
    tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kenpin_models.extras.find_spec", lambda _name: None)
    with pytest.raises(ConfigError, match=r"--method doc: torch is not installed here\. pip install"):
        teach("doc", EncoderPlan(), [drawn(i) for i in range(4)], tree, SPEC, workdir=tmp_path)
