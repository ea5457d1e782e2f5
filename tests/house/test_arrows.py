"""The house stays a house: imports run one way, and the agent stays light."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from support import ROOT

ROOMS = ("wire", "agent", "models", "controller")  # a package knows those to its left


def modules(room: str) -> list[Path]:
    return sorted((ROOT / room).rglob("*.py"))


def imported(path: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names.update(alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.add(node.module.partition(".")[0])
    return names


@pytest.mark.parametrize("room", ROOMS)
def test_a_package_knows_only_those_to_its_left(room: str) -> None:
    to_the_right = {f"kenpin_{other}" for other in ROOMS[ROOMS.index(room) + 1 :]}
    assert modules(room)
    wrong = {str(path.relative_to(ROOT)): imported(path) & to_the_right for path in modules(room)}
    assert {path: names for path, names in wrong.items() if names} == {}


def test_the_agent_brings_no_trainer_and_no_web_framework_along() -> None:
    heavy = {"torch", "sklearn", "scipy", "fastapi", "starlette", "nicegui", "sqlalchemy", "uvicorn", "amqtt"}
    names = [
        ".".join(path.relative_to(ROOT / "agent").with_suffix("").parts).removesuffix(".__init__")
        for path in modules("agent")
        if path.name != "__main__.py"
    ]
    code = f"import sys; [__import__(n) for n in {names!r}]; print(*set(sys.modules) & {heavy!r})"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.split() == []


def test_topics_are_spelled_in_one_place_only() -> None:
    spelled = [
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for room in ROOMS
        for path in modules(room)
        if path.name != "topics.py"
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.JoinedStr) and "kenpin/v1" in ast.unparse(node)
    ]
    assert spelled == []
