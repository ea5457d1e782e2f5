"""The benchmark's plots. Only this module needs matplotlib, which `kenpin[train]` brings."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from kenpin_models.benchmark.rows import DEFAULT, PIXELS, PUBLISHED
from kenpin_models.benchmark.tables import Document, Line
from kenpin_models.extras import load

COLOURS = {
    PUBLISHED: "#b00020",
    PIXELS: "#8a8a8a",
    "frozen": "#0b7a5b",
    "doc": "#3b6fb6",
    "arcface": "#d98e04",
    "triplet": "#7a4fa3",
}
OTHER = "#444444"
_CROWD = 0.96


def draw_plots(found: Document, folder: Path) -> list[tuple[str, str]]:
    """Write the plots as PNG files into `folder`.

    Returns:
        Each one's caption and file name.

    Raises:
        ConfigError: if matplotlib is not installed, or a file cannot be written.
    """
    load("matplotlib", for_what="the plots").use("Agg")
    folder.mkdir(parents=True, exist_ok=True)
    plots: tuple[tuple[str, str, Callable[[Any, Document], None]], ...] = (
        ("ROC curves of the best of each method", "seeds-roc.png", _roc),
        ("Accuracy against milliseconds a picture", "seeds-cost.png", _cost),
        ("Scores of sneakers and of boots", "seeds-scores.png", _scores),
    )
    for _, name, draw in plots:
        _save(folder / name, draw, found)
    return [(caption, name) for caption, name, _ in plots]


def _save(file: Path, draw: Callable[[Any, Document], None], found: Document) -> None:
    mpl, figures = (load(name, for_what="the plots") for name in ("matplotlib", "matplotlib.figure"))
    style = {"font.size": 9, "axes.spines.top": False, "axes.spines.right": False, "legend.frameon": False}
    with mpl.rc_context(style):
        figure = figures.Figure(figsize=(8, 4.5), layout="constrained")
        draw(figure, found)
        # No date and no version inside: the same figures make the same file.
        figure.savefig(file, dpi=110, metadata={"Software": None})


def _roc(figure: Any, found: Document) -> None:
    axes = figure.subplots()
    for line in _best_of_each(found):
        false, true = roc_points(line.good, line.bad)
        label = f"{line.row.method}, {line.row.head}: {line.auroc.mean:.3f}"
        axes.step(false, true, where="post", label=label, color=_colour(line), lw=1.6)
    axes.axvline(0.01, color="#c8c8c8", lw=0.8, ls="--")
    axes.set(
        xscale="log",
        xlim=(1e-3, 1),
        ylim=(0, 1.01),
        xlabel="share of sneakers rejected (log)",
        ylabel="share of boots found",
    )
    axes.legend(loc="lower right", title="method, head: AUROC")


def _cost(figure: Any, found: Document) -> None:
    axes = figure.subplots()
    timed = [line for line in found.lines if line.times and line.row.good is None]
    best = _best_of_each(found)
    for line in timed:
        assert line.times is not None
        where, colour = (line.times.frame_ms, line.auroc.mean), _colour(line)
        axes.scatter(
            *where, s=30, edgecolor=colour, facecolor="none" if line.row.precision == "int8" else colour
        )
        # The crowd of good ones would hide each other's names.
        if line.row.is_baseline or line in best or line.auroc.mean < _CROWD:
            axes.annotate(line.row.head, where, xytext=(5, 3), textcoords="offset points", fontsize=7)
    for method in dict.fromkeys(line.row.method for line in timed):
        axes.scatter([], [], color=COLOURS.get(method, OTHER), label=method)
    if any(line.row.precision == "int8" for line in timed):
        axes.scatter([], [], facecolor="none", edgecolor=COLOURS["frozen"], label="frozen, int8")
    axes.set(xlim=(0, None), xlabel="frame → verdict, ms", ylabel="AUROC, sneakers against boots")
    axes.legend(loc="best")


def _scores(figure: Any, found: Document) -> None:
    chosen = [
        line for line in _best_of_each(found) if line.row.method in (PUBLISHED, "frozen")
    ] or found.lines[:1]
    every = figure.subplots(len(chosen), squeeze=False)[:, 0]
    for axes, line in zip(every, chosen, strict=True):
        good, bad = np.asarray(line.good), np.asarray(line.bad)
        edges = np.linspace(good.min(), np.quantile(np.concatenate([good, bad]), 0.995), 60)
        axes.hist(good, edges, color="#0b7a5b", alpha=0.7, label="sneakers")
        axes.hist(bad, edges, color="#b00020", alpha=0.55, label="boots")
        axes.axvline(np.quantile(good, 0.99), color=OTHER, lw=1, ls="--", label="1 % of sneakers beyond")
        axes.set_title(f"{line.row.method}, {line.row.head}: AUROC {line.auroc.mean:.3f}", loc="left")
        axes.set_ylabel("pictures")
    every[0].legend()
    every[-1].set_xlabel("score")


def roc_points(good: Sequence[float], bad: Sequence[float]) -> tuple[list[float], list[float]]:
    """False- and true-positive rates at every threshold, from none found to all."""
    thresholds = np.unique(np.concatenate([good, bad]))[::-1]
    rates = [
        1 - np.searchsorted(np.sort(np.asarray(scores)), thresholds, side="left") / len(scores)
        for scores in (good, bad)
    ]
    return [0.0, *rates[0].tolist()], [0.0, *rates[1].tolist()]


def _best_of_each(found: Document) -> list[Line]:
    """Of each method its best head from all pictures in float32, but of the default's method the default."""
    best: dict[str, Line] = {}
    for line in found.lines:
        if line.row.good is not None or line.row.precision != "float32":
            continue
        known = best.get(line.row.method)
        if line.row == DEFAULT or (
            known is None or (known.row != DEFAULT and line.auroc.mean > known.auroc.mean)
        ):
            best[line.row.method] = line
    return list(best.values())


def _colour(line: Line) -> str:
    return COLOURS.get(line.row.method, OTHER)
