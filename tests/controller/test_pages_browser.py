"""The pages in a real browser, over a fleet of fake devices in a process of its own."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator

import httpx
import pytest
from playwright.sync_api import BrowserContext, expect

from support.browser import PHONE, chromium
from support.fed_pages import fed_pages, visitor

CAMERAS = ("press-left", "press-right", "outfeed")
REPORT = b"<!doctype html><meta charset=utf-8><title>report</title><h1>bracket-1.3.0</h1>"


@pytest.fixture(scope="module")
def site() -> Iterator[httpx.Client]:
    with fed_pages("quiet") as client:
        client.post("/fake/report/bracket-1.3.0", content=REPORT)
        yield client


@pytest.fixture(scope="module")
def context() -> Iterator[BrowserContext]:
    """One for all tests, so that a script is fetched once as it is by a person's browser."""
    with chromium() as opened:
        yield opened


@pytest.fixture
def visit(context: BrowserContext, site: httpx.Client) -> Iterator[object]:
    """Open a page; afterwards nothing may have been fetched from elsewhere, nor the console have complained."""
    with visitor(context, site) as open_page:
        yield open_page


def test_the_wall_shows_each_line_with_its_cameras(visit) -> None:
    page = visit("/")
    for line in ("stamping", "finishing"):
        expect(page.get_by_test_id(f"line-{line}")).to_be_visible()
    for camera in CAMERAS:
        card = page.get_by_test_id(f"card-{camera}")
        expect(card.get_by_test_id(f"state-{camera}")).to_contain_text("OK")
        expect(card.get_by_test_id(f"score-{camera}")).to_have_text(re.compile(r"^\d\.\d+$"))
        expect(card.get_by_test_id(f"threshold-{camera}")).to_have_text("threshold 1.60")
        expect(card.get_by_test_id(f"temperature-{camera}")).to_contain_text("°C")
    expect(page.get_by_test_id("answer-head")).to_have_text("All 3 cameras are fine")


def test_a_chart_is_drawn_and_goes_on(visit) -> None:
    page = visit("/camera/press-left")
    chart = page.get_by_test_id("live-chart")
    expect(chart).to_be_visible()
    picture = "c => { const d = c.getContext('2d').getImageData(0, 0, c.width, c.height).data; let s = 0;"
    picture += " for (let i = 0; i < d.length; i += 4) s = (s * 31 + d[i]) >>> 0; return s; }"
    page.wait_for_function("document.querySelector('canvas[data-kind=live]').width > 600")
    first = chart.evaluate(picture)
    page.wait_for_timeout(1500)  # the chart moves with time itself
    assert chart.evaluate(picture) != first


def test_an_anomaly_is_on_the_open_page_within_a_second(visit, site: httpx.Client) -> None:
    page = visit("/")
    expect(page.get_by_test_id("state-press-right")).to_contain_text("OK")
    site.post("/fake/anomaly/press-right")
    started = time.monotonic()
    # The fake camera sees a part each 0.2 s, and its site says so each 0.1 s.
    expect(page.get_by_test_id("state-press-right")).to_contain_text("Anomaly", timeout=5_000)
    assert time.monotonic() - started < 1.0 + 0.3
    expect(page.get_by_test_id("answer-head")).to_contain_text("Anomaly on press-right")
    pictures = page.get_by_test_id("shots-press-right").locator("img")
    expect(pictures).to_have_count(2)
    for i in range(2):
        expect(pictures.nth(i)).to_be_visible()
        page.wait_for_function(
            "i => document.querySelectorAll('[data-testid=shots-press-right] img')[i].naturalWidth > 100",
            arg=i,
        )
    page.get_by_test_id("trouble-press-right").click()
    expect(page.get_by_test_id("why-sentence")).to_contain_text("not like the good ones")


def test_a_camera_that_goes_away_is_named_with_what_to_do(visit, site: httpx.Client) -> None:
    site.post("/fake/new/packing/sealer")
    page = visit("/")
    expect(page.get_by_test_id("line-packing")).to_be_visible()
    expect(page.get_by_test_id("why-sealer")).to_contain_text("no release yet")
    expect(page.get_by_test_id("answer-head")).to_contain_text(re.compile("needs? you"))
    site.post("/fake/silence/sealer")
    expect(page.get_by_test_id("state-sealer")).to_contain_text("Offline")
    page.get_by_test_id("card-sealer").click()
    expect(page.get_by_test_id("why-remedy")).to_contain_text("Check its power")


