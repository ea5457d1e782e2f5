"""The page: what it comes to, then section after section."""

from __future__ import annotations

from functools import cache
from importlib.resources import files

from kenpin_models.metrics import share_above
from kenpin_models.report import findings, making, words
from kenpin_models.report.data import ReportData

MAX_BYTES = 400_000
"""What a page may weigh: it travels in the release. `collect.Gallery` keeps its pictures small enough."""


def render(data: ReportData) -> str:
    """The report as one HTML document.

    Every word of `data` is escaped; the page allows itself nothing but its own style and pictures, by a policy
    in its head, wherever it is opened.
    """
    sections = [
        findings.scores(data),
        findings.trust(data),
        findings.choice(data),
        findings.defects(data),
        making.pictures(data),
        making.heads(data),
        making.cost(data),
        making.learning(data),
        making.int8(data),
        making.provenance(data),
    ]
    release = words.safe(data.release)
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">\n'
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'; "
        "img-src data:; base-uri 'none'; form-action 'none'\">\n"
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta name="color-scheme" content="light dark">\n'
        f"<title>{release} · training report</title>\n<style>{_style()}</style></head>\n<body><main>\n"
        f"{_top(data)}{''.join(sections)}"
        "<footer>Made by <code>kenpin train</code>. This file is whole: it needs no network and runs no script."
        "</footer>\n</main></body></html>\n"
    )


def _top(data: ReportData) -> str:
    """Name, the answer in a line, the four figures, and what to do next."""
    reservations, advice = _reservations(data), _advice(data)
    level, answer = _answer(data, bool(reservations))
    icon = _OK if level == "ok" else _WARNING
    steps = "".join(f"<li>{step}</li>" for step in [*reservations, *advice])
    figures = "".join(
        f"<div><dt>{name}</dt><dd><b>{value}</b><span>{about}</span></dd></div>"
        for name, value, about in _figures(data)
    )
    return (
        f'<header><p class="eyebrow">Training report, {data.created:%d %B %Y}</p><h1>{words.safe(data.release)}</h1>'
        f'<div class="answer is-{level}"><p>{icon}{answer}</p>{f"<ul>{steps}</ul>" if steps else ""}</div>'
        f'<dl class="figures">{figures}</dl></header>\n'
    )


def _answer(data: ReportData, reservations: bool) -> tuple[str, str]:
    """How it stands, as a level and in words."""
    bad = data.scores.bad
    if bad and share_above(bad, data.calibration.threshold) < 0.5:
        return "alarm", "Not ready: it misses most of the bad parts"
    return ("warn", "Ready for a trial, with reservations") if reservations else ("ok", "Ready for the line")


def _figures(data: ReportData) -> list[tuple[str, str, str]]:
    calibration, limit = data.calibration, data.calibration.threshold
    n, of = words.out_of(calibration.false_rejects)
    kind = "by estimate" if calibration.note else "as promised"
    figures = [("Good parts rejected", f"{n} in {of}", kind)]
    if data.scores.bad:
        found = sum(score > limit for score in data.scores.bad)
        figures.append(("Bad parts found", f"{found:,} of {len(data.scores.bad):,}", "that you showed"))
    elif data.scores.synthetic:
        share = words.percent(share_above(data.scores.synthetic, limit))
        figures.append(("Test defects found", share, "painted, down to hardly visible"))
    if data.cost is not None:
        allowed = (
            f"of {words.ms(data.cost.budget_ms)} allowed"
            if data.cost.budget_ms
            else "on the training machine"
        )
        figures.append(("A frame", words.ms(data.cost.frame_ms), allowed))
    held = f"{data.pictures.held_out:,} more to test" if data.pictures.held_out else "none held out"
    figures.append(("Learned from", f"{data.pictures.fitted:,}", f"good pictures, {held}"))
    return figures


def _reservations(data: ReportData) -> list[str]:
    """What stands against relying on it."""
    limit, found = data.calibration.threshold, []
    missed = sum(score <= limit for score in data.scores.bad)
    if missed:
        found.append(
            f"{missed:,} of the {len(data.scores.bad):,} bad parts lie below the threshold. "
            '<a href="#pictures">See which</a>, or <a href="#choice">what a stricter one brings</a>.'
        )
    if data.calibration.note:
        found.append(f'{words.safe(data.calibration.note)} <a href="#trust">How far to trust it</a>.')
    if data.cost and data.cost.budget_ms and data.cost.frame_ms > data.cost.budget_ms:
        found.append('A frame costs more than the budget. <a href="#cost">Where it goes</a>.')
    return found


def _advice(data: ReportData) -> list[str]:
    """What would make it better, or better known."""
    advice = []
    if not data.scores.bad:
        advice.append(
            "No bad part was shown. Even five help to choose and to know: train with <code>--bad FOLDER</code>."
        )
    if data.pictures.left_out:
        advice.append(
            f"{words.count(data.pictures.left_out, 'picture was', 'pictures were')} left out. "
            '<a href="#provenance">Why</a>.'
        )
    return advice


# A tick in a disc, and a triangle: states differ in icon and word first, in colour last.
_OK = (
    '<svg viewBox="0 0 24 24" aria-hidden="true"><circle cx="12" cy="12" r="10"/>'
    '<path d="M7.5 12.3l3 3 6-6.4"/></svg>'
)
_WARNING = (
    '<svg viewBox="0 0 24 24" aria-hidden="true"><path class="solid" d="M12 2.5L23 21.5H1z"/>'
    '<path d="M12 9.5v5M12 17.2v1.3"/></svg>'
)


@cache
def _style() -> str:
    package = files(__package__)
    return "".join((package / name).read_text(encoding="utf-8") for name in ("palette.css", "report.css"))
