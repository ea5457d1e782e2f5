"""`kenpin benchmark seeds` from end to end, on a few pictures; what it keeps, and how it fails."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from kenpin_models.benchmark.cli import register
from kenpin_models.benchmark.report import markdown
from kenpin_models.benchmark.rows import PIXELS, QUICK, Row
from kenpin_models.benchmark.seeds import run_seeds
from kenpin_models.benchmark.tables import Document
from kenpin_wire.errors import ConfigError
from support import require

TINY = replace(
    QUICK,
    baselines=(Row(PIXELS, "whitened knn"),),
    heads=("padim",),
    few_heads=(),
    taught=(),
    n_reference=20,
    n_good=60,
    n_test=30,
)


@pytest.fixture(scope="module")
def data() -> Path:
    return Path(require("data"))


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("work")


@pytest.fixture(scope="module")
def found(data: Path, work: Path) -> Document:
    return run_seeds(data, work, TINY)


def test_each_row_is_measured_in_accuracy_and_in_time(found: Document) -> None:
    assert [(line.row.method, line.row.head) for line in found.lines] == [
        (PIXELS, "whitened knn"),
        ("frozen", "padim"),
    ]
    for line in found.lines:
        assert 0.8 < line.auroc.mean <= 1
        assert line.times is not None
        assert 0 < line.times.head_ms < line.times.frame_ms
        assert line.size_bytes > 0


def test_only_kenpin_has_a_network_a_threshold_and_a_heatmap_here(found: Document) -> None:
    pixels, padim = found.lines

    assert (pixels.parameters, pixels.rejected) == (0, None)
    assert padim.parameters > 500_000
    assert padim.rejected is not None
    assert padim.times is not None
    assert padim.times.heatmap_ms is not None
    assert padim.times.ratio == pytest.approx(padim.times.frame_ms / padim.times.encoder_ms, rel=0.5)


def test_a_second_run_finds_everything(
    found: Document, data: Path, work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("accuracy._make", "costs.Costs._take"):
        monkeypatch.setattr(f"kenpin_models.benchmark.{name}", lambda *_: pytest.fail("measured again"))

    assert markdown(run_seeds(data, work, TINY), []) == markdown(found, [])


def test_times_alone_can_be_taken_anew(found: Document, data: Path, work: Path) -> None:
    copy = work.with_name("copy")
    shutil.copytree(work, copy)

    again = run_seeds(data, copy, TINY, timings_only=True)

    assert [line.auroc for line in again.lines] == [line.auroc for line in found.lines]
    assert [line.times for line in again.lines] != [line.times for line in found.lines]


def test_times_alone_leave_out_what_was_never_measured(data: Path, tmp_path: Path) -> None:
    found = run_seeds(data, tmp_path, TINY, timings_only=True)

    assert found.lines == []
    assert found.left_out[0][0] == "raw-pixels-whitened-knn"
    assert "not measured yet" in found.left_out[0][1]


def test_the_command_writes_a_page_and_every_figure(
    found: Document, data: Path, work: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kenpin_models.benchmark.rows.QUICK", TINY)
    app = typer.Typer()
    register(app)

    options = ["--data", str(data), "--out", str(tmp_path / "docs"), "--json", str(tmp_path / "all.json")]
    result = CliRunner().invoke(app, [*options, "--quick", "--work", str(work)])

    assert result.exit_code == 0, result.output
    assert "**A reduced run**" in (tmp_path / "docs" / "seeds.md").read_text()
    lines = json.loads((tmp_path / "all.json").read_text())["lines"]
    assert [line["row"]["head"] for line in lines] == ["whitened knn", "padim"]


def test_rows_that_need_torch_are_left_out_with_the_reason(
    found: Document, data: Path, work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kenpin_models.extras.find_spec", lambda _: None)

    without = run_seeds(data, work, replace(TINY, taught=("doc",), int8_heads=("padim",)))

    assert [line.row for line in without.lines] == [line.row for line in found.lines]
    assert without.left_out == [
        ("doc-lof", "doc: torch is not installed here. pip install 'kenpin[train]'"),
        ("frozen-padim-int8", "int8: ai_edge_quantizer is not installed here. pip install 'kenpin[train]'"),
    ]


def test_missing_pictures_are_told_before_anything_is_measured(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="fashion-mnist: there is no train-images"):
        run_seeds(tmp_path, tmp_path / "work", TINY)
