"""Rollouts in a real browser, over a fleet of fake devices in a process of its own."""

from __future__ import annotations

import re
from collections.abc import Iterator

import httpx
import pytest
from playwright.sync_api import BrowserContext, Page, expect

from support import ROOT
from support.browser import PHONE, chromium
from support.fed_pages import Visit, fed_pages, visitor

IMAGES = ROOT / "docs" / "images"


@pytest.fixture(scope="module")
def site() -> Iterator[httpx.Client]:
    with fed_pages("updates") as client:
        client.post("/fake/report/bracket-1.3.0", content=b"<!doctype html><title>report</title>")
        yield client


@pytest.fixture(scope="module")
def context() -> Iterator[BrowserContext]:
    with chromium() as opened:
        yield opened


@pytest.fixture
def visit(context: BrowserContext, site: httpx.Client) -> Iterator[Visit]:
    site.post("/fake/fill")
    with visitor(context, site) as open_page:
        yield open_page


def asked(site: httpx.Client, what: str) -> dict:
    """The arguments of the last call."""
    return [arguments for name, arguments in site.get("/fake/calls").json() if name == what][-1]


def say_why(page: Page, why: str) -> None:
    expect(page.get_by_test_id("why-do")).to_be_disabled()
    page.get_by_test_id("why-reason").fill(why)
    page.get_by_test_id("why-do").click()


def test_the_rollouts_are_listed_newest_first_with_their_state(visit: Visit) -> None:
    page = visit("/")
    page.get_by_test_id("to-rollouts").click()
    rows = page.locator("[data-testid=rollouts] > a")
    expect(rows).to_have_count(2)
    expect(rows.nth(0)).to_contain_text("bracket-1.3.0")
    expect(rows.nth(0)).to_contain_text("Waits for you")
    expect(rows.nth(0)).to_contain_text("Learned from yesterday's missed scratches")
    expect(rows.nth(1)).to_contain_text("Went back")
    rows.nth(1).click()
    expect(page.get_by_test_id("sentence")).to_contain_text("Stopped at the canary")


def test_a_halted_rollout_says_what_stopped_it_and_whom_it_spared(visit: Visit) -> None:
    page = visit("/rollouts/r1")
    expect(page.get_by_test_id("status")).to_contain_text("Went back")
    expect(page.get_by_test_id("gate-reject-rate")).to_contain_text("Reject rate closed")
    expect(page.get_by_test_id("gate-reject-rate")).to_contain_text("41 of 60 parts")
    expect(page.get_by_test_id("phase-stamping-1")).to_have_text("Back on the old one")
    expect(page.get_by_test_id("wave-2")).to_contain_text("9 cameras, never begun")
    expect(page.get_by_test_id("timeline").locator(".k-entry").first).to_contain_text("back on bracket-1.2.0")
    expect(page.get_by_test_id("verbs").locator("button")).to_have_count(0)


def test_the_shadow_report_stands_beside_the_old_release_with_its_plot(visit: Visit) -> None:
    page = visit("/rollouts/r2")
    card = page.get_by_test_id("shadow-stamping-1")
    expect(card).to_contain_text("300 of 300 frames")
    expect(card).to_contain_text("KS 0.06, PSI 0.04")
    expect(card.locator("svg polyline")).to_have_count(2)
    expect(card).to_contain_text("A threshold of 7.60 would reject 1 % of these parts, if all are good.")


def test_who_is_right_is_said_with_a_click_and_can_be_taken_back(visit: Visit, site: httpx.Client) -> None:
    page = visit("/rollouts/r2")
    frames = page.get_by_test_id("disagreement")
    expect(frames).to_have_count(6)
    expect(page.get_by_test_id("judged")).to_contain_text("5 to look at")
    expect(page.get_by_test_id("what-answers-do")).to_contain_text("80% for the new one")
    page.wait_for_function(
        "[...document.querySelectorAll('[data-testid=disagreement] img')].every(i => i.naturalWidth > 100)"
    )
    first = frames.first
    first.get_by_test_id("new-is-right").click()
    expect(first.get_by_test_id("new-is-right")).to_have_attribute("aria-pressed", "true")
    expect(page.get_by_test_id("judged")).to_contain_text("4 to look at")
    assert asked(site, "judge_disagreement")["right"] == "new"
    first.get_by_test_id("old-is-right").click()
    expect(first.get_by_test_id("new-is-right")).to_have_attribute("aria-pressed", "false")
    expect(page.get_by_test_id("judged")).to_contain_text("1 for the old one")


