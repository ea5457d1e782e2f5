"""`kenpin train` and `kenpin evaluate`."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from kenpin_wire.errors import ConfigError


def register(app: typer.Typer) -> None:
    """Add this package's commands."""
    app.command()(train)
    app.command()(evaluate)


def train(  # noqa: PLR0917 (typer makes options of them; nobody calls this by position)
    good: Annotated[Path, typer.Argument(metavar="GOOD_DIR", help="Pictures of good parts.")],
    out: Annotated[Path, typer.Option("-o", "--out", metavar="FILE.kenpin", help="The release to write.")],
    method: Annotated[
        str, typer.Option(help="frozen, the only one so far: the encoder as it is.")
    ] = "frozen",
    head: Annotated[
        str, typer.Option(help="auto, lof, knn, cosine, mahalanobis, padim or patch_knn.")
    ] = "auto",
    bad: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Bad parts, if there are any: they help to choose a head."),
    ] = None,
    size: Annotated[
        int | None,
        typer.Option(
            metavar="PX", help="Input: as many pixels as a square of this (96 to 320; default 160)."
        ),
    ] = None,
    false_rejects: Annotated[
        float, typer.Option(help="The share of good parts that may be rejected.")
    ] = 0.01,
    holdout: Annotated[
        float, typer.Option(help="The share of good pictures kept out, for calibration and for `evaluate`.")
    ] = 0.4,
    seed: Annotated[int, typer.Option(min=0, help="The same seed makes the same release.")] = 0,
) -> None:
    """Make a release from pictures of good parts."""
    from kenpin_models.train import train as run

    console = Console(stderr=True)
    result = run(
        good,
        out,
        method=method,
        head=head,
        size=size,
        bad=bad,
        false_rejects=false_rejects,
        holdout=holdout,
        seed=seed,
        console=console,
    )
    for line in result.warnings:
        print(f"kenpin: {line}", file=sys.stderr)
    manifest = result.manifest
    if result.selection:
        table = Table("head", "AUROC", "found at 5 % FR", "bad AUROC", "bad found", "mark", title="rehearsal")
        for row in result.selection.candidates:
            numbers = (row.synthetic_auroc, row.synthetic_tpr, row.bad_auroc, row.bad_tpr, row.mark)
            table.add_row(str(row.recipe), *("–" if number is None else f"{number:.3f}" for number in numbers))
        Console().print(table)
    pictures = manifest.report["pictures"]
    print(
        f"{out}: {manifest.release}, head {manifest.head.kind}, {manifest.input.width} × {manifest.input.height} px, "
        f"fitted on {pictures['fitted']} good pictures, {pictures['held_out']} held out, "
        f"threshold {manifest.calibration.threshold:.4g}, {out.stat().st_size / 1e6:.1f} MB"
    )


def evaluate(
    file: Annotated[Path, typer.Argument(metavar="FILE.kenpin", help="The release.")],
    good: Annotated[Path, typer.Option(metavar="DIR", help="Good parts; those fitted on don't count.")],
    bad: Annotated[Path, typer.Option(metavar="DIR", help="Bad parts.")],
    masks: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Masks named as the bad pictures, white on the defect.")
    ] = None,
    json_out: Annotated[
        str | None,
        typer.Option("--json", metavar="OUT", help="Write the figures there; - for standard output."),
    ] = None,
) -> None:
    """Measure a release on pictures whose truth is known."""
    from kenpin_models.evaluate import evaluate as run

    evaluation = run(file, good, bad, masks, console=Console(stderr=True))
    for line in evaluation.warnings:
        print(f"kenpin: {line}", file=sys.stderr)
    figures = {key: value for key, value in asdict(evaluation).items() if key != "warnings"}
    if json_out is not None:
        _write_json(figures, json_out)
    if json_out == "-":
        return
    table = Table("figure", "value")
    for key, value in figures.items():
        table.add_row(
            key, "–" if value is None else f"{value:.4g}" if isinstance(value, float) else f"{value}"
        )
    Console().print(table)
    if evaluation.n_fitted_excluded:
        print(f"{evaluation.n_fitted_excluded} good pictures left out: the release was fitted on them.")
    if evaluation.n_calibrated:
        print(f"{evaluation.n_calibrated} of the good pictures counted also set the threshold.")


def _write_json(figures: dict[str, Any], out: str) -> None:
    text = json.dumps(figures, indent=2) + "\n"
    if out == "-":
        sys.stdout.write(text)
        return
    try:
        Path(out).write_text(text)
    except OSError as error:
        raise ConfigError.from_os(error, where=out) from None
