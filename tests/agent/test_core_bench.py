"""`kenpin-agent bench`: measured in a fresh process, told in a table or as JSON."""

from __future__ import annotations

import json
from argparse import Namespace
from pathlib import Path

import pytest

from kenpin_agent.bench import ROUNDS, measure, run_bench, table
from kenpin_wire.errors import ConfigError, KenpinError, ReleaseError
from support.small_release import write_release


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_release(tmp_path_factory.mktemp("bench") / "discs-1.kenpin")


def test_a_report_has_every_stage_and_keeps_the_budgets_of_memory(release: Path) -> None:
    report = measure(release)
    assert list(report.stages_ms) == [
        "invoke",
        "prepare",
        "encode",
        "score",
        "judge",
        "heatmap",
        "jpeg",
    ]
    assert all(ms > 0 for ms in report.stages_ms.values())
    assert report.ratio_budget == 1.15
    assert report.heatmap_ratio > 0
    assert report.heatmap_ratio_budget == 0.2
    assert report.rss_mb <= 150
    assert report.first_verdict_s < 20  # 2 on an idle machine; this one may be busy
    text = table(report)
    assert f"medians of {ROUNDS}" in text
    assert "budget 150 ok" in text


def test_the_command_writes_json(release: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_bench(Namespace(release=release, json=True)) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["release"] == "discs-1"
    assert told["picture_px"] == [128, 96]


def test_nothing_to_measure_with_is_said(tmp_path: Path, release: Path) -> None:
    with pytest.raises(ConfigError, match="no release"):
        run_bench(Namespace(release=None))
    (tmp_path / "r.kenpin").write_bytes(b"junk")
    with pytest.raises(ReleaseError, match="not a release"):
        measure(tmp_path / "r.kenpin")
    with pytest.raises(ReleaseError, match="No such file"):
        measure(tmp_path / "gone.kenpin")
    with pytest.raises(KenpinError, match="holds no picture"):
        measure(release, release.parent)
