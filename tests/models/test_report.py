"""The report as text: what it says, what it leaves out, and that nothing in it is taken for anything but words."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, datetime
from html.parser import HTMLParser

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kenpin_agent.judge import false_reject_threshold
from kenpin_models.finetune.curves import LearningCurves, Round
from kenpin_models.report import (
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
    render,
    svg,
    words,
)
from kenpin_models.report.adapt import decoder_curve, finetune_curve
from kenpin_wire.manifest import Calibration, Input, Tiles

SPEC = Input(width=160, height=160)
JPEG = cv2.imencode(".jpg", np.full((24, 32, 3), 90, np.uint8))[1].tobytes()
GOOD = [1.0 + 0.001 * i for i in range(150)]
NOTE = (
    "12 good pictures cannot promise 1.00% false rejects; the threshold is an estimate. 99 make it a promise."
)


def calibration(scores: list[float] = GOOD, rate: float = 0.01, note: str = "") -> Calibration:
    threshold = false_reject_threshold(scores, rate)
    return Calibration(
        scores=sorted(scores),
        false_rejects=rate,
        threshold=threshold,
        method="held-out good pictures",
        note=note,
    )


PLAIN = ReportData(
    release="bracket-1.3.0",
    created=datetime(2026, 11, 22, 8, 30, tzinfo=UTC),
    method="frozen",
    head="padim",
    input=SPEC,
    calibration=calibration(),
    pictures=Pictures(fitted=200, held_out=150),
    scores=Scores(held_out=GOOD),
)
DEFECTS = {(kind, size): [0.9 + size * 5, 1.3] for kind in ("scratch", "stain") for size in (0.04, 0.16)}
TRIED = (
    Tried("padim", SPEC, auroc=0.97, found=0.9, mark=0.93, frame_ms=9.0, chosen=True),
    Tried("lof", SPEC, auroc=0.9, found=0.7, mark=0.8, frame_ms=7.0),
)
FULL = replace(
    PLAIN,
    scores=Scores(held_out=GOOD, out_of_fold=GOOD[:40], defects=DEFECTS, bad=[1.5, 1.6, 1.1]),
    pictures=Pictures(fitted=200, held_out=150, bad=3, left_out=1),
    picture_px=(640, 480),
    examples=Examples(
        good=(Example("a.png", 1.1, JPEG, JPEG),),
        least_found=(Example("b.png", 1.1, JPEG, JPEG, ("scratch", 0.04)),),
        most_found=(Example("c.png", 1.6, JPEG, JPEG),),
        synthetic=False,
    ),
    tried=TRIED,
    cost=Cost(
        prepare_ms=0.2, encoder_ms=8.0, head_ms=1.0, heatmap_ms=1.5, budget_ms=20.0, machine="a machine"
    ),
    curves=(
        Curve(
            "Decoder",
            "The decoder has learned all it can.",
            "epoch",
            "loss",
            (Line("training", [(1, 0.5), (2, 0.3)]), Line("held out", [(1, 0.6), (2, 0.4)])),
            kept=2,
        ),
    ),
    parity=Parity(60, 0.02, (8.0, 4.0), (3_000_000, 900_000), (0.99, 0.989), 0),
    provenance=(("Encoder", "EfficientNet-Lite0"), ("Seed", "0")),
    warnings=("left out: broken.jpg",),
)
SECTIONS = [
    "scores",
    "trust",
    "choice",
    "defects",
    "pictures",
    "heads",
    "cost",
    "learning",
    "int8",
    "provenance",
]


class Page(HTMLParser):
    """A page's tags with their attributes, and its words."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.words = ""
        self.feed(page)
        assert self.open == [], "a tag is not closed"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in ("meta", "img", "rect", "path", "circle"):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        if self.open and self.open[-1] == tag:
            self.open.pop()

    def handle_data(self, data: str) -> None:
        if "style" not in self.open:
            self.words += data

    def all(self, *names: str) -> list[dict[str, str | None]]:
        return [attributes for tag, attributes in self.tags if tag in names]