def test_setting_a_threshold_asks_for_that_number_and_says_when_it_is_applied(
    visit, site: httpx.Client
) -> None:
    page = visit("/camera/press-left")
    expect(page.get_by_test_id("threshold-value")).to_have_value("1.6")
    page.get_by_test_id("threshold-value").fill("1.85")
    expect(page.get_by_test_id("threshold-preview")).to_contain_text("Over the last two minutes")
    page.get_by_test_id("threshold-set").click()
    expect(page.get_by_test_id("threshold-note")).to_contain_text("Asked for 1.85")
    expect(page.get_by_test_id("threshold-note")).to_contain_text("applied")
    expect(page.get_by_test_id("threshold-now")).to_have_text("now 1.85")
    asked = [arguments for what, arguments in site.get("/fake/calls").json() if what == "set_threshold"]
    assert asked[-1] | {"who": ""} == {
        "device": "press-left",
        "value": 1.85,
        "false_rejects": None,
        "who": "",
    }


def test_a_threshold_as_a_share_of_false_rejects_is_sent_as_a_rate(visit, site: httpx.Client) -> None:
    page = visit("/camera/press-right")
    page.get_by_text("As false rejects").click()
    page.get_by_test_id("threshold-share").fill("2")
    expect(page.get_by_test_id("threshold-preview")).to_contain_text("1 of 50 good parts")
    page.get_by_test_id("threshold-set").click()
    expect(page.get_by_test_id("threshold-note")).to_contain_text("applied as 1.45")
    asked = [arguments for what, arguments in site.get("/fake/calls").json() if what == "set_threshold"]
    assert asked[-1]["value"] is None
    assert asked[-1]["false_rejects"] == pytest.approx(0.02)


def test_a_refusal_is_shown_in_its_own_words(visit, site: httpx.Client) -> None:
    page = visit("/camera/press-left")
    expect(page.get_by_test_id("threshold-now")).to_contain_text("now")
    site.post("/fake/refuse", params={"on": True})
    try:
        page.get_by_test_id("threshold-set").click()
        told = page.locator(".q-notification")
        expect(told).to_contain_text(
            "press-left: 0.5 is below every good part. Choose a higher one.", timeout=5_000
        )
        expect(page.get_by_text("Traceback")).to_have_count(0)
    finally:
        site.post("/fake/refuse", params={"on": False})


def test_inspection_is_paused_and_resumed(visit) -> None:
    page = visit("/camera/press-left")
    page.get_by_test_id("inspection").click()
    expect(page.get_by_test_id("state")).to_contain_text("Paused")
    expect(page.get_by_test_id("inspection")).to_contain_text("Resume inspection")
    page.get_by_test_id("inspection").click()
    expect(page.get_by_test_id("inspection")).to_contain_text("Pause inspection")
    expect(page.get_by_test_id("state")).not_to_contain_text("Paused")


def test_a_release_is_sent_and_its_progress_shown(visit, site: httpx.Client) -> None:
    page = visit("/camera/outfeed")
    expect(page.get_by_test_id("release-select")).to_have_value(re.compile("bracket-1.3.0"))
    page.get_by_test_id("release-push").click()
    expect(page.get_by_test_id("release-state")).to_contain_text("downloading")
    expect(page.get_by_test_id("release-installed")).to_have_text("runs bracket-1.3.0", timeout=15_000)
    sent = [arguments for what, arguments in site.get("/fake/calls").json() if what == "start_rollout"]
    assert sent[-1]["devices"] == ["outfeed"]
    assert sent[-1]["release"] == "bracket-1.3.0"


def test_a_file_that_is_no_release_is_refused_and_a_release_taken(visit) -> None:
    page = visit("/camera/outfeed")
    upload = page.locator("[data-testid=release-upload] input[type=file]")
    upload.set_input_files({"name": "x.kenpin", "mimeType": "application/zip", "buffer": b"nothing"})
    expect(page.locator(".q-notification")).to_contain_text("not a release. Make it with `kenpin train`.")
    upload.set_input_files({"name": "y.kenpin", "mimeType": "application/zip", "buffer": b"PK rest"})
    expect(page.locator(".q-notification").last).to_contain_text("is here and can be sent")


