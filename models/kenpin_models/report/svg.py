"""Small pictures of numbers, as SVG text. Pure; colours are the page's own (palette.css), so that they follow
light and dark."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from kenpin_models.report.words import safe

Scale = Callable[[float], float]
Point = tuple[float, float]


def closing_scale(low: float, limit: float, width: float, below: float = 0.55) -> Scale:
    """Where a score stands, from 0 to `width`: as on the live chart of the pages (kenpin.js).

    Heads differ in where good parts score: near 0, or all within a few per cent of the threshold. So the
    threshold always stands at the same place, with good scores evenly below it; above it the scale closes up
    towards the end: the faintest defect is seen, and the worst still fits.

    Args:
        low: Where good scores begin.
        limit: The threshold; it stands at `below` of the width.
    """
    span = limit - low if low < limit else abs(limit) or 1.0
    at = below * width

    def place(value: float) -> float:
        if value > limit:
            return at + (width - at) * (1 - 1 / (1 + (value - limit) / span))
        return at - at * min(1.0, (limit - value) / (1.3 * span))

    return place


def ticks(low: float, high: float, most: int = 5) -> list[float]:
    """Round numbers (1, 2 or 5 times a power of ten) from `low` to `high`, at most `most` + 1 of them."""
    if not high > low:
        return [low]
    rough = (high - low) / most
    magnitude = 10.0 ** math.floor(math.log10(rough))
    step = next(m * magnitude for m in (1, 2, 5, 10) if m * magnitude >= rough * (1 - 1e-9))
    first = math.ceil(low / step - 1e-9)
    return [round(i * step, 12) for i in range(first, math.floor(high / step + 1e-9) + 1)]


def bars(scores: Sequence[float], place: Scale, limit: float, *, good: bool, label: str) -> str:
    """One strip of a histogram, as wide as its box; bars on the wrong side of the threshold are the alarm's."""
    width, height, bins = _STRIP_WIDTH, 40, 80
    split = place(limit)
    counts: dict[tuple[int, bool], int] = {}
    for value in scores:
        # The threshold may lie inside a bin: what is above it is drawn apart.
        at = min(int(place(value) / width * bins), bins - 1), value > limit
        counts[at] = counts.get(at, 0) + 1
    most = max(counts.values(), default=1)
    drawn = []
    for (index, above), n in sorted(counts.items()):
        left, right = index * width / bins, (index + 1) * width / bins
        left, right = (max(left, split), right) if above else (left, min(right, split))
        tall = max(5.0, n / most * (height - 4))
        kind = "wrong" if above == good else "right"
        drawn.append(
            f'<rect class="{kind}" x="{left + 0.75:.1f}" y="{height - tall:.1f}" '
            f'width="{max(right - left - 1.5, 3):.1f}" height="{tall:.1f}"/>'
        )
    return (
        f'<svg class="strip" viewBox="0 0 {width} {height}" preserveAspectRatio="none" role="img" '
        f'aria-label="{safe(label)}"><rect class="over" x="{split:.1f}" y="0" width="{width - split:.1f}" '
        f'height="{height}"/>{"".join(drawn)}<rect class="limit" x="{split - 1:.1f}" y="0" width="2" '
        f'height="{height}"/></svg>'
    )


def strip_scale(low: float, limit: float) -> Scale:
    """The scale of `bars`."""
    return closing_scale(low, limit, _STRIP_WIDTH)


def strip_share(x: float) -> float:
    """Where on a strip, as a share of its width."""
    return x / _STRIP_WIDTH


def stack(parts: Sequence[tuple[str, float]], most: float, mark: float | None, label: str) -> str:
    """One bar of parts beside each other.

    Args:
        parts: Class and length of each.
        most: The length that fills the box.
        mark: Where a line crosses it.
    """
    width, height = 1000, 56
    drawn, x = [], 0.0
    for kind, length in parts:
        wide = length / most * width
        drawn.append(
            f'<rect class="{kind}" x="{x:.1f}" y="8" width="{max(wide - 1.5, 1):.1f}" height="{height - 16}"/>'
        )
        x += wide
    if mark is not None:
        drawn.append(
            f'<rect class="limit" x="{mark / most * width - 1.5:.1f}" y="0" width="3" height="{height}"/>'
        )
    return (
        f'<svg class="stack" viewBox="0 0 {width} {height}" preserveAspectRatio="none" role="img" '
        f'aria-label="{safe(label)}">{"".join(drawn)}</svg>'
    )


def graph(
    lines: Sequence[tuple[str, Sequence[Point]]],
    *,
    x_ticks: Sequence[tuple[float, str]],
    y_ticks: Sequence[tuple[float, str]],
    x_label: str,
    y_label: str,
    label: str,
    marks: Sequence[tuple[str, Point]] = (),
    upright: float | None = None,
) -> str:
    """Lines over two axes.

    Args:
        lines: Class and points of each, in units of 0 to 1 across and up.
        x_ticks, y_ticks: Where, in the same units, and what is written there.
        marks: Points that are marked with a disc; class and point.
        upright: Where a line stands from top to bottom.
    """
    left, top, width, height = 60, 14, 342, 250

    def x(u: float) -> float:
        return left + u * width

    def y(u: float) -> float:
        return top + (1 - u) * height

    out = [
        f'<svg class="graph" viewBox="0 0 {left + width + 22} {top + height + 52}" role="img" '
        f'aria-label="{safe(label)}">',
        f'<rect class="ground" x="{left}" y="{top}" width="{width}" height="{height}"/>',
    ]
    for at, text in x_ticks:
        out.append(f'<path class="grid" d="M{x(at):.1f} {top}v{height}"/>')
        out.append(f'<text x="{x(at):.1f}" y="{top + height + 18}" text-anchor="middle">{safe(text)}</text>')
    for at, text in y_ticks:
        out.append(f'<path class="grid" d="M{left} {y(at):.1f}h{width}"/>')
        out.append(f'<text x="{left - 7}" y="{y(at) + 4:.1f}" text-anchor="end">{safe(text)}</text>')
    if upright is not None:
        out.append(f'<path class="upright" d="M{x(upright):.1f} {top}v{height}"/>')
    for kind, points in lines:
        path = "L".join(f"{x(u):.1f} {y(v):.1f}" for u, v in points)
        out.append(f'<path class="line {kind}" d="M{path}"/>')
    for kind, (u, v) in marks:
        out.append(f'<circle class="mark {kind}" cx="{x(u):.1f}" cy="{y(v):.1f}" r="6"/>')
    across = f'x="{left + width / 2}" y="{top + height + 42}"'
    upwards = f'transform="translate(13 {top + height / 2}) rotate(-90)"'
    for place, text in ((across, x_label), (upwards, y_label)):
        out.append(f'<text class="axis" {place} text-anchor="middle">{safe(text)}</text>')
    return "".join(out) + "</svg>"


_STRIP_WIDTH = 1000.0
