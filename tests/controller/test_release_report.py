"""A release's report on the controller: kept with the release, and shown so that it can do nothing."""

from __future__ import annotations

import httpx
import pytest
from fastapi.responses import HTMLResponse

from kenpin_controller.app import build_app
from support.browser import chromium

REPORT = b"<!doctype html><title>report</title><p>Of 100 good parts about 1 will be rejected.</p>"
HOSTILE = b"""<!doctype html><title>report</title><p id=said>tame</p>
<script>document.getElementById('said').textContent = 'ran'; parent.document.title = 'owned'; fetch('/api/v1/devices')</script>
<img src="/api/v1/lines" onerror="top.location = '/owned'"><img src="https://elsewhere.example/spy.gif">
<link rel=stylesheet href="/style.css"><style>p { background: url(/spied) } @import "/imported";</style>
<meta http-equiv=refresh content="0;url=/refreshed"><iframe src="/framed"></iframe>
<form action="/api/v1/rollouts" method=post><button id=send>Details</button></form>
<a id=up target=_top href="/up">more</a>"""
PARENT = '<!doctype html><title>kenpin</title><iframe sandbox="" src="{}" width=600 height=400></iframe>'


def test_it_comes_with_the_release_and_the_release_comes_back_whole(api, make):
    file = make.release(report=REPORT)
    added = api.post("/releases", content=file).json()
    assert added["summary"]["report"] is True
    assert (added["summary"]["precision"], added["summary"]["decoder"]) == ("float32", None)
    assert api.get("/releases/metal-1").json() == added
    report = api.get("/releases/metal-1/report")
    assert (report.status_code, report.content) == (200, REPORT)
    download = api.get("/releases/metal-1/file")
    assert download.content == file
    assert download.headers["content-disposition"] == 'attachment; filename="metal-1.kenpin"'


def test_it_may_run_nothing_load_nothing_and_be_of_no_origin(api, make):
    api.post("/releases", content=make.release(report=REPORT))
    headers = api.get("/releases/metal-1/report").headers
    policy = [rule.strip() for rule in headers["content-security-policy"].split(";")]
    assert {
        "sandbox",
        "default-src 'none'",
        "form-action 'none'",
        "base-uri 'none'",
        "frame-ancestors 'self'",
    } <= set(policy)
    assert headers["content-type"] == "text/html; charset=utf-8"
    assert headers["x-content-type-options"] == "nosniff"


def test_a_release_without_one_says_so(api, make):
    assert api.post("/releases", content=make.release()).json()["summary"]["report"] is False
    answer = api.get("/releases/metal-1/report")
    assert (answer.status_code, answer.json()["error"]) == (404, "it carries no report")
    assert "kenpin train" in answer.json()["remedy"]


@pytest.mark.parametrize("lies", [b"<p>another</p>", b""])
def test_a_report_that_is_not_the_manifest_s_is_refused_with_its_release(api, make, lies):
    answer = api.post("/releases", content=make.release(report=REPORT, as_report=lies))
    assert answer.status_code == 422
    assert "report.html is not what its manifest says" in answer.json()["error"]
    assert api.get("/releases").json() == []


@pytest.fixture
def arrived():
    """What was asked of the site."""
    return []


@pytest.fixture
def guarded(controller, serve_app, arrived):
    """A site that asks for a token, with a page that frames the hostile report as the release's page does."""
    app = build_app(controller, token="s3cret", with_pages=False)
    app.get("/framing")(lambda: HTMLResponse(PARENT.format("/api/v1/releases/metal-1/report")))

    @app.middleware("http")
    async def note(request, call_next):
        arrived.append(request.url.path)
        return await call_next(request)

    return serve_app(app)


def test_a_hostile_report_is_a_picture_of_itself(guarded, arrived, make):
    sent = httpx.post(
        f"{guarded}/api/v1/releases",
        content=make.release(report=HOSTILE),
        headers={"authorization": "Bearer s3cret"},
    )
    assert sent.status_code == 201
    with chromium() as context:
        page = context.new_page()
        fetched: list[str] = []
        context.on("requestfinished", lambda request: fetched.append(request.url))
        page.goto(f"{guarded}/framing?token=s3cret")
        shown = page.frame_locator("iframe").locator("#said")
        assert shown.inner_text() == "tame"  # and the reader's cookie let it in
        for click in ("#send", "#up"):
            page.frame_locator("iframe").locator(click).click(no_wait_after=True)
        page.wait_for_timeout(300)
        assert page.title() == "kenpin"
        page.goto(f"{guarded}/api/v1/releases/metal-1/report")
        assert page.locator("#said").inner_text() == "tame"
        page.wait_for_timeout(300)
        shown_only = {"/api/v1/releases", "/framing", "/api/v1/releases/metal-1/report", "/favicon.ico"}
        assert set(arrived) <= shown_only
        assert all(url.startswith(guarded) for url in fetched)
