"""Tests that are named elsewhere, in a table or on a page: whether they exist."""

from __future__ import annotations

import ast
import functools

from support import ROOT


def missing_tests(names: list[str]) -> list[str]:
    """Those of the names that no test bears.

    Args:
        names: As `fleet/test_attacks.py::test_a_thing` or `agent/test_trust_link.py::TestReleases::test_a_thing`,
            from the folder of tests on; `[...]` behind a parametrised one is not looked at.
    """
    return [name for name in names if name.partition("[")[0] not in _tests_of(name.partition("::")[0])]


@functools.cache
def _tests_of(module: str) -> frozenset[str]:
    file = ROOT / "tests" / module
    if not file.is_file():
        return frozenset()
    found = set()
    for node in ast.parse(file.read_text("utf-8")).body:
        if isinstance(node, ast.FunctionDef):
            found.add(f"{module}::{node.name}")
        elif isinstance(node, ast.ClassDef):
            inner = (one for one in node.body if isinstance(one, ast.FunctionDef))
            found.update(f"{module}::{node.name}::{one.name}" for one in inner)
    return frozenset(name for name in found if name.rpartition("::")[2].startswith("test_"))
