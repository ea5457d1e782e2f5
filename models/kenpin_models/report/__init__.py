"""The report of a training: one HTML page that says what was made, how well it tells, and how far to trust it.

`collect` draws the example pictures and measures the cost, `ReportData` holds all that a page needs, and `render`
makes the page of it: a pure function. The page carries everything with it (no script, font, picture or style from
elsewhere), so it opens from a disk, travels in the release, and prints.
"""

from kenpin_models.report.data import (
    Cost,
    Curve,
    Example,
    Examples,
    Line,
    Parity,
    Pictures,
    ReportData,
    Scores,
    Tried,
)
from kenpin_models.report.page import render

__all__ = [
    "Cost",
    "Curve",
    "Example",
    "Examples",
    "Line",
    "Parity",
    "Pictures",
    "ReportData",
    "Scores",
    "Tried",
    "render",
]
