"""The few shapes of HTML that the sections are made of. Words given here are already safe (see `words.safe`)."""

from __future__ import annotations

from collections.abc import Sequence

from kenpin_models.report.words import percent


def section(name: str, title: str, sentence: str, body: str = "") -> str:
    """A section: what it is about, what it means for the line, and what shows it."""
    return (
        f'<section id="{name}" aria-labelledby="{name}-title"><h2 id="{name}-title">{title}</h2>'
        f'<p class="means">{sentence}</p>{body}</section>\n'
    )


def table(
    caption: str, heads: Sequence[str], rows: Sequence[tuple[Sequence[str], str]], css: str = ""
) -> str:
    """A table that scrolls by itself where it is wider than the page.

    Args:
        rows: The cells of each, the first of which names it, and its class. A cell that begins with `<td` is
            taken as it is.
    """
    head = "".join(f'<th scope="col">{text}</th>' for text in heads)
    body = ""
    for (first, *rest), kind in rows:
        cells = "".join(cell if cell.startswith("<td") else f"<td>{cell}</td>" for cell in rest)
        mark = f' class="{kind}"' if kind else ""
        body += f'<tr{mark}><th scope="row">{first}</th>{cells}</tr>'
    return (
        f'<div class="wide" tabindex="0" role="region" aria-label="{caption}"><table class="{css}">'
        f"<caption>{caption}</caption><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def bar_cell(share: float) -> str:
    """A cell that shows a share, 0 to 1, as a bar and in figures."""
    return f'<td class="bar" style="--share:{100 * share:.1f}%">{percent(share)}</td>'
