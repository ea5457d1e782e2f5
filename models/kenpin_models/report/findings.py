"""The sections that say how well it tells: scores, trust, the choice of a threshold, which defects it finds."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from kenpin_agent.judge import false_reject_threshold
from kenpin_models.metrics import auroc, share_above
from kenpin_models.report import svg, words
from kenpin_models.report.data import ReportData, Scores
from kenpin_models.report.shapes import bar_cell, section, table

RATES = (0.001, 0.005, 0.01, 0.02, 0.05)
"""False-reject rates that the choice of a threshold shows, beside the release's own."""


def scores(data: ReportData) -> str:
    """Strips of a histogram under each other, the threshold through all of them."""
    limit = data.calibration.threshold
    good = data.scores.good or list(data.calibration.scores)
    place = svg.strip_scale(float(np.quantile(good, 0.02)) if good else 0.0, limit)
    rows = []
    for name, values, is_good in _groups(data):
        above = sum(value > limit for value in values)
        wrong = "rejected" if is_good else "found"
        label = f"{name}: {above} of {len(values)} above the threshold"
        strip = svg.bars(values, place, limit, good=is_good, label=label)
        result = f"{above:,} of {len(values):,} {wrong}"
        rows.append(f'<tr><th scope="row">{name}</th><td>{strip}</td><td>{result}</td></tr>')
    body = (
        '<table class="strips"><caption>What each picture scored. Right of the line is rejected. Red: on the wrong '
        'side of it.</caption><thead><tr><th scope="col">Pictures</th><th scope="col">Score</th><th scope="col">'
        f"Judged</th></tr></thead><tbody>{''.join(rows)}</tbody><tfoot><tr><td></td><td>{_axis(place, good, limit)}"
        "</td><td></td></tr></tfoot></table>"
    )
    return section("scores", "What it lets by, and what it stops", what_it_does(data), body)


def what_it_does(data: ReportData) -> str:
    """The promise and what was found, in a sentence."""
    n, of = words.out_of(data.calibration.false_rejects)
    rejects = f"Of {of} good parts about {n} will be rejected"
    if data.calibration.note:
        above, tried = _above(data), len(data.calibration.scores)
        rejects = (
            f"Of {of} good parts about {n} should be rejected, by estimate ({above:,} of {tried:,} here were)"
        )
    limit = data.calibration.threshold
    if data.scores.bad:
        found = sum(score > limit for score in data.scores.bad)
        return f"{rejects}; of the {len(data.scores.bad):,} bad parts that you showed, {found:,} are found."
    if synthetic := data.scores.synthetic:
        share = words.percent(share_above(synthetic, limit))
        return (
            f"{rejects}; of the test defects painted on good parts, small ones among them, {share} are found."
        )
    return f"{rejects}; no bad part was shown, so nobody knows yet how many of those it finds."


def trust(data: ReportData) -> str:
    """How far the promise goes with so many pictures."""
    calibration = data.calibration
    n, above = len(calibration.scores), _above(data)
    worst, of = words.out_of(words.at_most(above, n))
    rate = words.percent(calibration.false_rejects)
    sentence = f"The threshold rests on {words.count(n, 'good picture')}, " + (
        f"too few to promise {rate} false rejects: it is an estimate, and could be up to {worst} of {of} good parts."
        if calibration.note
        else f"enough to promise {rate} false rejects; by bad luck it could be up to {worst} of {of} good parts."
    )
    facts = [
        f"Counted: {words.safe(calibration.method) or 'good pictures'}; {above:,} of their scores "
        f"{'lies' if above == 1 else 'lie'} above the threshold. With 19 chances in 20, the true rate is at most "
        "what the sentence above says.",
        "All of it holds for parts, light and camera as in the pictures. New light or a moved camera is a new "
        "line: watch its first shift, and take pictures of it.",
    ]
    if calibration.note:
        facts.insert(0, words.safe(calibration.note))
    return section("trust", "How far to trust it", sentence, _list(facts))


