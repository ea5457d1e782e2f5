"""Teaching an encoder, on pictures and networks small enough to do it in a second."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from kenpin_agent.pictures import picture_id
from kenpin_agent.prepare import prepare
from kenpin_agent.seams import Image
from kenpin_models.encoder_file import read_encoder_file
from kenpin_models.encoders.plan import EncoderPlan
from kenpin_models.finetune.settings import METHODS, FineTuneSettings, Method
from kenpin_models.finetune.tune import Taught, fine_tune, teach
from kenpin_models.samples import Eye
from kenpin_wire.manifest import Input
from support import require
from support.small_release import part

SPEC = Input(width=64, height=64)
PLANS = {
    "efficientnet-lite0": EncoderPlan(cut=3, maps=(1, 3), weights="none"),
    "mobilenetv2": EncoderPlan("mobilenetv2", alpha=0.5, cut=4, maps=(2, 4), weights="none"),
}
PLAN = PLANS["mobilenetv2"]
SETTINGS = FineTuneSettings(
    embedding=16, steps=8, round_steps=4, batch=8, copies_to=0, held_out=0.2, learning_rate=3e-3
)


@dataclass(frozen=True)
class Drawn:
    id: str
    image: Image


@pytest.fixture(scope="module", autouse=True)
def torch() -> Any:
    require("torch")
    import torch

    torch.set_num_threads(1)
    return torch


@pytest.fixture(scope="module")
def target() -> list[Drawn]:
    images = [part(number) for number in range(10)]
    return [Drawn(picture_id(image), image) for image in images]


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Stripes and blots."""
    root = tmp_path_factory.mktemp("things")
    rng = np.random.default_rng(0)
    for name in ("stripes", "blots"):
        (root / name).mkdir()
        for number in range(10):
            image = rng.integers(0, 60, (48, 48, 3), dtype=np.uint8)
            if name == "stripes":
                image[:: 4 + number % 3] = 250
            else:
                cv2.circle(image, (24, 24), 6 + number, (0, 200, 250), -1)
            cv2.imwrite(str(root / name / f"{number}.png"), image)
    return root


def taught(
    tree: Path,
    target: Sequence[Drawn],
    workdir: Path,
    method: Method = "arcface",
    *,
    plan: EncoderPlan = PLAN,
    settings: FineTuneSettings = SETTINGS,
    seed: int = 0,
    progress: Any = lambda *_: None,
) -> Taught:
    return teach(
        method, plan, target, tree, SPEC, workdir=workdir, seed=seed, settings=settings, progress=progress
    )


def weights(of: Taught) -> dict[str, Any]:
    return {name: value.numpy() for name, value in of.module.state_dict().items()}


def same(one: Taught, other: Taught) -> bool:
    first, second = weights(one), weights(other)
    return all(np.array_equal(value, second[name]) for name, value in first.items())


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("network", PLANS)
def test_every_method_teaches_every_network(
    method: Method, network: str, tree: Path, target: list[Drawn], tmp_path: Path
) -> None:
    import torch

    done = taught(tree, target, tmp_path, method, plan=PLANS[network])
    rounds = done.curves.rounds
    assert [r.step for r in rounds] == [0, 4, 8]
    assert min(r.held_out_loss for r in rounds[1:]) < rounds[0].held_out_loss
    assert done.classes == ("blots", "stripes")
    assert (done.n_target, done.n_reference) == (10, 20)
    with torch.no_grad():
        given = done.module(torch.from_numpy(prepare(target[0].image, SPEC)))
    assert list(given) == ["pooled", *PLANS[network].map_names]
    assert given["pooled"].shape == (1, 16)
    assert float(given["pooled"].norm()) == pytest.approx(1, abs=1e-5)


def test_the_part_draws_together_and_away_from_other_things(
    tree: Path, target: list[Drawn], tmp_path: Path, torch: Any
) -> None:
    done = taught(tree, target, tmp_path, settings=replace(SETTINGS, steps=24))
    things = [cv2.imread(str(path)) for path in sorted(tree.rglob("*.png"))]

    def embedded(images: Sequence[Image]) -> Any:
        with torch.no_grad():
            many = np.concatenate([prepare(image, SPEC) for image in images])
            return done.module(torch.from_numpy(many))["pooled"].numpy()

    mean = embedded([picture.image for picture in target]).mean(axis=0)
    unseen = embedded([part(number) for number in range(50, 56)])
    assert (unseen @ mean).min() > (embedded(things) @ mean).max()


def test_frozen_blocks_stay_as_they_are_and_the_rest_learns(
    tree: Path, target: list[Drawn], tmp_path: Path
) -> None:
    from kenpin_models.encoders.build import build

    before = {name: value.numpy() for name, value in build(PLAN).state_dict().items()}
    after = weights(taught(tree, target, tmp_path))
    changed = {name for name, value in before.items() if not np.array_equal(value, after[name])}
    frozen = ("stem.", "mean", "scale", *(f"blocks.{block}." for block in range(3)))
    assert not any(name.startswith(frozen) or "running" in name for name in changed)
    assert {"blocks.3.project.0.weight", "blocks.4.depthwise.0.weight"} <= changed


def test_the_same_seed_teaches_the_same_and_another_does_not(
    tree: Path, target: list[Drawn], tmp_path: Path
) -> None:
    first = taught(tree, target, tmp_path / "first")
    assert same(first, taught(tree, target, tmp_path / "second"))
    assert not same(first, taught(tree, target, tmp_path / "third", seed=1))


