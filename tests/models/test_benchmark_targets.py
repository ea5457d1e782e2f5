"""The page, the targets and the ROC curve say what the figures say."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kenpin_models.benchmark.parts import FIGURES, Trial
from kenpin_models.benchmark.plots import roc_points
from kenpin_models.benchmark.report import markdown, table
from kenpin_models.benchmark.rows import DEFAULT, FULL, PUBLISHED, QUICK, Row, all_rows
from kenpin_models.benchmark.tables import Document, Line, PartLine, RejectLine, Spread, Versus
from kenpin_models.benchmark.targets import all_targets
from kenpin_models.benchmark.timing import Times
from kenpin_models.metrics import auroc


def line(row: Row, value: float, tpr: float = 0.7, size: int = 3_000_000) -> Line:
    return Line(
        row=row,
        heads=("padim", "fusion"),
        auroc=Spread.of([value]),
        tpr=Spread.of([tpr]),
        rejected=None if row.is_baseline else Spread.of([0.01]),
        parameters=700_000,
        size_bytes=size,
        times=Times(1.0, 0.1, 1.1, ratio=1.1, heatmap_ms=0.1),
        good=[0.0, 1.0],
        bad=[2.0, 3.0],
    )


def document(lines: list[Line], **others: object) -> Document:
    fields = {
        "quick": False,
        "seeds": (0, 1, 2),
        "machine": "a machine",
        "load": 0.3,
        "lines": lines,
    } | others
    return Document(**fields)  # type: ignore[arg-type]  # whatever the test gives


def versus(ratio: float) -> Versus:
    return Versus(2, 2, 1, published_drawn_ms=2.2 * ratio, kenpin_drawn_ms=2.2, drawn_ratio=ratio)


def met(found: Document, words: str) -> bool | None:
    (target,) = [target for target in all_targets(found) if words in target.what]
    return target.passed


@pytest.mark.parametrize(("value", "passed"), [(0.98, True), (0.979, False)])
def test_a_target_is_met_from_its_figure_on(value: float, passed: bool) -> None:
    assert met(document([line(DEFAULT, value)]), "`auto`, AUROC") is passed


def test_what_was_not_measured_is_neither_met_nor_missed() -> None:
    assert {target.passed for target in all_targets(document([]))} == {None}


def test_the_published_design_must_be_beaten_in_speed_and_in_accuracy() -> None:
    lines = [line(DEFAULT, 0.98), line(Row(PUBLISHED, "lof"), 0.9)]

    slow = document(lines, versus=versus(5.0))
    fast = document(lines, versus=versus(7.0))

    assert met(slow, "as published") is False
    assert met(fast, "as published") is True
    assert met(fast, "without heatmaps") is False
    assert met(fast, "higher than the published") is True


def test_the_dearest_head_decides_for_its_kind() -> None:
    cheap, dear = line(Row("frozen", "lof"), 0.9), line(Row("frozen", "padim"), 0.9)
    dear = Line(**{name: getattr(dear, name) for name in Line.__slots__} | {"times": Times(1, 0.3, 1.3, 1.3)})

    assert met(document([cheap]), "worst: `lof`") is True
    assert met(document([cheap, dear]), "worst: `padim`") is False


def test_false_rejects_are_met_by_their_mean_over_the_parts() -> None:
    rejects = [RejectLine("bag", 1000, 120, Spread.of([rate]), ("padim",)) for rate in (0.0, 0.03)]

    assert met(document([], rejects=rejects), "rejects") is True
    assert met(document([], rejects=rejects[1:]), "rejects") is False


def test_int8_is_held_against_the_same_in_float32() -> None:
    def part(value: float, precision: str) -> PartLine:
        figures = dict.fromkeys(FIGURES) | {"image_auroc": Spread.of([value])}
        return PartLine(Trial("aliens", "auto", precision=precision), ("padim",), figures)  # type: ignore[arg-type]

    found = document([], parts=[part(0.99, "float32"), part(0.98, "int8")])

    assert met(found, "aliens: AUROC that int8 costs") is False


def test_the_page_holds_every_row_and_says_what_was_left_out() -> None:
    rows = all_rows(FULL)
    found = document([line(row, 0.9) for row in rows], left_out=[("doc-lof", "torch is not installed here")])

    page = markdown(found, [("ROC", "images/seeds-roc.png")])

    assert page.count("0.900") >= len(rows)
    assert "doc-lof: torch is not installed here" in page
    assert "![ROC](images/seeds-roc.png)" in page
    assert "reduced" not in page.lower()


def test_a_reduced_run_says_that_its_figures_mean_little() -> None:
    assert "**A reduced run**" in markdown(document([], quick=True), [])


@pytest.mark.parametrize("setting", [FULL, QUICK])
def test_no_two_rows_share_a_name(setting: object) -> None:
    names = [row.name for row in all_rows(setting)]  # type: ignore[arg-type]  # either setting

    assert len(names) == len(set(names))


def test_a_table_has_as_many_cells_in_each_line() -> None:
    lines = table(("a", "b"), [("1", "2"), ("3", "4")]).splitlines()

    assert {text.count("|") for text in lines} == {3}


scores = st.lists(st.integers(0, 8).map(float), min_size=1, max_size=30)


@given(good=scores, bad=scores)
def test_the_area_under_the_curve_is_the_auroc(good: list[float], bad: list[float]) -> None:
    false, true = roc_points(good, bad)

    assert np.trapezoid(true, false) == pytest.approx(auroc(good, bad))
    assert (false[0], true[0], false[-1], true[-1]) == (0, 0, 1, 1)