def sections(data: ReportData) -> list[str | None]:
    return [attributes["id"] for attributes in Page(render(data)).all("section")]


def test_each_section_begins_with_one_plain_sentence() -> None:
    page = render(FULL)
    assert sections(FULL) == SECTIONS
    means = re.findall(r'<h2[^>]*>[^<]+</h2><p class="means">(.+?)</p>', page)
    assert len(means) == len(SECTIONS)
    assert all(text.rstrip().endswith(".") for text in means)


def test_what_a_training_did_not_have_is_left_out() -> None:
    assert sections(PLAIN) == ["scores", "trust", "heads", "provenance"]


def test_it_says_what_a_line_will_lose_and_find() -> None:
    assert (
        "Of 100 good parts about 1 will be rejected; of the 3 bad parts that you showed, 2 are found."
        in render(FULL)
    )
    few = replace(PLAIN, calibration=calibration(GOOD[:12], 0.005, NOTE))
    assert "Of 1,000 good parts about 5 should be rejected, by estimate" in render(few)
    assert NOTE in Page(render(few)).words


def test_reservations_come_first_and_lead_to_their_sections() -> None:
    dear = replace(FULL, cost=replace(FULL.cost, budget_ms=5.0), calibration=calibration(note=NOTE))
    page = Page(render(dear))
    linked = [str(attributes["href"]) for attributes in page.all("a")]
    assert linked == ["#pictures", "#choice", "#trust", "#cost", "#provenance"]
    assert {link[1:] for link in linked} <= {attributes.get("id") for _, attributes in page.tags}
    assert "Ready for a trial, with reservations" in page.words
    calm = replace(FULL, scores=replace(FULL.scores, bad=[1.5]), pictures=Pictures(200, 150, 1))
    assert "Ready for the line" in Page(render(calm)).words


def test_a_release_that_misses_most_bad_parts_is_not_called_ready() -> None:
    blind = replace(FULL, scores=replace(FULL.scores, bad=[1.0, 1.1, 1.5]))
    assert "Not ready: it misses most of the bad parts" in Page(render(blind)).words


def test_a_cost_over_the_budget_is_said_plainly() -> None:
    assert "Allowed were 20.0 ms: with 10.8 ms to spare." in render(FULL)
    assert "over it by 4.2 ms" in render(replace(FULL, cost=replace(FULL.cost, budget_ms=5.0)))


@pytest.mark.parametrize(
    ("chosen", "best_ms", "says"),
    [
        (
            0,
            9.0,
            "told defects from good parts best in the rehearsal; <code>lof</code> came next, clearly behind",
        ),
        (1, 30.0, "what found more of the painted defects costs more than the budget of 20.0 ms"),
        (1, 9.0, "found hardly more, for its size"),
    ],
)
def test_it_says_why_a_head_was_chosen(chosen: int, best_ms: float, says: str) -> None:
    tried = tuple(replace(entry, chosen=i == chosen) for i, entry in enumerate(TRIED))
    tried = (replace(tried[0], frame_ms=best_ms), *tried[1:])
    assert says in render(replace(FULL, tried=tried))


def test_a_large_picture_s_tiles_are_told_with_the_head() -> None:
    tiled = Input(width=320, height=320, tiles=Tiles(columns=2, rows=3, overlap_px=64))
    page = render(replace(FULL, tried=(replace(TRIED[0], input=tiled),)))
    assert "576 × 832 px in 2 × 3 tiles" in page


def test_int8_is_told_with_as_much_as_was_measured() -> None:
    assert "differs by 2 %, 2.0 times as fast here, and of 60 pictures none is judged otherwise." in render(
        FULL
    )
    assert "(int8); what it sees differs by 0.5 %.</p></section>" in render(
        replace(FULL, parity=Parity(9, 0.005))
    )


