"""Draw runs of the heat bench as an SVG, with nothing but text."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

_COLOURS = {
    "kenpin": "#0b7a5b",
    "oracle": "#222222",
    "none": "#a0a0a0",
    "on-off": "#d95f02",
    "steps": "#3b6fb6",
}
_LEFT, _WIDTH, _TOP, _HEIGHT, _GAP, _LABELS = 60, 640, 50, 210, 50, 110


def plot_runs(
    file: Path, title: str, runs: dict[str, tuple[Sequence[float], Sequence[float]]], *, limit_c: float
) -> None:
    """Write two panels, temperature and rate over the hour.

    Args:
        runs: By governor's name, °C and rate (0 to 1), a sample a second.
    """
    low_c, high_c = 60.0, 90.0
    width, height = _LEFT + _WIDTH + _LABELS, _TOP + 2 * _HEIGHT + _GAP + 40
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
        'font-family="system-ui, sans-serif" font-size="12" fill="#333">',
        f'<rect width="{width}" height="{height}" fill="#fff"/>',
        f'<text x="{_LEFT}" y="24" font-size="14">{title}</text>',
    ]
    panels = (
        ("°C", 0, low_c, high_c, (60, 70, 80, 90), 0),
        ("rate", 1, 0.0, 1.05, (0, 0.25, 0.5, 0.75, 1), _HEIGHT + _GAP),
    )
    for unit, which, low, high, ticks, down in panels:
        top = _TOP + down
        out.append(f'<text x="{_LEFT - 42}" y="{top - 8}">{unit}</text>')
        for tick in ticks:
            y = top + _HEIGHT * (high - tick) / (high - low)
            out.append(f'<path d="M{_LEFT} {y:.1f}h{_WIDTH}" stroke="#e4e4e4"/>')
            label = f"{tick:.0%}" if which else f"{tick}"
            out.append(f'<text x="{_LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{label}</text>')
        for name, samples in runs.items():
            points = " ".join(
                f"{_LEFT + _WIDTH * i / len(samples[which]):.1f},"
                f"{top + _HEIGHT * (high - min(max(_mean(samples[which], i), low), high)) / (high - low):.1f}"
                for i in range(0, len(samples[which]), 10)
            )
            style = ' stroke-dasharray="5 4"' if name == "oracle" else ""
            stroke = 2.2 if name == "kenpin" else 1.3
            out.append(
                f'<polyline points="{points}" fill="none" stroke="{_COLOURS[name]}" '
                f'stroke-width="{stroke}"{style}/>'
            )
        for minutes in range(0, 61, 10):
            x = _LEFT + _WIDTH * minutes / 60
            out.append(
                f'<text x="{x:.0f}" y="{top + _HEIGHT + 18}" text-anchor="middle">{minutes} min</text>'
            )
    y = _TOP + _HEIGHT * (high_c - limit_c) / (high_c - low_c)
    out.append(f'<path d="M{_LEFT} {y:.1f}h{_WIDTH}" stroke="#b00020" stroke-dasharray="2 3"/>')
    out.append(f'<text x="{_LEFT + _WIDTH + 8}" y="{y + 4:.1f}" fill="#b00020">limit {limit_c:g} °C</text>')
    for i, name in enumerate(reversed(runs)):
        y = _TOP + _HEIGHT + _GAP + 16 + 20 * i
        x = _LEFT + _WIDTH + 8
        out.append(f'<path d="M{x} {y - 4}h18" stroke="{_COLOURS[name]}" stroke-width="3"/>')
        out.append(f'<text x="{x + 24}" y="{y}">{name}</text>')
    file.write_text("\n".join([*out, "</svg>"]) + "\n", encoding="utf-8")


def _mean(samples: Sequence[float], start: int) -> float:
    part = samples[start : start + 10]
    return sum(part) / len(part)
