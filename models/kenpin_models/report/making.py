"""The sections that say how it came about: pictures, the choice of the head, cost, learning, int8, provenance."""

from __future__ import annotations

import base64
from collections.abc import Sequence

import cv2
import numpy as np

from kenpin_agent.heatmap import LIMIT_LEVEL
from kenpin_models.report import svg, words
from kenpin_models.report.data import Curve, Example, ReportData, Tried
from kenpin_models.report.shapes import bar_cell, section, table
from kenpin_wire.manifest import Input


def pictures(data: ReportData) -> str:
    """The good ones that look worst, the bad ones that were found least, and those found most."""
    examples, limit = data.examples, data.calibration.threshold
    if not (examples.good or examples.least_found):
        return ""
    bad = "test defects" if examples.synthetic else "bad parts"
    groups = [
        ("The good parts that look worst to it", examples.good, "passes", "rejected"),
        (f"The {bad} it finds least", examples.least_found, "missed", "found"),
        (f"The {bad} it finds most", examples.most_found, "missed", "found"),
    ]
    body = _legend()
    for title, group, under, over in groups:
        if group:
            figures = "".join(_figure(example, limit, data.picture_px, under, over) for example in group)
            body += f'<h3>{title}</h3><div class="gallery">{figures}</div>'
    rejected = sum(example.score > limit for example in examples.good)
    missed = sum(example.score <= limit for example in examples.least_found)
    worst = _all_or_some(rejected, len(examples.good), "worst good", "rejected")
    hardest = _all_or_some(missed, len(examples.least_found), "hardest bad", "missed")
    sentence = (
        f"Look at these first: {worst}, and {hardest}. If a good one here is really bad, take it out of the good "
        "pictures and train again."
    )
    return section("pictures", "Pictures worth a look", sentence, body)


def heads(data: ReportData) -> str:
    """The table that `auto` chose from."""
    if not data.tried:
        sentence = (
            f"The head was given ({words.code(data.head)}), so no others were tried; "
            f"{words.code('--head auto')} would try them all and take the best."
        )
        return section("heads", "Why this head", sentence)
    ranked = sorted(data.tried, key=lambda tried: -tried.mark)
    labelled = any(tried.bad_auroc is not None for tried in ranked)
    timed = any(tried.frame_ms is not None for tried in ranked)
    budget = data.cost.budget_ms if data.cost else None
    columns = ["Head", "Input", "Mark", "Test defects found", "their area"]
    columns += ["Bad parts found", "their area"] if labelled else []
    columns += ["ms a frame"] if timed else []
    rows = []
    for tried in ranked:
        over = budget is not None and tried.frame_ms is not None and tried.frame_ms > budget
        cells = [words.code(tried.head), _input(tried.input), bar_cell(tried.mark)]
        cells += [words.percent(tried.found), f"{tried.auroc:.3f}"]
        if labelled:
            cells += [
                "–" if tried.bad_found is None else words.percent(tried.bad_found),
                "–" if tried.bad_auroc is None else f"{tried.bad_auroc:.3f}",
            ]
        if timed:
            cells += [
                "–" if tried.frame_ms is None else f"{tried.frame_ms:.1f}" + (" (over)" if over else "")
            ]
        if tried.chosen:
            cells[0] += " (chosen)"
        rows.append((cells, "own" if tried.chosen else "over" if over else ""))
    caption = (
        "Every way that was tried, best mark first. Found: at 5 good parts in 100 rejected, each kind and size of "
        "defect counting the same; it goes down to sizes that none finds."
    )
    return section("heads", "Why this head", _why(ranked, budget), table(caption, columns, rows, css="bars"))


