"""What was tried, as a table for a terminal of 80 columns."""

from __future__ import annotations

from rich.console import Group
from rich.table import Table

from kenpin_models.select import FEW_FALSE_REJECTS, Candidate, Selection

MOST_ROWS = 12
"""The best of them, and the chosen one; the rest say nothing that changes a mind."""


def selection_table(selection: Selection) -> Group:
    """The best candidates and the chosen one, best mark first. What labelled bad pictures say has columns only if
    there were any; the mark is else the share found."""
    chosen, candidates = selection.chosen, selection.candidates
    labelled = chosen.bad_found is not None
    # A line box, or two spaces everywhere, would cut the last column where there are bad pictures.
    table = Table(box=None, padding=(0, 1 if labelled else 2, 0, 0), pad_edge=False)
    table.add_column("", width=1)
    table.add_column("head", min_width=17)
    table.add_column("input")
    for name in ("AUROC", "found", *(("bad\nAUROC", "bad\nfound", "mark") if labelled else ()), "ms"):
        table.add_column(name, justify="right", no_wrap=True)
    for place, row in enumerate(candidates):
        if place < MOST_ROWS or row is chosen:
            table.add_row(
                "→" if row is chosen else "",
                str(row.recipe),
                str(row.input),
                *(f"{number:.3f}" for number in _figures(row)),
                "–" if row.frame_ms is None else f"{row.frame_ms:.1f}{'' if row.affordable else ' !'}",
                style="bold" if row is chosen else None,
            )
    title = "rehearsal: defects painted on good pictures that a head had not seen"
    return Group(title, "", table, "", *_notes(selection, labelled=labelled))


def _figures(row: Candidate) -> list[float]:
    figures = [row.synthetic_auroc, row.synthetic_found]
    if row.bad_auroc is not None and row.bad_found is not None:
        figures += [row.bad_auroc, row.bad_found, row.mark]
    return figures


def _notes(selection: Selection, *, labelled: bool) -> list[str]:
    chosen, candidates = selection.chosen, selection.candidates
    notes = [f"found: defects found where {FEW_FALSE_REJECTS:.0%} of the good parts are rejected"]
    if labelled:
        notes.append("mark: painted defects and labelled bad pictures together")
    if not all(row.affordable for row in candidates):
        notes.append("!: over the budget")
    if not chosen.affordable:
        notes.append("→: nothing is within the budget; this is the best at the cheapest input")
    elif chosen is not next(row for row in candidates if row.affordable):
        notes.append("→: about as good, at a safer size or as a fusion of two heads")
    if len(candidates) > MOST_ROWS:
        notes.append(f"the best {MOST_ROWS} of {len(candidates)}; the report page shows all")
    return notes
