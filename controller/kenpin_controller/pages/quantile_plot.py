"""Both releases' scores on the same frames, as two curves of quantiles in one small drawing. Pure.

Two heads' scores have no common scale; what they do share is that a part is rejected above the threshold. So each
curve stands in units of its own threshold, which is the one level line of the drawing. Above it the scale closes up
towards the top, as in the live chart.
"""

from __future__ import annotations

from collections.abc import Sequence

from kenpin_wire.shadow import QUANTILES, ShadowSide

WIDTH, HEIGHT = 320, 132
_LEFT, _RIGHT, _TOP, _FOOT = 8, 8, 6, 20
_OVER = 0.42
"""The part of the height above the threshold."""
_NO_SCALE = 1e-9
_TICKS = {0: "least", 4: "median", 6: "95 %", 8: "most"}


def levels(side: ShadowSide) -> list[float] | None:
    """Its quantiles with the threshold at 1 and nothing at 0; None if it has no such scale."""
    threshold = side.threshold
    if threshold is None or abs(threshold) < _NO_SCALE or len(side.quantiles) != len(QUANTILES):
        return None
    return [1 + (score - threshold) / abs(threshold) for score in side.quantiles]


def plot(old: ShadowSide, new: ShadowSide) -> str:
    """The drawing as SVG; empty while neither side has scores. Colours are the style sheet's."""
    curves = [("is-old", levels(old)), ("is-new", levels(new))]
    known = [curve for _, curve in curves if curve is not None]
    if not known:
        return ""
    foot = min(0.95, *(min(curve) for curve in known))
    limit_y = _y(1.0, foot)
    parts = [
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" class="k-quantiles" role="img" '
        'aria-label="Quantiles of both releases\' scores against their thresholds">',
        f'<rect class="is-under" x="0" y="{_TOP}" width="{WIDTH}" height="{HEIGHT - _TOP - _FOOT}"/>',
        f'<rect class="is-over" x="0" y="{_TOP}" width="{WIDTH}" height="{limit_y - _TOP:.1f}"/>',
        f'<line class="is-limit" x1="0" x2="{WIDTH}" y1="{limit_y:.1f}" y2="{limit_y:.1f}"/>',
        f'<text class="is-limit" x="6" y="{limit_y - 5:.1f}">threshold</text>',
    ]
    for place, word in _TICKS.items():
        anchor = "start" if place == 0 else "end" if place == len(QUANTILES) - 1 else "middle"
        parts.append(f'<text x="{_x(place):.1f}" y="{HEIGHT - 6}" text-anchor="{anchor}">{word}</text>')
    for style, curve in curves:
        if curve is not None:
            parts.append(_curve(style, curve, foot))
    return "".join([*parts, "</svg>"])


def _curve(style: str, curve: Sequence[float], foot: float) -> str:
    points = [(_x(place), _y(level, foot)) for place, level in enumerate(curve)]
    line = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    dots = "".join(
        f'<circle class="{style}{" is-reject" if level > 1 else ""}" cx="{x:.1f}" cy="{y:.1f}" r="2.6"/>'
        for (x, y), level in zip(points, curve, strict=True)
    )
    return f'<polyline class="{style}" points="{line}"/>{dots}'


def _x(place: int) -> float:
    return _LEFT + place / (len(QUANTILES) - 1) * (WIDTH - _LEFT - _RIGHT)


def _y(level: float, foot: float) -> float:
    height = HEIGHT - _TOP - _FOOT - 4
    limit_y = _TOP + height * _OVER
    below = 1.0 - foot
    if level > 1.0:
        return limit_y - height * _OVER * (1 - 1 / (1 + (level - 1.0) / below))
    return limit_y + (1.0 - level) / below * height * (1 - _OVER)