def test_all_disagreements_are_judged_by_keyboard_one_after_the_other(visit: Visit) -> None:
    page = visit("/rollouts/r2")
    page.get_by_test_id("look-closer").first.focus()
    page.keyboard.press("Enter")
    zoom = page.get_by_test_id("dispute-zoom")
    for left in range(4, 0, -1):
        zoom.get_by_test_id("new-is-right").focus()
        page.keyboard.press("Enter")
        expect(page.get_by_test_id("judged")).to_contain_text(f"{left} to look at")
    zoom.get_by_test_id("new-is-right").focus()
    page.keyboard.press("Enter")
    expect(zoom).not_to_be_visible()
    expect(page.get_by_test_id("judged")).to_contain_text("all looked at")


def test_a_proposed_threshold_is_approved_with_the_switch(visit: Visit, site: httpx.Client) -> None:
    page = visit("/rollouts/r2")
    page.get_by_test_id("approve-proposed-stamping-1").click()
    expect(page.get_by_test_id("phase-stamping-1")).to_have_text("On trial")
    expect(page.get_by_test_id("status")).not_to_contain_text("Waits for your yes")
    call = asked(site, "approve_device")
    assert (call["device"], call["with_threshold"]) == ("stamping-1", True)


def test_pausing_needs_no_reason_and_aborting_does(visit: Visit, site: httpx.Client) -> None:
    page = visit("/rollouts/r2")
    page.get_by_test_id("verb-pause").click()
    expect(page.get_by_test_id("status")).to_contain_text("Paused")
    page.get_by_test_id("verb-resume").click()
    expect(page.get_by_test_id("verb-pause")).to_be_visible()
    page.get_by_test_id("verb-abort").click()
    say_why(page, "the new lamp comes first")
    expect(page.get_by_test_id("status")).to_contain_text("Going back")
    call = asked(site, "abort_rollout")
    assert (call["why"], call["revert"]) == ("the new lamp comes first", True)
    expect(page.get_by_test_id("timeline")).to_contain_text("the new lamp comes first")


def test_leaving_a_question_changes_nothing(visit: Visit, site: httpx.Client) -> None:
    page = visit("/rollouts/r2")
    before = len(site.get("/fake/calls").json())
    page.get_by_test_id("verb-abort").click()
    page.get_by_test_id("why-reason").fill("no, wait")
    page.keyboard.press("Escape")
    expect(page.get_by_test_id("ask-why")).not_to_be_visible()
    assert len(site.get("/fake/calls").json()) == before


def test_a_camera_is_skipped_with_a_reason(visit: Visit, site: httpx.Client) -> None:
    page = visit("/rollouts/r2")
    page.get_by_test_id("more-milling-2").click()
    page.get_by_test_id("skip-milling-2").click()
    say_why(page, "being moved")
    expect(page.get_by_test_id("passed-by").or_(page.get_by_test_id("reason-milling-2"))).to_contain_text(
        "being moved"
    )
    assert asked(site, "skip_device")["device"] == "milling-2"


def test_what_happens_shows_on_the_open_page_without_a_jump(visit: Visit, site: httpx.Client) -> None:
    page = visit("/rollouts/r2")
    wave = page.get_by_test_id("wave-1")
    expect(wave).to_be_visible()
    page.get_by_test_id("approve-stamping-1").click()
    expect(page.get_by_test_id("phase-stamping-1")).to_have_text("On trial")
    place = wave.bounding_box()
    for percent in (20, 60, 95):
        site.post("/fake/place/r2/stamping-1", params={"phase": "downloading", "percent": percent})
        expect(page.get_by_test_id("device-stamping-1")).to_contain_text(f"{percent} %")
        assert wave.bounding_box() == place


def test_two_clicks_roll_a_release_out_with_a_canary_and_a_shadow(visit: Visit, site: httpx.Client) -> None:
    page = visit("/releases/bracket-1.3.0")
    page.get_by_test_id("roll-out").click()
    expect(page.get_by_test_id("rollout-preview")).to_contain_text("12 cameras, in waves of 1, 2, 9.")
    page.get_by_test_id("rollout-start").click()
    expect(page.get_by_test_id("sentence")).to_contain_text("the canary")
    assert re.search(r"/rollouts/r\d+$", page.url)
    plan = asked(site, "roll_out")["plan"]
    assert plan["subject"]["release"] == {"name": "bracket", "version": "1.3.0"}
    assert plan["policy"]["shadow"]["frames"] == 300
    assert plan["gates"]["shadow"]["min_frames"] == 30
    assert len(plan["waves"]) == 3


