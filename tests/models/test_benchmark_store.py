"""Results that are kept: found again, made anew when what they follow from changed, and never half of one."""

from __future__ import annotations

from pathlib import Path

import pytest

from kenpin_models.benchmark import store as store_module
from kenpin_models.benchmark.store import Store, code_hash
from kenpin_wire.errors import ConfigError


@pytest.fixture
def kept(tmp_path: Path) -> Store:
    return Store(tmp_path / "work")


def test_a_result_is_made_once(kept: Store, tmp_path: Path) -> None:
    kept.result("row", {"seed": 0}, lambda: {"auroc": 0.9})

    again = Store(tmp_path / "work").result("row", {"seed": 0}, lambda: pytest.fail("made twice"))

    assert again == {"auroc": 0.9}


def test_other_facts_make_another_result(kept: Store) -> None:
    made = [kept.result("row", {"seed": seed}, lambda s=seed: {"seed": s}) for seed in (0, 1)]

    assert made == [{"seed": 0}, {"seed": 1}]


def test_times_can_be_taken_anew(kept: Store) -> None:
    kept.result("time", {}, lambda: {"ms": 9})

    assert kept.result("time", {}, lambda: {"ms": 1}, anew=True) == {"ms": 1}
    assert kept.result("time", {}, lambda: pytest.fail("made again")) == {"ms": 1}


def test_half_a_result_is_none(kept: Store) -> None:
    kept.file("row", {}, ".json").write_text('{"auroc": 0.')

    assert kept.result("row", {}, lambda: {"auroc": 0.9}) == {"auroc": 0.9}


def test_a_closed_store_makes_nothing_and_says_what_to_do(tmp_path: Path) -> None:
    closed = Store(tmp_path, closed=True)

    with pytest.raises(ConfigError, match=r"row: not measured yet\. Run without --timings-only"):
        closed.result("row", {}, lambda: pytest.fail("made"))
    assert closed.result("time", {}, lambda: {"ms": 1}, anew=True) == {"ms": 1}


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package `kenpin_sample` of two modules, the first of which imports the second."""
    folder = tmp_path / "kenpin_sample"
    folder.mkdir()
    (folder / "__init__.py").write_text("")
    (folder / "first.py").write_text(
        "from kenpin_sample.second import two\n\n\ndef one():\n    return two() - 1\n"
    )
    (folder / "second.py").write_text("def two():\n    return 2\n")
    (folder / "stranger.py").write_text("x = 1\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    return folder


def hashed() -> str:
    for cached in (code_hash, store_module._tree, store_module._source):
        cached.cache_clear()
    return code_hash("kenpin_sample.first")


def test_code_that_says_the_same_has_the_same_hash(package: Path) -> None:
    before = hashed()
    (package / "second.py").write_text('def two():\n    """Two."""\n    return  2  # of course\n')
    (package / "stranger.py").write_text("x = 2\n")

    assert hashed() == before


@pytest.mark.parametrize("module", ["first", "second"])
def test_code_that_says_something_else_has_another_hash(package: Path, module: str) -> None:
    before = hashed()
    file = package / f"{module}.py"
    file.write_text(file.read_text().replace("return ", "return 1 + "))

    assert hashed() != before


def test_scores_follow_from_the_agents_own_heads() -> None:
    code_hash.cache_clear()
    found = set(store_module._closure("kenpin_models.rehearse", set()))

    assert {"kenpin_agent.heads.pooled", "kenpin_agent.prepare", "kenpin_models.fit"} <= found
    assert "kenpin_wire.errors" not in found
