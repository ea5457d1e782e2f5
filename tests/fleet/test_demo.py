"""`kenpin demo`, as a stranger runs it; and what they see when they open its page."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from support import ROOT, free_port, require, wait_until

IMAGES = ROOT / "docs" / "images"


def demo(*arguments: str, log: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "kenpin_controller.cli", "demo", *arguments],
        stdout=log.open("wb"),
        stderr=subprocess.STDOUT,
    )


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_without_mosquitto_the_demo_finds_every_stream_of_bad_parts(tmp_path: Path) -> None:
    log = tmp_path / "demo.log"
    status = demo("--seconds", "20", "--port", "0", "--broker", "amqtt", log=log).wait()
    assert status == 0, log.read_text()
    assert "amqtt, inside this process" in log.read_text()
    assert "every planted anomaly was seen" in log.read_text()


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("pictures", ["aliens", "cookie"])
def test_on_real_pictures_it_ends_with_the_table_of_who_was_right(pictures: str, tmp_path: Path) -> None:
    source = Path(require("data")) / pictures
    log = tmp_path / "demo.log"
    status = demo("--source", str(source), "--seconds", "30", "--port", "0", log=log).wait()
    said = log.read_text()
    assert status == 0, said
    recall, false_rejects = (
        float(said.rpartition(name)[2].split()[0]) for name in ("recall", "false rejects")
    )
    assert recall >= 0.90, said
    assert false_rejects <= 0.10, said


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_its_page_shows_the_lines_the_anomaly_and_a_camera(tmp_path: Path) -> None:
    """With KENPIN_SCREENSHOTS set, the pictures in docs/images are taken anew."""
    require("mosquitto")
    require("chromium")
    from playwright.sync_api import expect

    from support.browser import LAPTOP, PHONE, chromium

    images = IMAGES if os.environ.get("KENPIN_SCREENSHOTS") else tmp_path
    port, log = free_port(), tmp_path / "demo.log"
    running = demo("--port", str(port), "--seconds", "75", log=log)
    base = f"http://127.0.0.1:{port}"

    def all_have_seen_a_bad_part() -> bool:
        assert running.poll() is None, log.read_text()
        try:
            devices = httpx.get(f"{base}/api/v1/devices").json()
        except (httpx.TransportError, ValueError):
            return False
        return len(devices) == 3 and all(device["last_anomaly"] for device in devices)

    try:
        wait_until(all_have_seen_a_bad_part, timeout_s=120, what="a bad part on each camera")
        with chromium() as context:
            page = context.new_page()
            for name, viewport in (("laptop", LAPTOP), ("phone", PHONE)):
                page.set_viewport_size(viewport)  # type: ignore[arg-type]  # a plain dict
                for scheme in ("light", "dark"):
                    page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]  # one of its literals
                    page.goto(base)
                    for camera in ("cam-1", "cam-2", "cam-3"):
                        expect(page.get_by_test_id(f"card-{camera}")).to_be_visible()
                    page.wait_for_function(
                        "[...document.querySelectorAll('[data-testid^=shots-] img')]"
                        ".filter(i => i.naturalWidth > 0).length >= 6"
                    )
                    expect(page.get_by_test_id("answer-head")).to_contain_text("Anomal", timeout=30_000)
                    page.screenshot(path=images / f"wall-{name}-{scheme}.png", full_page=False)
                    page.goto(f"{base}/camera/cam-1")
                    expect(page.get_by_test_id("anomaly").first).to_be_visible()
                    page.wait_for_function(
                        "[...document.querySelectorAll('[data-testid=anomaly] img')]"
                        ".slice(0, 2).every(i => i.naturalWidth > 0)"
                    )
                    page.wait_for_timeout(1500)  # let the charts draw
                    page.screenshot(path=images / f"camera-{name}-{scheme}.png", full_page=name == "laptop")
        assert running.wait() == 0, log.read_text()
    finally:
        running.terminate()
        running.wait()
    assert len(list(images.glob("*.png"))) >= 8
