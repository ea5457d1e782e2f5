"""What is given up as the heat allows less, in which order, and how that is said.

The rows overlap: a row is entered when the effort falls below `below`, and left when what the board could
hold for ever rises above `above`. Headroom is asked of what it could *hold*, not of what it may do this
second, so that giving something up cannot be the reason to take it back.

Frames that no trigger asked for are given up by the rate: parts that a trigger asked for go first, and the
others share what is left of it.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Row:
    """One thing to give up. `threads` is the share of the threads that stay."""

    name: str
    below: float
    above: float
    preview: bool = True
    heatmaps: bool = True
    threads: float = 1.0


# fmt: off
ROWS: tuple[Row, ...] = (
    Row("",                              below=9.99, above=9.99),
    Row("live pictures",                 below=0.99, above=1.06, preview=False),
    Row("heatmaps of good parts",        below=0.97, above=1.03, preview=False, heatmaps=False),
    Row("a quarter of the threads",      below=0.70, above=0.80, preview=False, heatmaps=False, threads=0.75),
    Row("half of the threads",           below=0.45, above=0.55, preview=False, heatmaps=False, threads=0.50),
    Row("three quarters of the threads", below=0.20, above=0.30, preview=False, heatmaps=False, threads=0.25),
)
# fmt: on

RATE_FROM = ROWS[2].below
"""The rate is touched only once the effort is under this: pictures and heatmaps go before frames."""


def next_row(row: int, effort: float, sustainable: float) -> int:
    """The row to be in, coming from `row`. Less effort never gives an earlier row."""
    while row + 1 < len(ROWS) and effort < ROWS[row + 1].below:
        row += 1
    while row > 0 and sustainable > ROWS[row].above and effort >= min(ROWS[row].above, 1.0):
        row -= 1
    return row


def rate_for(effort: float, floor: float) -> float:
    """The share of the full frame rate that this effort pays for."""
    return max(floor, min(1.0, effort / RATE_FROM))


def paused(row: int) -> str:
    """What is given up, for a person; empty if nothing is."""
    names = [ROWS[i].name for i in range(1, min(row, 2) + 1)]
    if row > 2:
        names.append(ROWS[row].name)
    return f"without {' and '.join(', '.join(names).rsplit(', ', 1))}" if names else ""