def test_a_fine_tuning_s_curve_says_what_it_brought() -> None:
    rounds = (Round(0, 2.0, 2.0), Round(50, 1.0, 1.5), Round(100, 0.5, 1.6))
    curve = finetune_curve(LearningCurves("arcface", rounds, 50, stopped_early=True))
    page = render(replace(FULL, curves=(curve,)))
    assert "On pictures kept aside its error fell by 25 %; it stopped when they no longer gained." in page
    assert "The dashed line is what the release carries." in page
    worse = (Round(0, 2.0, 2.0), Round(50, 1.0, 2.5))
    assert (
        "did not get better" in finetune_curve(LearningCurves("doc", worse, 0, stopped_early=False)).meaning
    )


def test_a_decoder_s_curve_has_a_line_for_each_of_its_errors() -> None:
    curve = decoder_curve("slim", {"learnt": [0.5, 0.3, 0.2], "held_out": [0.6, 0.4, 0.3], "none": []})
    assert [line.name for line in curve.lines] == ["learnt", "held out"]
    assert "learned for 3 epochs" in curve.meaning
    assert curve.lines[0].points[0] == (1, 0.5)


HOSTILE = [
    "<script>alert(1)</script>.png",
    '"><img src=x onerror=alert(1)>.png',
    "' style='position:fixed",
    "</style></title><h1>owned</h1>.jpg",
    "a\nb\r\tc\x00.png",
    "gnp.\u202etxt.exe",
    "caf\udce9.png",  # bytes that are no UTF-8, as Python reads them from a folder
    "&lt;b&gt;.png",
    "x" * 300,
]


def named(name: str) -> ReportData:
    """A report in which every word from outside is `name`."""
    entry = Example(name, 1.1, JPEG, JPEG, (name, 0.04))
    line = Line(name, [(0, 0), (1, 1)])
    return replace(
        FULL,
        release=name,
        method=name,
        head=name,
        calibration=FULL.calibration.model_copy(update={"note": name, "method": name}),
        scores=replace(FULL.scores, defects={(name, 0.04): [1.0]}),
        examples=Examples((entry,), (entry,), (entry,)),
        tried=(Tried(name, SPEC, 0.5, 0.5, 0.5, chosen=True),),
        cost=replace(FULL.cost, machine=name),
        curves=(Curve(name, name, name, name, (line,)),),
        provenance=((name, name),),
        warnings=(name,),
    )


@pytest.mark.parametrize("name", HOSTILE)
def test_no_name_is_taken_for_anything_but_a_name(name: str) -> None:
    tame, page = Page(render(named("name"))), render(named(name))
    page.encode("utf-8")
    parsed = Page(page)
    shapes = [(tag, sorted(attributes)) for tag, attributes in parsed.tags]
    assert shapes == [(tag, sorted(attributes)) for tag, attributes in tame.tags]
    assert not re.search("[\x00-\x08\u202a-\u202e\u2066-\u2069]", page)
    assert words.one_line(name) in parsed.words


@settings(max_examples=60, deadline=None)
@given(name=st.text(min_size=1, max_size=40))
def test_no_word_at_all_changes_the_page_s_shape(name: str) -> None:
    tame = [tag for tag, _ in Page(render(named("name"))).tags]
    assert [tag for tag, _ in Page(render(named(name))).tags] == tame


def test_it_fetches_nothing_and_runs_nothing() -> None:
    page = Page(render(FULL))
    assert not page.all("script", "link", "iframe", "object", "form", "base")
    for tag, attributes in page.tags:
        assert not [name for name in attributes if name.startswith("on")]
        for source in (attributes.get("src"), attributes.get("href")):
            assert source is None or source.startswith(("data:image/jpeg;base64,", "#")), tag
    assert "url(" not in render(FULL)
    (policy,) = [a["content"] for a in page.all("meta") if a.get("http-equiv") == "Content-Security-Policy"]
    assert str(policy).startswith("default-src 'none'")