def test_a_rollout_is_started_to_named_cameras_at_night_with_a_person_s_yes(
    visit: Visit, site: httpx.Client
) -> None:
    page = visit("/releases/bracket-1.3.0")
    page.get_by_test_id("roll-out").click()
    choose(page, "rollout-to", "Cameras by name")
    expect(page.get_by_test_id("rollout-start")).to_be_disabled()
    choose(page, "rollout-names", "milling-1")
    page.keyboard.press("Escape")
    choose(page, "rollout-approval", "before any camera switches")
    page.get_by_test_id("rollout-window").click()
    page.get_by_test_id("rollout-why").fill("a new lamp")
    page.get_by_test_id("rollout-start").click()
    expect(page.get_by_test_id("sentence")).to_be_visible()
    plan = asked(site, "roll_out")["plan"]
    assert plan["targets"] == {"devices": ["milling-1"]}
    assert plan["policy"]["approval"]
    assert plan["window"] == {"from_h": 22, "until_h": 6}
    assert plan["why"] == "a new lamp"


def test_a_release_is_recalled_with_a_reason(visit: Visit, site: httpx.Client) -> None:
    page = visit("/releases/bracket-1.2.0")
    expect(page.get_by_test_id("release-rollouts")).not_to_be_visible()
    page.get_by_test_id("recall").click()
    say_why(page, "misses scratches")
    expect(page.locator(".q-notification").last).to_contain_text("is recalled")
    call = asked(site, "recall_release")
    assert (call["label"], call["why"], call["send_back"]) == ("bracket-1.2.0", "misses scratches", True)


def test_a_release_s_page_shows_its_rollouts_and_whether_it_is_signed(visit: Visit) -> None:
    page = visit("/releases/bracket-1.3.0")
    expect(page.get_by_test_id("release-rollouts")).to_contain_text("Waits for you")
    expect(page.get_by_test_id("signed")).to_contain_text("Signed")


def test_a_camera_s_page_says_what_its_deployment_waits_for(visit: Visit) -> None:
    page = visit("/camera/stamping-1")
    expect(page.get_by_test_id("release-state")).to_contain_text("bracket-1.3.0 lies ready")
    expect(page.get_by_test_id("release-state")).to_contain_text("waited 95 s for a person's yes")
    page.get_by_test_id("to-rollout").click()
    expect(page.get_by_test_id("sentence")).to_be_visible()


def test_a_shadowing_camera_shows_how_far_it_is(visit: Visit, site: httpx.Client) -> None:
    page = visit("/camera/milling-1")
    site.post("/fake/shadow/milling-1", params={"frames": 120})
    card = page.get_by_test_id("shadow-milling-1")
    expect(card).to_contain_text("120 of 300 frames so far")
    expect(page.get_by_test_id("release-state")).to_contain_text("judges live frames beside")
    page.goto(str(site.base_url))
    expect(page.get_by_test_id("release-milling-1")).to_have_text(re.compile("bracket-1.3.0 beside it, 40%"))


def test_a_camera_is_sent_back_with_one_click_and_a_reason(visit: Visit, site: httpx.Client) -> None:
    page = visit("/camera/milling-2")
    expect(page.get_by_test_id("return")).to_contain_text("Back to bracket-1.1.0")
    page.get_by_test_id("return").click()
    say_why(page, "rejects good parts")
    expect(page.locator(".q-notification").last).to_contain_text("on its way back")
    assert asked(site, "return_device")["why"] == "rejects good parts"


def test_a_camera_is_pinned_and_unpinned(visit: Visit) -> None:
    page = visit("/camera/milling-3")
    page.get_by_test_id("pin").click()
    say_why(page, "acceptance test runs")
    expect(page.get_by_test_id("pinned")).to_contain_text("acceptance test runs")
    page.get_by_test_id("pin").click()
    expect(page.get_by_test_id("pinned")).not_to_be_visible()


def test_a_rollout_that_is_not_here_is_said_to_be_so(visit: Visit) -> None:
    page = visit("/rollouts/<b>r9")
    expect(page.get_by_test_id("unknown-rollout")).to_contain_text("There is no rollout <b>r9")


@pytest.mark.parametrize(
    ("path", "scheme"),
    [
        ("/rollouts", "dark"),
        ("/rollouts/r1", "light"),
        ("/rollouts/r2", "dark"),
        ("/camera/stamping-1", "light"),
        ("/releases/bracket-1.3.0", "dark"),
    ],
)
def test_a_phone_never_scrolls_sideways(visit: Visit, path: str, scheme: str) -> None:
    page = visit(path, PHONE, scheme)
    expect(page.get_by_test_id("bar")).to_be_visible()
    page.wait_for_timeout(800)  # what is asked for after the first paint
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]


def choose(page: Page, testid: str, option: str) -> None:
    expect(page.get_by_test_id(testid)).to_be_visible()
    page.wait_for_timeout(300)  # a dialog slides in; Quasar's label lies over its field
    page.get_by_test_id(testid).click(force=True)
    page.locator(".q-menu .q-item", has_text=option).first.click()
