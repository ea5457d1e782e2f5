"""`kenpin benchmark`: side-by-side measurements; so far `seeds`."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

from kenpin_wire.errors import ConfigError

if TYPE_CHECKING:
    from kenpin_models.benchmark.tables import Document


def register(app: typer.Typer) -> None:
    """Add `seeds` to the commands of `kenpin benchmark`."""
    app.command()(seeds)


def seeds(  # noqa: PLR0917 (typer makes options of them; nobody calls this by position)
    data: Annotated[
        Path,
        typer.Option(metavar="DIR", help="Holds fashion-mnist (four idx files), aliens and cookie."),
    ],
    out: Annotated[Path, typer.Option(metavar="DIR", help="Writes DIR/seeds.md and DIR/images/seeds-*.png.")],
    json_out: Annotated[
        Path | None, typer.Option("--json", metavar="OUT", help="Write every figure there too.")
    ] = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="A few hundred pictures, one seed: under a minute.")
    ] = False,
    n_seeds: Annotated[
        int, typer.Option("--seeds", min=1, max=9, help="As many; the page in the repository has 3.")
    ] = 3,
    timings_only: Annotated[
        bool,
        typer.Option("--timings-only", help="Take all times anew, on a quiet machine, and nothing else."),
    ] = False,
    work: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Where results are kept, so that a run can be stopped and go on."),
    ] = None,
) -> None:
    """Published results reproduced and Kenpin's beside them, in one table."""
    from kenpin_models.benchmark.plots import draw_plots
    from kenpin_models.benchmark.report import markdown
    from kenpin_models.benchmark.rows import FULL, QUICK
    from kenpin_models.benchmark.seeds import run_seeds

    _check_folder(out)
    setting = QUICK if quick else replace(FULL, seeds=tuple(range(n_seeds)))
    found = run_seeds(
        data, work or default_work(), setting, timings_only=timings_only, console=Console(stderr=True)
    )
    try:
        plots = [(caption, f"images/{name}") for caption, name in draw_plots(found, out / "images")]
    except ConfigError as error:
        print(f"kenpin: {error}", file=sys.stderr)
        plots = []
    _write(out / "seeds.md", markdown(found, plots))
    if json_out is not None:
        _write(json_out, json.dumps(asdict(found), indent=1) + "\n")
    _show(found)
    print(f"{out / 'seeds.md'}: {len(found.lines)} rows, {len(plots)} plots")


def default_work() -> Path:
    """Where results are kept if nobody says: the user's cache folder."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "kenpin" / "benchmark"


def _check_folder(out: Path) -> None:
    """Before the work, not after it."""
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError.from_os(error, where=str(out)) from None


def _write(file: Path, text: str) -> None:
    try:
        file.write_text(text, encoding="utf-8")
    except OSError as error:
        raise ConfigError.from_os(error, where=str(file)) from None


def _show(found: Document) -> None:
    table = Table("it must show", "wanted", "found", "met", title="targets")
    for target in found.targets:
        met = {True: "yes", False: "NO", None: "not measured"}[target.passed]
        table.add_row(target.what, target.wanted, target.found, met)
    Console().print(table)
    for reason, names in found.reasons().items():
        print(f"kenpin: left out: {', '.join(names)}: {reason}", file=sys.stderr)
