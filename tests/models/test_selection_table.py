"""What was tried is told in 80 columns, whatever it was."""

from __future__ import annotations

import io
from dataclasses import replace

import pytest
from rich.console import Console

from kenpin_models.recipes import AUTO, FUSION, PADIM
from kenpin_models.select import Candidate, select
from kenpin_models.selection_table import MOST_ROWS, selection_table
from kenpin_wire.manifest import Input, Tiles

PLAIN = Input(width=160, height=160)
TILED = Input(width=384, height=368, tiles=Tiles(columns=3, rows=3, overlap_px=64))


def candidates(*, labelled: bool) -> list[Candidate]:
    bad = 0.9 if labelled else None
    return [
        Candidate(recipe, spec, 0.91, 0.8, bad, bad, 0.8 - index / 100, 66.1 + index, index % 2 == 0)
        for spec in (PLAIN, TILED)
        for index, recipe in enumerate(AUTO)
    ]


def told(tried: list[Candidate]) -> list[str]:
    page = Console(width=80, file=io.StringIO())
    page.print(selection_table(select(tried)))
    assert isinstance(page.file, io.StringIO)
    return page.file.getvalue().splitlines()


@pytest.mark.parametrize("labelled", [False, True])
def test_nothing_is_cut_at_80_columns(labelled: bool) -> None:
    lines = told(candidates(labelled=labelled))
    assert max(map(len, lines)) <= 80
    assert not any("…" in line for line in lines)
    assert sum("1024×976 in 3×3 tiles" in line for line in lines) == MOST_ROWS / 2
    assert any(line.rstrip().endswith("67.1 !") for line in lines)


def test_only_labelled_bad_pictures_have_columns() -> None:
    assert not any("bad" in line for line in told(candidates(labelled=False)))
    assert any("bad" in line for line in told(candidates(labelled=True)))


def test_the_chosen_one_is_shown_however_far_down_and_why_it_was() -> None:
    tried = [replace(row, affordable=False) for row in candidates(labelled=False)]
    last = Candidate(PADIM, TILED, 0.7, 0.5, None, None, 0.1, 20.0)
    lines = told([*tried, last])
    assert next(line for line in lines if line.startswith("→ ")).split()[-1] == "20.0"
    assert any("best 12 of 19" in line for line in lines)
    assert any("cheapest input" in line for line in told(tried))
    close = [replace(last, mark=0.82), replace(last, recipe=FUSION, mark=0.81)]
    assert any("a fusion of two heads" in line for line in told(close))
