"""The command tree. What another package brings is only imported when it, or the whole list, is asked for."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable
from importlib.metadata import version
from typing import Annotated

import typer

from kenpin_controller.cli import fleet, keys, releases, rollouts, serve

_BROUGHT_BY = ("kenpin_models.cli", "kenpin_controller.demo.cli")
"""Modules with a `register(app)` that adds their commands."""


def build(arguments: list[str]) -> Callable[[], None]:
    """The command line as a callable, with every command that these arguments may mean."""
    app = typer.Typer(
        name="kenpin",
        help="Run a fleet of inspection cameras from one place.",
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
    )

    @app.callback()
    def _root(
        _version: Annotated[
            bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show it and exit.")
        ] = False,
    ) -> None:
        pass

    for part in (serve, fleet, releases, rollouts, keys):
        part.register(app)
    own = {command.name for command in app.registered_commands} | {
        group.name for group in app.registered_groups
    }
    wanted = next((argument for argument in arguments if not argument.startswith("-")), "")
    if wanted not in own and "--version" not in arguments:
        for module in _BROUGHT_BY:
            if _is_there(module):
                importlib.import_module(module).register(app)
    return app


def _is_there(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:
        return False


def _show_version(wanted: bool) -> None:
    if wanted:
        print(f"kenpin {version('kenpin')}")
        raise typer.Exit
