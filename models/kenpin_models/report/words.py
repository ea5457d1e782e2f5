"""Figures and names as a person reads them, safe to stand in HTML."""

from __future__ import annotations

import html
import math

from kenpin_wire.errors import one_line


def safe(text: str) -> str:
    """Any text, a file's name above all, as one line that no browser takes for anything but text."""
    return html.escape(one_line(text))


def score(value: float, like: float) -> str:
    """A score with as many digits as go with `like`, the threshold, whatever the head's scale."""
    size = abs(like)
    digits = 4 if size < 0.1 else 3 if size < 1 else 2 if size < 10 else 1 if size < 100 else 0
    return f"{value:.{digits}f}"


def percent(share: float) -> str:
    """A share as a person says it: `100 %` and `0 %` only if that is what it is."""
    if share in (0, 1):
        return f"{share:.0%}".replace("%", " %")
    digits = 1 if 0.1 <= share * 100 < 10 or share > 0.99 else 0 if share >= 0.1 else 2
    shown = min(max(share * 100, 10**-digits), 100 - 10**-digits)
    text = f"{shown:.{digits}f}"
    return f"{text.rstrip('0').rstrip('.') if '.' in text else text} %"


def out_of(share: float) -> tuple[str, str]:
    """A share as parts of a round number of parts: (`1`, `100`), (`2.5`, `1,000`)."""
    base = 100
    while share * base < 0.95 and base < 1_000_000:
        base *= 10
    return f"{share * base:.2g}" if share * base < 10 else f"{share * base:.0f}", f"{base:,}"


def count(n: int, one: str, many: str = "") -> str:
    """`1 picture`, `2 pictures`."""
    return f"{n:,} {one if n == 1 else many or one + 's'}"


def ms(value: float) -> str:
    return f"{value:.0f} ms" if value >= 100 else f"{value:.1f} ms" if value >= 1 else f"{value:.2f} ms"


def code(text: str) -> str:
    """A name as a program takes it."""
    return f"<code>{safe(text)}</code>"


def defect(kind: str) -> str:
    """A synthetic defect's kind."""
    return safe(_DEFECTS.get(kind, kind.replace("_", " ").capitalize()))


def extent(size: float, picture_px: tuple[int, int] | None) -> str:
    """A synthetic defect's extent: in pixels of the picture where its size is known."""
    if picture_px is None:
        return f"{size:.0%}".replace("%", " %")
    return f"{size * math.sqrt(picture_px[0] * picture_px[1]):.0f} px"


def at_most(rejected: int, n: int, confidence: float = 0.95) -> float:
    """How high the true false-reject rate may still be when `rejected` of n good pictures lie above the
    threshold (Clopper & Pearson 1934, one-sided). It is the same bound that split conformal prediction gives for
    the threshold at that rank of its calibration scores (Vovk 2012), so that it holds for those, too."""
    if rejected >= n:
        return 1.0

    def chance_of_so_few(rate: float) -> float:
        logs = (
            math.lgamma(n + 1)
            - math.lgamma(k + 1)
            - math.lgamma(n - k + 1)
            + k * math.log(rate)
            + (n - k) * math.log1p(-rate)
            for k in range(rejected + 1)
        )
        return math.fsum(math.exp(value) for value in logs)

    low, high = rejected / n, 1.0
    for _ in range(50):
        middle = (low + high) / 2
        if chance_of_so_few(max(middle, 1e-15)) > 1 - confidence:
            low = middle
        else:
            high = middle
    return high


_DEFECTS = {
    "cut_paste": "Something that does not belong",
    "scratch": "Scratch",
    "stain": "Stain",
    "missing": "Missing piece",
    "blur": "Smeared surface",
}
