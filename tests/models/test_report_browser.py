"""The report in a real browser, opened from the disk as somebody does who was sent it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import cv2
import pytest
from playwright.sync_api import BrowserContext

from kenpin_agent.cameras.conveyor import render as render_part
from kenpin_agent.pictures import list_pictures
from kenpin_models.report import ReportData, render
from support import ROOT, wait_until
from support.browser import LAPTOP, PHONE, chromium
from support.training_report import gather

SCREENSHOTS = bool(os.environ.get("KENPIN_SCREENSHOTS"))
"""With it, the picture in docs/images is taken anew, of a training with more pictures and every head."""


@pytest.fixture(scope="module")
def brackets(tmp_path_factory: pytest.TempPathFactory) -> ReportData:
    """Of parts on the simulated conveyor."""
    folder = tmp_path_factory.mktemp("brackets")
    good, bad = folder / "good", folder / "bad"
    for path, count, defects in ((good, 14, [None]), (bad, 6, ["scratch", "rust", "missing_corner"])):
        path.mkdir()
        for number in range(count * (15 if SCREENSHOTS and path is good else 2)):
            image, _ = render_part(number, path is bad, defects[number % len(defects)], "bracket")
            cv2.imwrite(str(path / f"bracket-{number:04d}.png"), image)
    return gather(
        list_pictures(good),
        bad,
        size=128,
        release="bracket-1.3.0",
    )


@pytest.fixture(scope="module")
def report(brackets: ReportData, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its file."""
    file = tmp_path_factory.mktemp("report") / "bracket-1.3.0.html"
    file.write_text(render(brackets), encoding="utf-8")
    return file


@pytest.fixture(scope="module")
def browser() -> Iterator[BrowserContext]:
    with chromium() as context:
        yield context


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("viewport", [LAPTOP, PHONE, {"width": 320, "height": 600}])
def test_it_opens_from_disk_on_any_screen_and_asks_for_nothing(
    report: Path, browser: BrowserContext, viewport: dict[str, int], scheme: str
) -> None:
    page = browser.new_page()
    asked: list[str] = []
    complaints: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.on("console", lambda message: complaints.append(message.text))
    page.set_viewport_size(viewport)
    page.emulate_media(color_scheme=scheme)
    page.goto(report.as_uri())
    assert [url for url in asked if not url.startswith("data:")] == [report.as_uri()]
    assert complaints == []
    assert page.evaluate("document.documentElement.scrollWidth") <= viewport["width"]
    assert page.evaluate("[...document.images].every(i => i.complete && i.naturalWidth > 0)")
    brightness = page.evaluate("getComputedStyle(document.body).backgroundColor.match(/\\d+/)[0]")
    assert (int(brightness) < 64) == (scheme == "dark")
    page.close()


def test_words_can_be_told_from_their_ground(report: Path, browser: BrowserContext) -> None:
    """WCAG AA, 4.5 to 1, for every word in light and dark."""
    page = browser.new_page()
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        page.goto(report.as_uri())
        assert page.evaluate(_FAINT) == [], scheme
    page.close()


def test_it_prints_dark_on_white(report: Path, browser: BrowserContext, tmp_path: Path) -> None:
    page = browser.new_page()
    page.emulate_media(color_scheme="dark", media="print")
    page.goto(report.as_uri())
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert page.evaluate("getComputedStyle(document.body).color") == "rgb(27, 31, 36)"
    assert page.pdf(format="A4").count(b"/Type /Page\n") <= 10
    page.close()


def test_a_section_is_a_click_away_from_what_it_is_about(
    brackets: ReportData, browser: BrowserContext, tmp_path: Path
) -> None:
    noted = replace(brackets, calibration=brackets.calibration.model_copy(update={"note": "Too few."}))
    (tmp_path / "noted.html").write_text(render(noted), encoding="utf-8")
    page = browser.new_page()
    page.goto((tmp_path / "noted.html").as_uri())
    page.get_by_role("link", name="How far to trust it").click()
    top = "document.querySelector('#trust').getBoundingClientRect().top"
    wait_until(lambda: page.evaluate(top) < 200, what="the section")
    page.close()


def test_its_picture_for_the_guide(report: Path, browser: BrowserContext, tmp_path: Path) -> None:
    page = browser.new_page()
    page.set_viewport_size({"width": 1120, "height": 1480})
    page.goto(report.as_uri())
    page.screenshot(path=(ROOT / "docs" / "images" if SCREENSHOTS else tmp_path) / "report.png")
    page.close()


# Each text's contrast with the nearest ground that is painted behind it.
_FAINT = """() => {
  const rgb = (text) => text.match(/[\\d.]+/g).map(Number);
  const light = ([r, g, b]) => [r, g, b].map((v) => v / 255)
    .map((v) => (v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4))
    .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  const ground = (element) => {
    for (let e = element; e; e = e.parentElement) {
      const c = rgb(getComputedStyle(e).backgroundColor);
      if (c.length === 3 || c[3] > 0) return c;
    }
    return [255, 255, 255];
  };
  const faint = [];
  for (const e of document.querySelectorAll("main *")) {
    if (![...e.childNodes].some((n) => n.nodeType === 3 && n.data.trim())) continue;
    const style = getComputedStyle(e);
    const ink = light(rgb(e.namespaceURI.includes("svg") ? style.fill : style.color));
    const [a, b] = [ink, light(ground(e))].sort((x, y) => y - x);
    if ((a + 0.05) / (b + 0.05) < 4.5) faint.push(`${e.tagName}.${e.className}: ${e.textContent.slice(0, 40)}`);
  }
  return faint;
}"""