def cost(data: ReportData) -> str:
    """What a frame costs, stage by stage."""
    spent = data.cost
    if spent is None:
        return ""
    rate = 1000 / spent.frame_ms
    sentence = (
        f"A frame takes {words.ms(spent.frame_ms)} from picture to verdict, so at most {rate:.0f} parts a second "
        f"here; a heatmap adds {words.ms(spent.heatmap_ms)}, and is drawn only when somebody wants it."
    )
    if spent.budget_ms is not None:
        left = spent.budget_ms - spent.frame_ms
        word = f"with {words.ms(left)} to spare" if left >= 0 else f"over it by {words.ms(-left)}"
        sentence += f" Allowed were {words.ms(spent.budget_ms)}: {word}."
    parts = [
        ("prepare", "Crop and scale", spent.prepare_ms),
        ("encoder", "Encoder", spent.encoder_ms),
        ("head", "Head", spent.head_ms),
        ("heatmap", "Heatmap, on demand", spent.heatmap_ms),
    ]
    whole = spent.frame_ms + spent.heatmap_ms
    most = max(whole, (spent.budget_ms or 0) * 1.02)
    label = ", ".join(f"{name} {words.ms(took)}" for _, name, took in parts)
    bar = svg.stack([(css, took) for css, _, took in parts], most, spent.budget_ms, label)
    rows = [
        ([f'<span class="key {css}">{name}</span>', words.ms(took), words.percent(took / whole)], "")
        for css, name, took in parts
    ]
    if spent.budget_ms is not None:
        rows.append((['<span class="key budget">Budget</span>', words.ms(spent.budget_ms), ""], ""))
    on = f" on {words.safe(spent.machine)}" if spent.machine else ""
    note = (
        f'<p class="quiet">Medians, one thread{on}. A Raspberry Pi is slower; '
        "<code>kenpin-agent bench --release FILE.kenpin</code> measures there.</p>"
    )
    body = f"{bar}{table('Where the time goes', ['Stage', 'Time', 'Share'], rows)}{note}"
    return section("cost", "What a frame costs", sentence, body)


def learning(data: ReportData) -> str:
    """A graph for whatever learned."""
    if not data.curves:
        return ""
    figures = "".join(_curve(curve) for curve in data.curves)
    sentence = " ".join(words.safe(curve.meaning) for curve in data.curves)
    return section("learning", "How it learned", sentence, f'<div class="graphs">{figures}</div>')


def int8(data: ReportData) -> str:
    """int8 beside float32."""
    parity = data.parity
    if parity is None:
        return ""
    apart = words.percent(parity.output_error)
    sentence = f"The encoder counts in whole numbers (int8); what it sees differs by {apart}"
    if parity.encoder_ms is not None:
        sentence += f", {parity.encoder_ms[0] / max(parity.encoder_ms[1], 1e-9):.1f} times as fast here"
    if parity.changed_verdicts is not None:
        changed = (
            "none is" if not parity.changed_verdicts else words.count(parity.changed_verdicts, "is", "are")
        )
        sentence += f", and of {words.count(parity.pictures, 'picture')} {changed} judged otherwise"
    rows: list[tuple[list[str], str]] = []
    if parity.auroc is not None:
        rows.append((["Area under the ROC curve", *(f"{area:.4f}" for area in parity.auroc)], ""))
    if parity.encoder_ms is not None:
        rows.append((["Encoder", *(words.ms(took) for took in parity.encoder_ms)], ""))
    if parity.size_bytes is not None:
        rows.append((["Size", *(f"{size / 1e6:.2f} MB" for size in parity.size_bytes)], ""))
    caption = f"float32 and int8 on the same {words.count(parity.pictures, 'picture')}"
    body = table(caption, ["Of the encoder", "float32", "int8"], rows) if rows else ""
    return section("int8", "In whole numbers", f"{sentence}.", body)


def provenance(data: ReportData) -> str:
    """What exactly this is, for whoever must know."""
    counts = data.pictures
    held = f", {words.count(counts.held_out, 'held out', 'held out')}" if counts.held_out else ""
    sentence = (
        f"Made on {data.created:%d %B %Y at %H:%M %Z} from {words.count(counts.fitted, 'good picture')}{held}"
        f"{f', {counts.bad:,} bad' if counts.bad else ''}. The same pictures and seed make the same "
        "head and threshold again."
    )
    rows = [([words.safe(name), words.safe(value)], "") for name, value in data.provenance]
    body = table("What it is made of", ["", "Value"], rows, css="facts") if rows else ""
    if data.warnings:
        lines = "".join(f"<li>{words.safe(line)}</li>" for line in data.warnings[:_MOST_WARNINGS])
        more = len(data.warnings) - _MOST_WARNINGS
        lines += f"<li>and {more:,} more</li>" if more > 0 else ""
        body += f'<h3>What the trainer had to say</h3><ul class="warnings">{lines}</ul>'
    return section("provenance", "Where it comes from", sentence, body)


_MOST_WARNINGS = 30  # a folder may hold ten thousand broken files


def _what(example: Example, picture_px: tuple[int, int] | None) -> str:
    if example.defect is None:
        return ""
    kind, size = example.defect
    return f"{words.defect(kind).lower()}, {words.extent(size, picture_px)} across"


