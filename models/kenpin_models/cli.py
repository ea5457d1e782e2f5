"""`kenpin train`, `kenpin evaluate`, `kenpin export` and `kenpin benchmark`."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from kenpin_wire.errors import ConfigError


def register(app: typer.Typer) -> None:
    """Add this package's commands."""
    from kenpin_models.benchmark.cli import register as register_benchmarks

    app.command()(train)
    app.command()(evaluate)
    app.command()(export)
    benchmark = typer.Typer(help="Side-by-side measurements.", no_args_is_help=True)
    benchmark.callback()(lambda: None)  # keeps the sub-command's name while there is only one
    register_benchmarks(benchmark)
    app.add_typer(benchmark, name="benchmark")


def train(  # noqa: PLR0917 (typer makes options of them; nobody calls this by position)
    good: Annotated[Path, typer.Argument(metavar="GOOD_DIR", help="Pictures of good parts.")],
    out: Annotated[Path, typer.Option("-o", "--out", metavar="FILE.kenpin", help="The release to write.")],
    method: Annotated[
        str,
        typer.Option(help="frozen: the encoder as it is. doc, arcface, triplet: taught against --reference."),
    ] = "frozen",
    head: Annotated[
        str,
        typer.Option(
            help="auto, lof, knn, cosine, mahalanobis, padim, patch_knn or fusion; variants: padim_broad, "
            "padim_diagonal, lof_plain."
        ),
    ] = "auto",
    size: Annotated[
        int | None,
        typer.Option(
            metavar="PX",
            help="Input: as many pixels as a square of this (96 to 320). By default auto chooses, tiles too; "
            "a given head takes 160.",
        ),
    ] = None,
    budget_ms: Annotated[
        float,
        typer.Option(help="What auto may spend on a frame, in ms on one thread of this machine."),
    ] = 66.0,
    bad: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Bad parts, if there are any: they help to choose."),
    ] = None,
    false_rejects: Annotated[
        float, typer.Option(help="The share of good parts that may be rejected.")
    ] = 0.01,
    holdout: Annotated[
        float, typer.Option(help="The share of good pictures kept out, for calibration and for `evaluate`.")
    ] = 0.4,
    quantize: Annotated[str, typer.Option(help="none, or int8: smaller and faster.")] = "none",
    decoder: Annotated[
        str, typer.Option(help="What draws the heatmap: none (the head), slim, mobile or standard.")
    ] = "none",
    encoder: Annotated[
        str,
        typer.Option(help="shipped, a .tflite, or a plan such as mobilenetv2-1.0:block13@maps=6,13."),
    ] = "shipped",
    reference: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Pictures of other things, a folder a class; to teach against."),
    ] = None,
    classifier: Annotated[
        Path | None,
        typer.Option(metavar="FILE.tflite", help="A second model that names what was judged normal."),
    ] = None,
    labels: Annotated[Path | None, typer.Option(metavar="FILE.txt", help="Its labels, one a line.")] = None,
    workdir: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Keeps a fine-tuning's checkpoints, so that it can go on."),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="The same seed makes the same release.")] = 0,
) -> None:
    """Make a release from pictures of good parts."""
    from kenpin_models.bundle import page_beside
    from kenpin_models.selection_table import selection_table
    from kenpin_models.train import train as run
    from kenpin_models.wishes import Wishes

    wishes = Wishes(
        method=method,
        encoder=encoder,
        reference=reference,
        head=head,
        size=size,
        budget_ms=budget_ms,
        bad=bad,
        false_rejects=false_rejects,
        holdout=holdout,
        quantize=quantize,
        decoder=decoder,
        classifier=classifier,
        labels=labels,
        seed=seed,
    )
    result = run(good, out, wishes, workdir=workdir, console=Console(stderr=True))
    for line in _some(result.warnings):
        print(f"kenpin: {line}", file=sys.stderr)
    manifest = result.manifest
    if result.selection:
        Console().print(selection_table(result.selection))
    pictures = manifest.report["pictures"]
    print(
        f"{out}: {manifest.release}, head {manifest.report['head']}, input {manifest.input}, "
        f"fitted on {pictures['fitted']} good pictures, {pictures['held_out']} held out, "
        f"threshold {manifest.calibration.threshold:.4g}, {out.stat().st_size / 1e6:.1f} MB\n"
        f"{page_beside(out)}: how it was made, and how far to trust it"
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


def export(
    file: Annotated[Path, typer.Argument(metavar="FILE.kenpin", help="The release.")],
    out: Annotated[Path, typer.Option("-o", "--out", metavar="OUT.mlpackage", help="What to write.")],
    coreml: Annotated[bool, typer.Option("--coreml", help="For Core ML; so far the only target.")] = True,
    checkpoint: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Of a taught encoder: METHOD.pt in the training's --workdir."),
    ] = None,
) -> None:
    """Export a release's encoder for iPhones. Android runs the release's own .tflite (docs/phones.md)."""
    from kenpin_models.export_coreml import export_coreml

    if not coreml:
        raise ConfigError("no target", where="kenpin export", remedy="Use --coreml.")
    done = export_coreml(file, out, checkpoint)
    print(f"{done.package}: outputs within {done.with_release.relative:.2g} of the release's own encoder")


def _some(lines: Sequence[str]) -> Sequence[str]:
    """Of very many the first, and the last, which is the threshold's."""
    if len(lines) <= _MOST_LINES:
        return lines
    left = len(lines) - _MOST_LINES + 1
    return [
        *lines[: _MOST_LINES - 2],
        f"{left} more like these; the release's manifest has them all",
        lines[-1],
    ]


_MOST_LINES = 12


def _write_json(figures: dict[str, Any], out: str) -> None:
    text = json.dumps(figures, indent=2) + "\n"
    if out == "-":
        sys.stdout.write(text)
        return
    try:
        Path(out).write_text(text)
    except OSError as error:
        raise ConfigError.from_os(error, where=out) from None