def test_methods_share_what_the_frozen_blocks_gave(tree: Path, target: list[Drawn], tmp_path: Path) -> None:
    steps: list[str] = []
    taught(tree, target, tmp_path, "doc")
    shared = taught(tree, target, tmp_path, "triplet", progress=lambda step, *_: steps.append(step))
    assert set(steps) == {"teaching triplet"}
    assert same(shared, taught(tree, target, tmp_path / "alone", "triplet"))


@pytest.mark.parametrize("moment", ["looking at pictures to learn from", "teaching arcface"])
def test_a_run_that_is_killed_goes_on_and_ends_with_the_same_weights(
    moment: str, tree: Path, target: list[Drawn], tmp_path: Path
) -> None:
    settings = replace(SETTINGS, steps=12)
    uninterrupted = taught(tree, target, tmp_path / "uninterrupted", settings=settings)
    kill_at = 0 if moment.startswith("looking") else 6
    killed = subprocess.run(
        [sys.executable, __file__, str(tree), str(tmp_path / "killed"), moment, str(kill_at)],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        check=False,
        timeout=120,
    )
    assert killed.returncode == -signal.SIGKILL
    seen: list[tuple[str, int]] = []
    resumed = taught(
        tree,
        target,
        tmp_path / "killed",
        settings=settings,
        progress=lambda step, done, _: seen.append((step, done)),
    )
    assert same(uninterrupted, resumed)
    assert resumed.curves == uninterrupted.curves
    if kill_at:
        assert seen[0] == ("teaching arcface", 4)  # the last round before it was killed


def test_a_checkpoint_of_another_run_or_a_damaged_one_is_not_gone_on_from(
    tree: Path, target: list[Drawn], tmp_path: Path
) -> None:
    other = replace(SETTINGS, learning_rate=1e-4)
    expected = taught(tree, target, tmp_path / "alone", settings=other)
    taught(tree, target, tmp_path / "shared")
    assert same(expected, taught(tree, target, tmp_path / "shared", settings=other))
    (tmp_path / "shared" / "arcface.checkpoint").write_bytes(b"torn")
    assert same(expected, taught(tree, target, tmp_path / "shared", settings=other))


def test_it_stops_when_held_out_pictures_gain_no_more_and_keeps_the_best(
    tree: Path, target: list[Drawn], tmp_path: Path
) -> None:
    wild = replace(SETTINGS, steps=40, learning_rate=0.3, patience=2)
    curves = taught(tree, target, tmp_path, settings=wild).curves
    assert curves.stopped_early
    assert curves.rounds[-1].step == curves.best_step + 8 < 40
    best = min(curves.rounds, key=lambda r: r.held_out_loss)
    assert best.step == curves.best_step


@pytest.mark.parametrize(
    "plan", [PLAN, replace(PLAN, cut=None, maps=None, pooled="last")], ids=["maps", "last features"]
)
def test_what_was_learnt_is_what_the_encoder_gives(
    plan: EncoderPlan, tree: Path, target: list[Drawn], tmp_path: Path
) -> None:
    import torch

    from kenpin_models.encoders.build import build
    from kenpin_models.finetune.lesson import Lesson
    from kenpin_models.finetune.prefix import look
    from kenpin_models.finetune.reference import find_reference
    from kenpin_models.finetune.tail import Tail

    module = build(replace(plan, embedding=16)).requires_grad_(False)
    lesson = Lesson(target, find_reference(tree, 100), SPEC, SETTINGS, 0, frozenset())
    first = SETTINGS.frozen_block(plan) + 1
    rows = look(module, first, lesson, file=tmp_path / "rows.npy", facts={}, progress=lambda *_: None)
    tail = Tail(module, first, rows, seed=0)
    tail.whiten(rows)
    tail.write_back()
    with torch.no_grad():
        learnt = torch.nn.functional.normalize(tail(*rows.batch(np.arange(10))[:2])).numpy()
        images = np.concatenate([prepare(picture.image, SPEC) for picture in target])
        given = module(torch.from_numpy(images))["pooled"].numpy()
    assert np.abs(learnt - given).max() < 0.01  # rows are in half precision


def test_the_encoder_is_written_as_an_agent_runs_it(tree: Path, target: list[Drawn], tmp_path: Path) -> None:
    made = fine_tune("doc", PLAN, target, tree, SPEC, workdir=tmp_path, settings=SETTINGS)
    assert made.encoder == read_encoder_file(tmp_path / "doc.tflite")
    assert "taught by doc on 10 good pictures and 20 of other things, seed 0" in made.encoder.provenance
    features = Eye(SPEC, made.encoder).see(target[0].image)
    assert features.pooled.shape == (16,)
    assert list(features.maps) == ["block2", "block4"]


def _be_killed(tree: Path, workdir: Path, moment: str, at: int) -> None:
    def progress(step: str, done: int, _total: int) -> None:
        if step == moment and done == at:
            os.kill(os.getpid(), signal.SIGKILL)

    import torch

    torch.set_num_threads(1)
    images = [part(number) for number in range(10)]
    parts = [Drawn(picture_id(image), image) for image in images]
    taught(tree, parts, workdir, settings=replace(SETTINGS, steps=12), progress=progress)


if __name__ == "__main__":
    _be_killed(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3], int(sys.argv[4]))