def test_it_can_be_read_without_seeing_it() -> None:
    page = Page(render(FULL))
    assert [tag for tag, _ in page.tags].count("h1") == 1
    assert all(attributes.get("alt") for attributes in page.all("img"))
    assert all(a.get("aria-label") or a.get("aria-hidden") for a in page.all("svg"))
    tables = [tag for tag, _ in page.tags if tag in ("table", "caption")]
    assert tables == ["table", "caption"] * (len(tables) // 2)
    assert all(attributes.get("scope") in ("col", "row") for attributes in page.all("th"))


finite = st.floats(-1e6, 1e6).map(lambda value: value + 0.0)


@settings(max_examples=80, deadline=None)
@given(
    good=st.lists(finite, min_size=1, max_size=30),
    bad=st.lists(finite, max_size=10),
    defects=st.dictionaries(
        st.tuples(st.sampled_from(["scratch", "blur"]), st.sampled_from([0.04, 0.1])),
        st.lists(finite, min_size=1, max_size=5),
    ),
    rate=st.floats(1e-6, 0.5),
)
def test_any_scores_make_a_page(
    good: list[float], bad: list[float], defects: dict[tuple[str, float], list[float]], rate: float
) -> None:
    data = replace(FULL, calibration=calibration(good, rate), scores=Scores(good, (), defects, bad))
    page = render(data)
    Page(page)
    assert not re.search(r"[\"> ]-?(nan|inf)", page)


def test_ten_thousand_scores_weigh_no_more_than_a_few() -> None:
    rng = np.random.default_rng(0)
    many = rng.normal(1, 0.1, 10_000).tolist()
    few, full = (
        len(
            render(
                replace(
                    FULL,
                    calibration=calibration(scores),
                    scores=Scores(scores, scores, {("blur", 0.1): scores}, scores),
                )
            )
        )
        for scores in (many[:150], many)
    )
    assert full < few + 30_000


@given(st.integers(0, 60), st.integers(1, 400))
def test_the_true_rate_may_be_higher_than_what_was_counted_but_less_so_with_more_pictures(
    above: int, n: int
) -> None:
    bound = words.at_most(min(above, n), n)
    assert min(above, n) / n <= bound <= 1
    assert words.at_most(min(above, n), 2 * n) <= bound


def test_none_of_n_rejected_leaves_room_for_three_in_n() -> None:
    assert words.at_most(0, 100) == pytest.approx(3 / 100, abs=0.001)
    assert words.at_most(0, 1) == pytest.approx(0.95)
    assert words.at_most(5, 5) == 1


@given(finite, finite, st.lists(finite, min_size=2, max_size=20))
def test_a_greater_score_never_stands_further_left(low: float, limit: float, values: list[float]) -> None:
    place = svg.closing_scale(low, limit, 1000)
    drawn = [place(value) for value in sorted(values)]
    assert drawn == sorted(drawn)
    assert all(0 <= x <= 1000 for x in drawn)
    assert place(limit) == pytest.approx(550)


@given(finite, finite)
def test_ticks_are_few_round_and_inside(one: float, other: float) -> None:
    low, high = sorted((one, other))
    found = svg.ticks(low, high)
    assert len(found) <= 7
    slack = 1e-6 * max(abs(low), abs(high), 1e-9)
    assert all(low - slack <= tick <= high + slack for tick in found)


@pytest.mark.parametrize(
    ("share", "text"),
    [(0, "0 %"), (1, "100 %"), (0.9999, "99.9 %"), (0.00004, "0.01 %"), (0.5, "50 %"), (0.018, "1.8 %")],
)
def test_a_share_is_none_or_all_only_if_it_is(share: float, text: str) -> None:
    assert words.percent(share) == text


@pytest.mark.parametrize(
    ("share", "said"),
    [(0.01, ("1", "100")), (0.001, ("1", "1,000")), (0.25, ("25", "100")), (0.025, ("2.5", "100"))],
)
def test_a_rate_is_said_as_parts_of_a_round_number(share: float, said: tuple[str, str]) -> None:
    assert words.out_of(share) == said