def _figure(example: Example, limit: float, picture_px: tuple[int, int] | None, under: str, over: str) -> str:
    name = words.safe(example.name)
    what = _what(example, picture_px)
    verdict = over if example.score > limit else under
    wrong = verdict in ("missed", "rejected")
    about = f"{name}, {what}" if what else name
    return (
        f'<figure class="example"><div class="pair">{_jpeg(example.picture, about)}'
        f"{_jpeg(example.heatmap, f'Heatmap of {about}: where it is odd')}</div><figcaption>"
        f'<b class="{"wrong" if wrong else "right"}">{verdict}</b> score {words.score(example.score, limit)}'
        f'{f" · {what}" if what else ""}<span class="name">{name}</span></figcaption></figure>'
    )


def _jpeg(data: bytes, alt: str) -> str:
    return f'<img alt="{alt}" src="data:image/jpeg;base64,{base64.b64encode(data).decode()}">'


def _legend() -> str:
    levels = np.array([[LIMIT_LEVEL, 1.0]]) * 255
    at_limit, far = cv2.applyColorMap(levels.astype(np.uint8), cv2.COLORMAP_TURBO)[0].tolist()
    swatches = "".join(
        f'<span><i style="background:#{r:02x}{g:02x}{b:02x}"></i>{text}</span>'
        for (b, g, r), text in ((at_limit, "at the limit"), (far, "far beyond it"))
    )
    return (
        '<p class="legend"><span><i></i>uncoloured: as on good parts</span>'
        f"{swatches}<span>The same colour means the same on every picture.</span></p>"
    )


def _all_or_some(n: int, of: int, what: str, done: str) -> str:
    if not of:
        return f"there is no {what} one to show"
    which = "none" if n == 0 else "all" if n == of else f"{n}"
    verb = "is" if n == 1 and n != of else "are"
    return f"of the {of} {what} ones {which} {verb} {done}"


def _why(ranked: Sequence[Tried], budget: float | None) -> str:
    chosen = next((tried for tried in ranked if tried.chosen), ranked[0])
    others = [tried for tried in ranked if tried is not chosen]
    name = f"{words.code(chosen.head)} at {_input(chosen.input)}"
    if not others:
        return f"Only {name} was tried."
    better = [tried for tried in others if tried.mark > chosen.mark]
    if better:
        dear = [tried for tried in better if budget and tried.frame_ms and tried.frame_ms > budget]
        why = (
            f"what found more of the painted defects costs more than the budget of {words.ms(budget)}"
            if budget and len(dear) == len(better)
            else "what found more of the painted defects found hardly more, for its size. Larger pictures always "
            "make painted defects plainer, and of near equals two heads together are safer than one"
        )
        return f"The release uses {name}: {why}."
    lead = chosen.mark - others[0].mark
    near = "hardly behind" if lead < 0.01 else "behind" if lead < 0.05 else "clearly behind"
    return (
        f"Of {len(ranked)} ways to tell, {name} told defects from good parts best in the rehearsal; "
        f"{words.code(others[0].head)} came next, {near}."
    )


def _curve(curve: Curve) -> str:
    points = [point for line in curve.lines for point in line.points]
    if not points:
        return ""
    left, right = min(x for x, _ in points), max(x for x, _ in points)
    low, high = min(y for _, y in points), max(y for _, y in points)
    low, high = (low, high) if high > low else (low - 0.5, high + 0.5)
    pad = 0.05 * (high - low)

    def across(x: float) -> float:
        return (x - left) / (right - left) if right > left else 0.5

    def up(y: float) -> float:
        return (y - low + pad) / (high - low + 2 * pad)

    name = words.safe(curve.title)
    graph = svg.graph(
        [(f"l{i}", [(across(x), up(y)) for x, y in line.points]) for i, line in enumerate(curve.lines)],
        x_ticks=[(across(x), f"{x:g}") for x in svg.ticks(left, right)],
        y_ticks=[(up(y), f"{y:g}") for y in svg.ticks(low, high)],
        x_label=curve.x_label,
        y_label=curve.y_label,
        label=f"{curve.title}: {curve.y_label} over {curve.x_label}",
        upright=None if curve.kept is None else across(curve.kept),
    )
    keys = "".join(
        f'<span class="key l{i}">{words.safe(line.name)}</span>' for i, line in enumerate(curve.lines)
    )
    kept = " The dashed line is what the release carries." if curve.kept is not None else ""
    return f"<figure><h3>{name}</h3>{graph}<figcaption>{keys}{kept}</figcaption></figure>"


def _input(spec: Input) -> str:
    width, height = spec.picture_px
    tiles = f" in {spec.tiles.columns} × {spec.tiles.rows} tiles" if spec.tiles else ""
    return f"{width} × {height} px{tiles}"
