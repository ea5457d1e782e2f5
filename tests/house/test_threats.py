"""The page of threats claims nothing without a test that shows it."""

from __future__ import annotations

import re

import pytest

from support import ROOT
from support.named_tests import missing_tests

PAGE = (ROOT / "docs" / "threats.md").read_text("utf-8")
THREATS = re.findall(r"^\| \*\*(.+?)\*\* \|", PAGE, re.MULTILINE)
SHOWN = {
    threat: re.findall(r"`([a-z]+/test_\w+\.py::[\w:]+)`", tests)
    for threat, tests in re.findall(r"^- \*\*(.+?)\*\*: (.+)$", PAGE, re.MULTILINE)
}


def test_every_threat_has_its_tests() -> None:
    assert len(THREATS) >= 12
    assert list(SHOWN) == THREATS


@pytest.mark.parametrize("threat", SHOWN)
def test_the_tests_of_a_threat_exist(threat: str) -> None:
    assert SHOWN[threat]
    assert missing_tests(SHOWN[threat]) == []


def test_a_test_that_is_gone_would_be_missed() -> None:
    there, gone = "house/test_threats.py::test_every_threat_has_its_tests", "house/test_threats.py::test_gone"
    assert missing_tests([there, gone, "house/test_gone.py::test_gone"]) == [
        gone,
        "house/test_gone.py::test_gone",
    ]