def test_an_anomaly_is_enlarged_with_its_heatmap(visit, site: httpx.Client) -> None:
    page = visit("/camera/press-left")
    newest = page.get_by_test_id("anomaly").first
    before = newest.get_attribute("data-event")
    site.post("/fake/anomaly/press-left")
    expect(newest).not_to_have_attribute("data-event", before)
    newest.click()
    zoom = page.get_by_test_id("zoom")
    expect(zoom.locator("img")).to_have_count(2)
    expect(zoom).to_contain_text("threshold")


@pytest.mark.parametrize(
    ("path", "scheme"),
    [
        ("/", "light"),
        ("/", "dark"),
        ("/camera/press-left", "dark"),
        ("/camera/nobody", "light"),
        ("/releases", "dark"),
        ("/releases/bracket-1.3.0", "light"),
    ],
)
def test_a_phone_never_scrolls_sideways(visit, path: str, scheme: str) -> None:
    page = visit(path, PHONE, scheme)
    expect(page.get_by_test_id("bar")).to_be_visible()
    page.wait_for_timeout(600)  # charts and pictures come after the first paint
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]


def test_the_releases_are_listed_with_who_runs_them(visit) -> None:
    page = visit("/")
    page.get_by_test_id("to-releases").click()
    expect(page.get_by_test_id("release-bracket-1.2.0")).to_contain_text("runs on")
    expect(page.get_by_test_id("release-bracket-1.3.0")).to_contain_text("patch_knn")
    page.get_by_test_id("release-bracket-1.2.0").click()
    expect(page.get_by_test_id("release-runs")).to_contain_text("press-right")
    expect(page.get_by_test_id("no-report")).to_be_visible()


def test_a_release_s_page_shows_its_report_and_who_comes_to_run_it(visit, site: httpx.Client) -> None:
    page = visit("/releases/bracket-1.3.0")
    expect(page.get_by_test_id("release-summary")).to_contain_text("84 pictures")
    report = page.get_by_test_id("release-report")
    assert report.get_attribute("sandbox") == ""
    expect(report.content_frame.locator("h1")).to_have_text("bracket-1.3.0")
    assert page.get_by_test_id("release-file").get_attribute("href") == "/api/v1/releases/bracket-1.3.0/file"
    runs = page.get_by_test_id("release-runs")
    expect(runs.get_by_test_id("runs-press-right")).to_have_count(0)
    site.post("/fake/send/bracket-1.3.0/press-right")
    expect(runs.get_by_test_id("runs-press-right")).to_contain_text("downloading")
    expect(runs.get_by_test_id("runs-press-right")).to_contain_text("runs it", timeout=15_000)


def test_a_release_can_be_looked_at_before_it_is_sent(visit) -> None:
    page = visit("/camera/press-left")
    chosen = page.get_by_test_id("release-select")
    expect(chosen).to_have_value(re.compile("bracket-1"))
    label = chosen.evaluate("e => e.textContent || e.value").partition(" ")[0]
    expect(page.get_by_test_id("release-look")).to_have_attribute("href", f"/releases/{label}")
    expect(page.locator("a", has=page.get_by_test_id("release-installed"))).to_have_attribute(
        "href", "/releases/bracket-1.2.0"
    )


def test_a_release_that_is_not_here_is_said_to_be_so(visit) -> None:
    page = visit("/releases/<b>no-1")
    expect(page.get_by_test_id("unknown-release")).to_contain_text("There is no release <b>no-1")


def test_pictures_are_cached_for_good_and_strangers_get_none(site: httpx.Client, visit) -> None:
    page = visit("/camera/press-right")
    source = page.get_by_test_id("anomaly").first.locator("img").first.get_attribute("src")
    answer = site.get(source)
    assert answer.headers["content-type"] == "image/jpeg"
    assert "immutable" in answer.headers["cache-control"]
    assert site.get("/pages/pictures/not-a-hash.jpg").status_code == 404