def choice(data: ReportData) -> str:
    """The ROC curve, and what other thresholds would bring."""
    good, limit = data.scores.good, data.calibration.threshold
    kinds = [
        (name, css, values)
        for name, css, values in (
            ("bad parts", "bad", list(data.scores.bad)),
            ("test defects", "synthetic", data.scores.synthetic),
        )
        if values
    ]
    if not good or not kinds:
        return ""
    name, _, first = kinds[0]
    rates = sorted({*RATES, data.calibration.false_rejects})
    thresholds = {rate: false_reject_threshold(data.calibration.scores, rate) for rate in rates}
    loose = max(rates)
    now, then = (words.percent(share_above(first, at)) for at in (limit, thresholds[loose]))
    more = "as many" if now == then else then
    sentence = (
        f"If {_parts(data.calibration.false_rejects)} may be lost, it finds {now} of the {name}; if {_parts(loose)} "
        f"may, {more}. The threshold can be moved on the camera's page at any time."
    )
    rows = []
    for rate in rates:
        own = rate == data.calibration.false_rejects
        threshold = limit if own else thresholds[rate]
        cells = [f"{1000 * rate:g}" + (" (this release)" if own else ""), words.score(threshold, limit)]
        cells += [words.percent(share_above(values, threshold)) for _, _, values in kinds]
        rows.append((cells, "own" if own else ""))
    heads = ["Good parts rejected, of 1,000", "Threshold", *(f"{n.capitalize()} found" for n, _, _ in kinds)]
    choices = table("What another threshold would bring, by estimate", heads, rows)
    curves = [(css, _roc(good, values)) for _, css, values in kinds]
    marks = [(css, (share_above(good, limit) ** 0.5, share_above(values, limit))) for _, css, values in kinds]
    areas = "; ".join(f"{n}: area {auroc(good, values):.3f}" for n, _, values in kinds)
    graph = svg.graph(
        curves,
        x_ticks=[(share**0.5, f"{share:.0%}") for share in (0, 0.01, 0.05, 0.2, 0.5, 1)],
        y_ticks=[(share, f"{share:.0%}") for share in (0, 0.25, 0.5, 0.75, 1)],
        x_label="good parts rejected",
        y_label="defects found",
        label=f"ROC curve, {areas}",
        marks=marks,
    )
    legend = "".join(
        f'<span class="key {css}">{n.capitalize()}: area {auroc(good, values):.3f}</span>'
        for n, css, values in kinds
    )
    figure = (
        f"<figure>{graph}<figcaption>{legend} The disc is this release's threshold. An area of 1 is perfect, 0.5 is "
        "a coin. The lower scale is stretched towards 0, where a line lives.</figcaption></figure>"
    )
    body = f'<div class="beside">{figure}{choices}</div>'
    return section("choice", "Stricter or looser", sentence, body)


def defects(data: ReportData) -> str:
    """Which synthetic defects are found, by kind and size."""
    cells = data.scores.defects
    if not cells:
        return ""
    limit = data.calibration.threshold
    kinds = list(dict.fromkeys(kind for kind, _ in cells))
    sizes = sorted({size for _, size in cells})
    found = {cell: share_above(values, limit) for cell, values in cells.items()}
    by_kind = {kind: float(np.mean([s for (k, _), s in found.items() if k == kind])) for kind in kinds}
    by_size = {size: float(np.mean([s for (_, z), s in found.items() if z == size])) for size in sizes}
    hardest = min(by_kind, key=lambda kind: by_kind[kind])
    small, large = (words.extent(size, data.picture_px) for size in (sizes[0], sizes[-1]))
    sentence = (
        f"Of defects {large} across it finds {words.percent(by_size[sizes[-1]])}, of those {small} across "
        f"{words.percent(by_size[sizes[0]])}; hardest to find: {words.defect(hardest).lower()}."
    )
    rows = [
        (
            [
                words.defect(kind),
                *(bar_cell(found[kind, size]) if (kind, size) in found else "–" for size in sizes),
            ],
            "",
        )
        for kind in sorted(kinds, key=lambda kind: -by_kind[kind])
    ]
    heads = ["Painted on a good part", *(f"{words.extent(size, data.picture_px)} across" for size in sizes)]
    unit = "" if data.picture_px else " Sizes are shares of the picture's side."
    caption = f"Test defects found at this threshold, by kind and size.{unit}"
    note = (
        '<p class="quiet">They are painted by the trainer and no likeness of yours: they show how small a thing it '
        "still sees. A scratch is a thin line about twice as long as stated.</p>"
    )
    body = table(caption, heads, rows, css="bars") + note
    return section("defects", "How small a defect it sees", sentence, body)


