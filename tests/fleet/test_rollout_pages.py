"""Twelve real agents, and the pages of what is rolled out to them: one that stops at its canary, one that completes.

With KENPIN_SCREENSHOTS set, the pictures in docs/images are taken anew.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from support import ROOT, require, wait_until
from support.brackets import (
    NEW_INPUT,
    NEW_THRESHOLD,
    OLD_INPUT,
    OLD_THRESHOLD,
    play,
    write_bracket_release,
    write_brackets,
)
from support.fleet import Fleet

if TYPE_CHECKING:
    from playwright.sync_api import Page

IMAGES = ROOT / "docs" / "images"
CAMERAS = [
    (line, f"{line}-{number}") for number in range(1, 5) for line in ("stamping", "milling", "finishing")
]
SHARED = {"memory_mb": None}  # eleven agents in one process would be blamed for each other's memory


def roll_out(fleet: Fleet, version: str, **asked: Any) -> str:
    body = {"release": {"name": "bracket", "version": version}, **asked}
    answer = httpx.post(f"{fleet.story.page}/api/v1/rollouts", json=body, timeout=30)
    assert answer.is_success, answer.text
    return str(answer.json()["id"])


def start_twelve(fleet: Fleet) -> None:
    """Twelve cameras on three lines, all on 1.2.0, and two newer releases that wait."""
    pictures = write_brackets(fleet.folder / "brackets")
    seats = [
        play(line, device, pictures, seed=seed, rate_hz=5.0) for seed, (line, device) in enumerate(CAMERAS)
    ]
    fleet.host(seats[:1])
    fleet.host(seats[1:])
    for version, size, threshold in (
        ("1.2.0", OLD_INPUT, OLD_THRESHOLD),
        ("1.3.0-rc1", OLD_INPUT, 1e-6),
        ("1.3.0", NEW_INPUT, NEW_THRESHOLD),
    ):
        fleet.story.upload(
            write_bracket_release(fleet.folder / f"{version}.kenpin", version, size, threshold)
        )
    everywhere = roll_out(
        fleet, "1.2.0", waves=[{"share": 1.0}], policy={"trial": SHARED}, why="The first day"
    )
    assert fleet.ended(everywhere, 60)["status"] == "finished"
    wait_until(
        lambda: all(fleet.judged().get(device, {})["bracket-1.2.0"] > 60 for _, device in CAMERAS),
        timeout_s=60,
        what="parts to compare with",
    )


def shoot(
    page: Page, url: str, folder: Path, name: str, *ready: str, most_px: int = 2400, phone_at: str = "bar"
) -> None:
    """Take pictures. Laptop: the page from its top; phone: what one sees of it at `phone_at`."""
    from playwright.sync_api import expect

    from support.browser import LAPTOP, PHONE

    images = IMAGES if os.environ.get("KENPIN_SCREENSHOTS") else folder
    for size, viewport in (("laptop", LAPTOP), ("phone", PHONE)):
        page.set_viewport_size(viewport)  # type: ignore[arg-type]  # a plain dict
        for scheme in ("light", "dark"):
            page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]  # one of its literals
            page.goto(url)
            for testid in ready:
                expect(page.get_by_test_id(testid).first).to_be_visible()
            page.wait_for_function("[...document.images].every(i => i.complete)")
            page.wait_for_timeout(1200)  # fonts, and bars that grow
            file = images / f"{name}-{size}-{scheme}.png"
            if size == "phone":
                page.get_by_test_id(phone_at).evaluate("e => e.scrollIntoView()")
                page.screenshot(path=file)
                continue
            tall = page.evaluate("document.documentElement.scrollHeight")
            clip = {"x": 0, "y": 0, "width": viewport["width"], "height": min(tall, most_px)}
            page.screenshot(path=file, full_page=True, clip=clip)  # type: ignore[arg-type]  # a plain dict


@pytest.mark.slow
@pytest.mark.timeout(420)
def test_a_rollout_that_stops_and_one_that_completes_are_followed_and_approved_on_their_pages(
    fleet: Fleet, tmp_path: Path
) -> None:
    require("chromium")
    from playwright.sync_api import TimeoutError, expect

    from support.browser import LAPTOP, chromium

    start_twelve(fleet)
    base = fleet.story.page

    bad = roll_out(
        fleet,
        "1.3.0-rc1",
        policy={"trial": {**SHARED, "reject_rate": 1.0}},
        gates={"soak_s": 60.0, "reject_rate": {"min_parts": 20}},
        why="Trained overnight, never tried on the line",
    )
    with chromium() as context:
        page = context.new_page()
        page.goto(f"{base}/rollouts")
        expect(page.get_by_test_id(f"status-{bad}")).to_contain_text("Went back", timeout=60_000)
        page.get_by_test_id(f"rollout-{bad}").click()
        expect(page.get_by_test_id("gate-reject-rate")).to_contain_text("closed")
        expect(page.get_by_test_id("gate-reject-rate")).to_contain_text("rejects")
        expect(page.get_by_test_id("wave-2")).to_contain_text("never begun")
        wait_until(lambda: fleet.rollout(bad)["finished"], timeout_s=30, what="the way back")
        shoot(page, f"{base}/rollouts/{bad}", tmp_path, "rollout-halted", "timeline", "gate-reject-rate")

        good = roll_out(
            fleet,
            "1.3.0",
            policy={"trial": SHARED, "shadow": {"frames": 160}, "approval": True},
            gates={"shadow": {"min_frames": 30}, "reject_rate": {"min_parts": 20}},
            why="Sees broken corners and rust",
        )
        page.goto(f"{base}/rollouts/{good}")
        expect(page.get_by_test_id("status")).to_contain_text("Waits for you", timeout=90_000)
        expect(page.get_by_test_id("disagreement").first).to_be_visible(timeout=20_000)
        page.wait_for_function(
            "[...document.querySelectorAll('[data-testid=disagreement] img')].every(i => i.naturalWidth > 60)"
        )
        page.get_by_test_id("disagreement").first.get_by_test_id("new-is-right").click()
        expect(page.get_by_test_id("judged")).to_contain_text("1 for the new one")
        shoot(
            page,
            f"{base}/rollouts/{good}",
            tmp_path,
            "rollout-gallery",
            "disagreement",
            "shadows",
            phone_at="disagreements",
        )

        page.set_viewport_size(LAPTOP)  # type: ignore[arg-type]  # a plain dict

        def approved_to_the_end() -> bool:
            if page.get_by_test_id("verb-approve").is_visible():
                with suppress(TimeoutError):  # it went while we reached for it
                    page.get_by_test_id("verb-approve").click(timeout=2_000)
            page.wait_for_timeout(500)
            return bool(fleet.rollout(good)["finished"])

        wait_until(approved_to_the_end, timeout_s=150, what="the good one's end")
        expect(page.get_by_test_id("status")).to_contain_text("Finished")
        for _, device in CAMERAS:
            expect(page.get_by_test_id(f"phase-{device}")).to_have_text("In use")
        shoot(
            page, f"{base}/rollouts/{good}", tmp_path, "rollout-complete", "timeline", "waves", most_px=1240
        )
        shoot(page, f"{base}/rollouts", tmp_path, "rollouts", f"rollout-{good}", f"rollout-{bad}")
