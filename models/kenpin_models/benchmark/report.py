"""The benchmark's page: Markdown, with what was measured and nothing else."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from kenpin_models.benchmark.rows import FEW
from kenpin_models.benchmark.tables import Document, Line, PartLine, Spread


def markdown(found: Document, plots: Sequence[tuple[str, str]]) -> str:
    """The page.

    Args:
        plots: Each one's caption and its path beside the page.
    """
    sections = [
        _head(found),
        _targets(found),
        *(f"![{caption}]({path})" for caption, path in plots),
        _protocol(found),
        _versus(found),
        _parts(found),
        _drawers(found),
        _rejects(found),
        _left_out(found),
    ]
    return "\n\n".join(section for section in sections if section) + "\n"


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table; the first column is text, the others stand to the right."""
    lines = [header, ["---", *(["--:"] * (len(header) - 1))], *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def _head(found: Document) -> str:
    figures = "of one seed"
    if len(found.seeds) > 1:
        figures = f"means of {len(found.seeds)} seeds, the least and the greatest behind them"
    reduced = (
        "\n\n**A reduced run**: a few hundred pictures and one seed. It shows that everything works; its figures "
        "mean little."
        if found.quick
        else ""
    )
    busy = f" Load average while times were taken: up to {found.load:.1f}." if found.load is not None else ""
    return (
        "# Sneakers, boots and real parts\n\n"
        "What Kenpin finds and what it costs, beside the published design that it started from, all measured in one "
        "run:\n\n"
        f"```\nkenpin benchmark seeds --data DATA --out docs{' --quick' if found.quick else ''}\n```\n\n"
        "`DATA` holds `fashion-mnist` (the four idx files), `aliens` and `cookie`. The command writes this page and "
        f"its plots. Figures are {figures}. Measured on {found.machine}, one thread; **nothing here was measured on "
        f"a Raspberry Pi**.{busy}{reduced}"
    )


def _targets(found: Document) -> str:
    marks = {True: "yes", False: "**no**", None: "not measured"}
    shown = [t for t in found.targets if t.passed is not None or not found.quick]
    rows = ((t.what, t.wanted, t.found, marks[t.passed]) for t in shown)
    return "## What it must show\n\n" + table(("", "wanted", "found", "met"), rows)


def _protocol(found: Document) -> str:
    header = (
        "method",
        "head",
        "AUROC",
        "TPR at 1 % FPR",
        "rejected",
        "encoder ms",
        "head ms",
        "frame → verdict ms",
        "÷ encoder",
        "parameters",
        "MB",
    )
    groups = (
        (f"### Published, and without a network\n\n{_BASELINES}", lambda line: line.row.is_baseline),
        ("### Kenpin, from all sneakers", lambda line: not line.row.is_baseline and _plain(line)),
        (f"### From {FEW} sneakers", lambda line: line.row.good is not None),
        ("### The encoder in int8", lambda line: line.row.precision == "int8"),
    )
    text = [f"## Sneakers against boots\n\n{_PROTOCOL}"]
    for title, belongs in groups:
        lines = [line for line in found.lines if belongs(line)]
        if lines:
            text.append(f"{title}\n\n{table(header, map(_protocol_row, lines))}")
    return "\n\n".join(text)


def _plain(line: Line) -> bool:
    return line.row.good is None and line.row.precision == "float32"


def _protocol_row(line: Line) -> Sequence[str]:
    times, row = line.times, line.row
    head = row.head
    if head == "auto":
        head = f"**auto** ({', '.join(dict.fromkeys(line.heads))})"
    return (
        f"**{row.method}**" if row.is_baseline else row.method,
        head,
        _spread(line.auroc),
        _spread(line.tpr),
        f"{line.rejected.mean:.1%}" if line.rejected else "–",
        f"{times.encoder_ms:.2f}" if times and times.encoder_ms else "–",
        f"{times.head_ms:.3f}" if times else "–",
        f"{times.frame_ms:.2f}" if times else "–",
        f"{times.ratio:.2f}" if times and times.ratio else "–",
        f"{line.parameters / 1e6:.2f} M",
        f"{line.size_bytes / 1e6:.1f}",
    )


def _versus(found: Document) -> str:
    versus = found.versus
    if versus is None:
        return ""
    return (
        "**Against the published design, in turns.** With a heatmap of every frame, there by the dense decoder, here "
        f"of the head's patches: {versus.published_drawn_ms:.2f} ms there, {versus.kenpin_drawn_ms:.2f} ms here, "
        f"**{versus.drawn_ratio:.1f} times the frames a second**. From frame to verdict alone: "
        f"{versus.published_ms:.2f} ms there, {versus.kenpin_ms:.2f} ms here, {versus.ratio:.1f} times."
    )


def _drawers(found: Document) -> str:
    if not found.drawers:
        return ""
    header = (
        "",
        "input px",
        "pixel AUROC",
        "AUPRO",
        "ms",
        "÷ encoder",
        "parameters",
        "MB",
        "reconstruction error",
    )
    rows = (
        (
            line.drawer.kind,
            f"{line.drawer.size_px}",
            _spread(line.pixel_auroc),
            _spread(line.aupro),
            f"{line.ms:.2f}",
            f"{line.ms / line.encoder_ms:.2f}",
            f"{line.parameters / 1e6:.2f} M" if line.parameters is not None else "–",
            f"{line.size_bytes / 1e6:.2f}" if line.size_bytes is not None else "–",
            f"{line.reconstruction_error:.4f}" if line.reconstruction_error is not None else "–",
        )
        for line in found.drawers
    )
    return f"## What draws the heatmap\n\n{_DRAWERS}\n\n{table(header, rows)}"


def _parts(found: Document) -> str:
    if not found.parts:
        return ""
    header = (
        "set",
        "head",
        "image AUROC",
        "TPR at 1 % FPR",
        "recall",
        "rejected",
        "pixel AUROC",
        "AUPRO",
        "encoder ms",
        "frame → verdict ms",
        "MB",
    )
    groups = (
        ("### 60 % of the good pictures learnt from", _whole),
        (f"### {FEW} good pictures learnt from", lambda line: line.trial.good is not None),
        ("### The encoder in int8", lambda line: line.trial.precision == "int8"),
    )
    text = [f"## Real parts\n\n{_PARTS}"]
    for title, belongs in groups:
        lines = [line for line in found.parts if belongs(line)]
        if lines:
            text.append(f"{title}\n\n{table(header, map(_part_row, lines))}")
    return "\n\n".join(text)


def _whole(line: PartLine) -> bool:
    return line.trial.good is None and line.trial.precision == "float32"


def _part_row(line: PartLine) -> Sequence[str]:
    figures, head = line.figures, line.trial.head
    if head == "auto":
        head = f"**auto** ({', '.join(dict.fromkeys(line.heads))})"

    def mean(key: str, digits: int, scale: float = 1.0) -> str:
        found = figures[key]
        return f"{found.mean * scale:.{digits}f}" if found else "–"

    return (
        line.trial.set,
        head,
        _spread(figures["image_auroc"]),
        mean("tpr_at_1pct_fpr", 3),
        mean("recall_at_threshold", 3),
        mean("fpr_at_threshold", 3),
        _spread(figures["pixel_auroc"]),
        mean("aupro", 3),
        mean("encoder_ms", 2),
        mean("frame_ms", 2),
        mean("size_bytes", 1, 1e-6),
    )


def _rejects(found: Document) -> str:
    if not found.rejects:
        return ""
    rows = (
        (line.part, ", ".join(dict.fromkeys(line.heads)), f"{line.calibrated_on}", _share(line.rejected))
        for line in found.rejects
    )
    return f"## What a threshold promises\n\n{_REJECTS}\n\n" + table(
        ("part", "head", "calibrated on", "rejected"), rows
    )


def _left_out(found: Document) -> str:
    if not found.left_out:
        return ""
    lines = (f"- {', '.join(names)}: {reason}" for reason, names in found.reasons().items())
    return "## Left out\n\n" + "\n".join(lines)


def _spread(found: Spread | None) -> str:
    if found is None:
        return "–"
    if found.least == found.greatest:
        return f"{found.mean:.3f}"
    return f"{found.mean:.3f} ({found.least:.3f}–{found.greatest:.3f})"


def _share(found: Spread) -> str:
    return f"{found.mean:.1%} ({found.least:.1%}–{found.greatest:.1%})"


_PROTOCOL = (
    "The published protocol: Fashion-MNIST, 6,000 reference pictures of eight classes without sneaker and boot (for "
    "fine-tuning), 6,000 sneakers to learn from, 1,000 other sneakers and 1,000 boots to judge, at 96 × 96. Kenpin "
    "keeps 300 of the sneakers out of the fit, for the threshold; `rejected` is the share of test sneakers above it. "
    "Times are medians of 200 pictures in a fresh process, through the agent's own code; `MB` is everything that a "
    "device must have."
)

_BASELINES = (
    "The published design is MobileNetV2 of width α 0.5 in TFLite, its 1,280 features scaled by least and greatest, "
    "and scikit-learn's novelty LOF (5 neighbours, 1,000 references). No package on PyPI has weights of that width, "
    "so here it begins with random ones and is taught as published (DOC: compactness and descriptiveness) on the "
    "protocol's own pictures; its speed does not depend on them. The wide one is α 1.0 with its ImageNet weights, as "
    "it is. Its authors give 0.90 AUROC at 140 ms and 0.88 at 20 ms on their machine; others give 0.907 for a "
    "triplet loss. Raw pixels are the 28 × 28 grey values: with the same LOF, and with the mean distance to 5 of "
    "1,000 references after whitening."
)

_PARTS = (
    "`kenpin train DATA/SET/good --seed SEED`, then `kenpin evaluate`, on pictures that were not fitted on: another "
    "split with each seed. Nothing is tuned to the set. With so few good pictures one rejected part is several per "
    "cent."
)

_DRAWERS = (
    "On cookie, held-out good pictures and the bad ones with a mask; another split with each seed. `standard` and "
    "`mobile` are the published decoders, `slim` is Kenpin's, `patch` the patches of `patch_knn`, and Grad-CAM is "
    "here for the comparison only. `ms` is from features to map."
)

_REJECTS = (
    "Each class of Fashion-MNIST taken for a part: `kenpin train --size 96 --false-rejects 0.01` from 300 pictures, "
    "held against 1,000 others that nothing has seen."
)
