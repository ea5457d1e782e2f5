"""Which inputs are explored."""

from __future__ import annotations

from kenpin_models.encoder_file import shipped_encoder
from kenpin_models.explore import affordable
from kenpin_wire.manifest import Input

SMALL, LARGE = Input(width=64, height=64), Input(width=640, height=640)


def test_an_input_that_the_budget_cannot_pay_is_not_even_read_for() -> None:
    assert affordable([LARGE, SMALL], shipped_encoder(), 5.0) == [SMALL]


def test_the_cheapest_is_kept_whatever_the_budget() -> None:
    assert affordable([SMALL], shipped_encoder(), 1e-6) == [SMALL]


def test_all_are_kept_where_there_is_time() -> None:
    assert affordable([LARGE, SMALL], shipped_encoder(), 1e6) == [SMALL, LARGE]