def _above(data: ReportData) -> int:
    """How many of the good pictures that set the threshold lie above it."""
    return sum(score > data.calibration.threshold for score in data.calibration.scores)


def _groups(data: ReportData) -> list[tuple[str, Sequence[float], bool]]:
    """The strips: name, scores, whether they are of good parts."""
    own: Scores = data.scores
    groups: list[tuple[str, Sequence[float], bool]] = [
        ("Good, held out", own.held_out, True),
        ("Good, in rehearsal", own.out_of_fold, True),
    ]
    groups.append(("Bad parts you showed", own.bad, False))
    for kind in sorted({kind for kind, _ in own.defects}):
        values = [score for (k, _), scores in own.defects.items() if k == kind for score in scores]
        groups.append((f"{words.defect(kind)} (painted)", values, False))
    return [group for group in groups if len(group[1])]


def _axis(place: svg.Scale, good: Sequence[float], limit: float) -> str:
    """What stands under the strips: round scores, and the threshold."""
    low = float(np.quantile(good, 0.02)) if good else 0.0
    span = limit - low if low < limit else abs(limit) or 1.0
    marks = [
        (svg.strip_share(place(v)), words.score(v, limit)) for v in svg.ticks(low - 0.2 * span, limit, 3)
    ]
    marks = [(x, text) for x, text in marks if 0.02 < x < 0.42]
    for k in (1, 4):
        value = float(f"{limit + k * span:.2g}")  # near enough: it stands where it says
        marks.append((svg.strip_share(place(value)), words.score(value, limit)))
    drawn = "".join(f'<span style="left:{100 * x:.1f}%">{text}</span>' for x, text in marks)
    at, own = svg.strip_share(place(limit)), words.score(limit, limit)
    return f'<div class="axis">{drawn}<b style="left:{100 * at:.1f}%">{own}<i> threshold</i></b></div>'


def _roc(good: Sequence[float], bad: Sequence[float], points: int = 160) -> list[svg.Point]:
    """Share of the good ones above (its square root, for the stretched scale) and of the bad ones, threshold by
    threshold from above all of them to below all."""
    ordered_good, ordered_bad = np.sort(good), np.sort(bad)
    cuts = np.unique(np.concatenate([ordered_good, ordered_bad]))[::-1]
    if cuts.size > points:
        cuts = cuts[np.linspace(0, cuts.size - 1, points).astype(int)]
    over_good = 1 - np.searchsorted(ordered_good, cuts, side="right") / ordered_good.size
    over_bad = 1 - np.searchsorted(ordered_bad, cuts, side="right") / ordered_bad.size
    path = [(0.0, 0.0)]
    for fpr, tpr in zip(over_good.tolist(), over_bad.tolist(), strict=True):
        path += [(path[-1][0], tpr), (fpr**0.5, tpr)]
    path += [(path[-1][0], 1.0), (1.0, 1.0)]
    return [point for i, point in enumerate(path) if i == 0 or point != path[i - 1]]


def _parts(rate: float) -> str:
    n, of = words.out_of(rate)
    return f"{n} good {'part' if n == '1' else 'parts'} in {of}"


def _list(lines: Sequence[str]) -> str:
    return "<ul>" + "".join(f"<li>{line}</li>" for line in lines) + "</ul>"
