"""Packages that only `kenpin[train]` brings: asked for where they are used, so that nothing else needs them."""

from __future__ import annotations

import importlib
from importlib.util import find_spec
from types import ModuleType

from kenpin_wire.errors import ConfigError


def need(*modules: str, for_what: str) -> None:
    """Check that modules can be imported.

    Args:
        for_what: What they are needed for, as a command's argument or a file's name.

    Raises:
        ConfigError: naming the first that is not installed.
    """
    for module in modules:
        if find_spec(module) is None:
            raise ConfigError(
                f"{module} is not installed here", where=for_what, remedy="pip install 'kenpin[train]'"
            )


def load(module: str, *, for_what: str) -> ModuleType:
    """Import a module, after `need`.

    Raises:
        ConfigError: as `need`.
    """
    need(module.partition(".")[0], for_what=for_what)
    return importlib.import_module(module)
