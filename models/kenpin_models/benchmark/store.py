"""Results that are kept, so that a long run goes on where it was stopped and only what changed is measured anew.

A result is known by everything that it follows from: its own parameters and the code that it comes from. What is
hashed of the code is what it says, not how it is written: comments, docstrings and layout don't count.
"""

from __future__ import annotations

import ast
import hashlib
import importlib.util
import json
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

from kenpin_agent.files import write_atomically
from kenpin_wire.errors import ConfigError

Result = dict[str, Any]
"""Plain JSON."""


class Store:
    """A folder of results.

    Args:
        closed: Nothing is made that is not there; only what is asked for `anew`.
    """

    def __init__(self, folder: Path, *, closed: bool = False) -> None:
        self._folder = folder
        self._closed = closed
        folder.mkdir(parents=True, exist_ok=True)

    def result(self, name: str, facts: Result, make: Callable[[], Result], *, anew: bool = False) -> Result:
        """The result called `name` that follows from `facts`; made now if it is not there, or shall be `anew`.

        Raises:
            ConfigError: if it is not there and the store is closed.
        """
        file = self.file(name, facts, ".json")
        found = None if anew else _read(file)
        if found is None:
            if self._closed and not anew:
                raise ConfigError("not measured yet", where=name, remedy="Run without --timings-only first.")
            found = make()
            write_atomically(file, json.dumps(found).encode())
        return found

    def file(self, name: str, facts: Result, suffix: str) -> Path:
        """Where something else that follows from `facts` is kept."""
        known = hashlib.sha256(json.dumps(facts, sort_keys=True, default=str).encode()).hexdigest()
        return self._folder / f"{name}-{known[:12]}{suffix}"


@cache
def code_hash(*modules: str, without: tuple[str, ...] = ()) -> str:
    """Of modules and everything of Kenpin's that they import, directly or not, by their dotted names.

    Args:
        without: Modules that are imported for something that no figure follows from.
    """
    digest = hashlib.sha256()
    seen = set(without)
    for module in modules:
        for name in _closure(module, seen):
            digest.update(_meaning(name).encode())
    return digest.hexdigest()


def _read(file: Path) -> Result | None:
    """None if it is not there, or was cut short by a full disk."""
    try:
        found: Result = json.loads(file.read_bytes())
    except (OSError, ValueError):
        return None
    return found


_SILENT = frozenset(
    {
        "kenpin_agent.containers",
        "kenpin_agent.files",
        "kenpin_agent.litert",
        "kenpin_agent.seams",
        "kenpin_models.encoder_file",
        "kenpin_models.extras",
        "kenpin_models.hush",
        "kenpin_models.naming",
        "kenpin_models.progress",
        "kenpin_models.wishes",
        "kenpin_wire",
        "kenpin_wire.errors",
        "kenpin_wire.faults",
        "kenpin_wire.manifest",
        "kenpin_wire.messages",
    }
)
"""They open and name files, say something to a person or over the wire, or hold what is among a result's other facts:
no figure follows from their code."""


def _closure(module: str, seen: set[str]) -> Iterator[str]:
    if module in seen or module in _SILENT or _source(module) is None:
        return
    seen.add(module)
    yield module
    for name in sorted(_imported(module)):
        yield from _closure(name, seen)


@cache
def _tree(module: str) -> ast.Module:
    source = _source(module)
    assert source is not None
    return ast.parse(source.read_text(encoding="utf-8"))


def _imported(module: str) -> set[str]:
    """Names that may be modules: `from kenpin_models import fit` and `from kenpin_models.fit import fit_head`."""
    names: set[str] = set()
    for node in ast.walk(_tree(module)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return {name for name in names if name.startswith("kenpin_")}


def _meaning(module: str) -> str:
    """The code without its docstrings."""
    tree = ast.parse(ast.unparse(_tree(module)))
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list):
            kept = [line for line in body if not _is_words(line)]
            node.body = kept or [ast.Pass()]  # type: ignore[attr-defined]  # as `getattr` found above
    return module + ast.unparse(tree)


def _is_words(node: ast.AST) -> bool:
    return (
        isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    )


@cache
def _source(module: str) -> Path | None:
    """The module's file, found without importing it; None for a class or a function, taken for a module."""
    package, *parts = module.split(".")
    spec = importlib.util.find_spec(package)
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        path = Path(folder, *parts)
        for file in (path / "__init__.py", path.with_suffix(".py")):
            if file.is_file():
                return file
    return None
