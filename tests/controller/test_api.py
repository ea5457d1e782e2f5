"""REST: what it promises, and that nothing anybody sends it is answered with a 5xx."""

import json
import statistics
import time

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import text

from kenpin_controller.api.guard import MAX_BODY_BYTES
from kenpin_controller.app import build_app
from kenpin_wire.messages import (
    MAX_WHOLE,
    AnomalyData,
    AnomalyEvent,
    Reply,
    ReportedConfig,
    ScoreAggregate,
    Telemetry,
    pack_scores,
)
from kenpin_wire.topics import Channel
from support import wait_until


@pytest.fixture
def agent(new_agent, knows):
    arrived = new_agent()
    knows("cam-1")
    return arrived


def test_a_threshold_set_by_rest_reaches_the_device_and_is_reported(api, agent):
    rev = api.put("/devices/cam-1/threshold", json={"value": 4.5}).json()["rev"]
    wait_until(lambda: agent.of(Channel.SET_CONFIG), what="the settings")
    desired = agent.of(Channel.SET_CONFIG)[-1]
    assert (desired.rev, desired.threshold.value) == (rev, 4.5)
    agent.say(
        Channel.REPORTED_CONFIG, ReportedConfig(rev=rev, release="metal-1", threshold=4.5, boot=1, seq=2)
    )

    def applied():
        found = api.get("/devices/cam-1").json()["settings"]
        return found and (found["rev"], found["desired_rev"], found["threshold"]) == (rev, rev, 4.5)

    wait_until(applied, what="the report")


def test_from_rest_to_the_device_takes_few_milliseconds(api, agent):
    took_ms = []
    for i in range(100):
        began_s = time.perf_counter()
        rev = api.put("/devices/cam-1/threshold", json={"value": float(i)}).json()["rev"]
        while not (agent.of(Channel.SET_CONFIG) and agent.of(Channel.SET_CONFIG)[-1].rev >= rev):
            time.sleep(0.0005)
        took_ms.append((time.perf_counter() - began_s) * 1000)
        agent.heard.clear()
    p95_ms = statistics.quantiles(took_ms, n=20)[-1]
    print(f"REST to device: p50 {statistics.median(took_ms):.1f} ms, p95 {p95_ms:.1f} ms")
    assert p95_ms < 250


def test_lines_and_devices_are_as_last_heard(api, agent, new_agent, knows):
    new_agent("cam-2", "line-b")
    knows("cam-2")
    agent.say(Channel.TELEMETRY, Telemetry(boot=1, seq=2, temperature_c=61.5, fps=12.0, camera="ok"))
    wait_until(lambda: api.get("/devices/cam-1").json()["temperature_c"] == 61.5, what="the telemetry")
    assert [(x["line"], x["devices"], x["online"]) for x in api.get("/lines").json()] == [
        ("line-a", ["cam-1"], 1),
        ("line-b", ["cam-2"], 1),
    ]
    device = api.get("/devices/cam-1").json()
    assert (device["online"], device["release"], device["camera"], device["fps"]) == (
        True,
        "metal-1",
        "ok",
        12.0,
    )
    assert [d["id"] for d in api.get("/devices", params={"line": "line-b"}).json()] == ["cam-2"]


def test_events_come_in_pages_with_their_pictures(api, agent, make):
    picture = make.jpeg(1)
    for i in range(7):
        data = AnomalyData(score=float(i), picture_sha256=make.sha256(picture))
        agent.say(Channel.EVENT_ANOMALY, AnomalyEvent(id=f"e{i}", data=data))
    agent.say(Channel.PICTURE, picture)
    wait_until(lambda: len(agent.acked()) == 7, what="the confirmations")
    first = api.get("/events", params={"limit": 5}).json()
    last = first[-1]
    rest = api.get("/events", params={"limit": 5, "before_s": last["time_s"], "before_id": last["id"]}).json()
    assert [e["id"] for e in first + rest] == [f"e{i}" for i in reversed(range(7))]
    assert api.get("/events/e3").json()["score"] == 3.0
    assert api.get("/events", params={"device": "cam-2"}).json() == []
    wait_until(lambda: api.get(f"/pictures/{make.sha256(picture)}").status_code == 200, what="the picture")
    answer = api.get(f"/pictures/{make.sha256(picture)}")
    assert (answer.content, answer.headers["content-type"]) == (picture, "image/jpeg")


def test_scores_are_told_by_the_second_and_at_most_a_day_at_once(api, agent):
    agent.say(Channel.SCORE_AGG, ScoreAggregate(n=2, mean=1.5, max=2.0, scores=pack_scores([1, 2])))
    wait_until(lambda: api.get("/devices/cam-1/scores").json(), what="the second")
    assert api.get("/devices/cam-1/scores").json()[0]["mean"] == 1.5
    refused = api.get("/devices/cam-1/scores", params={"since_s": 0})
    assert (refused.status_code, refused.json()["remedy"]) == (422, "Ask day by day.")


def test_a_release_can_be_sent_as_a_body_or_as_a_form(api, make):
    body = api.post("/releases", content=make.release())
    form = api.post("/releases", files={"file": ("metal-2.kenpin", make.release(version="2"))})
    assert (body.status_code, form.status_code) == (201, 201)
    assert {r["version"] for r in api.get("/releases").json()} == {"1", "2"}


def test_a_refused_release_says_why_and_leaves_the_list_as_it_was(api, make):
    api.post("/releases", content=make.release())
    before = api.get("/releases").json()
    refused = api.post("/releases", content=make.release(version="2")[:-40])
    other = api.post("/releases", content=make.release(filler=b"other"))
    empty = api.post("/releases", files={"note": (None, "no file here")})
    assert (refused.status_code, other.status_code, empty.status_code) == (422, 409, 422)
    assert set(refused.json()) == {"error", "where", "remedy"}
    assert refused.headers["content-type"] == "application/problem+json"
    assert api.get("/releases").json() == before


def test_a_rollout_and_a_command_go_out(api, agent, make):
    api.post("/releases", content=make.release())
    rollout = api.post("/rollouts", json={"release": {"name": "metal", "version": "1"}, "line": "line-a"})
    assert rollout.status_code == 201
    assert api.get("/rollouts").json()[0]["devices"]["cam-1"]["phase"] == "waiting"
    wait_until(lambda: agent.of(Channel.SET_RELEASE), what="the order")

    sent = api.post("/devices/cam-1/commands/ping").json()
    wait_until(lambda: agent.of(Channel.CMD), what="the command")
    agent.say(Channel.REPLY, Reply(id=sent["id"], state="successful"), argument=sent["id"])
    found = api.get(f"/devices/cam-1/commands/{sent['id']}", params={"wait_s": 5}).json()
    assert found["state"] == "successful"
    assert api.get(f"/devices/cam-2/commands/{sent['id']}").status_code == 404


REFUSED = [
    ("GET", "/devices/cam-99", None, 404),
    ("GET", "/devices/cam-99/scores", None, 404),
    ("GET", "/events/none", None, 404),
    ("GET", "/pictures/" + "0" * 64, None, 404),
    ("GET", "/pictures/zzz", None, 422),
    ("GET", "/events?limit=0", None, 422),
    ("GET", "/events?before_s=nan", None, 422),
    ("GET", "/releases/none-1", None, 404),
    ("GET", "/releases/none-1/report", None, 404),
    ("GET", "/releases/none-1/file", None, 404),
    ("GET", "/nothing", None, 404),
    ("DELETE", "/devices", None, 405),
    ("PUT", "/devices/cam-99/threshold", {"value": 1}, 404),
    ("PUT", "/devices/cam-1/threshold", {"valeu": 1}, 422),
    ("PUT", "/devices/cam-1/threshold", {"value": 1, "false_rejects": 0.1}, 422),
    ("PUT", "/devices/cam-1/threshold", {"false_rejects": 2}, 422),
    ("PUT", "/devices/cam-1/inspection", {}, 422),
    ("POST", "/rollouts", {"release": {"name": "no", "version": "1"}}, 404),
    ("POST", "/rollouts", {"release": {"name": "../x", "version": "1"}}, 422),
    ("POST", "/devices/cam-1/commands/PING", None, 422),
]


def test_what_is_not_there_is_told_to_a_program_as_to_a_program(api, agent):
    for path in ("/nothing", "/devices/cam-1/nothing", "/nothing/../at/all"):
        answer = api.get(path)
        assert (answer.status_code, set(answer.json())) == (404, {"error", "where", "remedy"})


def test_a_device_that_claims_the_last_revision_is_refused_in_words(api, agent):
    agent.say(Channel.REPORTED_CONFIG, ReportedConfig(rev=MAX_WHOLE, release="metal-1", boot=1, seq=9))
    wait_until(lambda: api.get("/devices/cam-1").json()["settings"]["rev"] == MAX_WHOLE, what="the claim")
    answer = api.put("/devices/cam-1/threshold", json={"value": 4.5})
    assert answer.status_code == 409
    assert "no" in answer.json()["error"]
    assert "in its name" in answer.json()["remedy"]


def test_a_refusal_names_what_where_and_remedy(api, agent):
    for method, path, body, status in REFUSED:
        answer = api.request(method, path, json=body)
        assert answer.status_code == status, (method, path, answer.text)
        assert set(answer.json()) == {"error", "where", "remedy"}
        assert answer.json()["error"]


PATHS = [
    "/lines",
    "/devices",
    "/devices/{}",
    "/devices/{}/scores",
    "/devices/{}/threshold",
    "/devices/{}/inspection",
    "/devices/{}/commands/{}",
    "/events",
    "/events/{}",
    "/pictures/{}",
    "/releases",
    "/releases/{}",
    "/releases/{}/report",
    "/releases/{}/file",
    "/rollouts",
]
JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["value", "false_rejects", "on", "release", "name", "version", "devices", "line", "arguments"]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=10,
)
BODIES = (
    st.none()
    | st.binary(max_size=60)
    | JUNK.map(lambda value: json.dumps(value).encode("utf-8", "surrogatepass"))
)
WORDS = st.sampled_from(["cam-1", "ping", "0" * 64, "..", "%00", "%2f", "%ff"]) | st.text(
    alphabet="abcXYZ019-_.~:@!$&'()*+,;=", min_size=1, max_size=12
)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    method=st.sampled_from(["GET", "PUT", "POST", "DELETE", "PATCH"]),
    path=st.sampled_from(PATHS),
    words=st.lists(WORDS, min_size=2, max_size=2),
    query=st.dictionaries(
        st.sampled_from(["line", "device", "limit", "before_s", "before_id", "since_s", "until_s", "wait"]),
        st.text(max_size=8) | st.integers().map(str) | st.floats().map(str),
        max_size=3,
    ),
    body=BODIES,
    kind=st.sampled_from(
        ["application/json", "text/plain", "multipart/form-data", "multipart/form-data; boundary=x", ""]
    ),
)
def test_junk_is_never_answered_with_a_5xx(api, agent, *, method, path, words, query, body, kind):
    answer = api.request(
        method,
        path.format(*words),
        params=query,
        content=body,
        headers={"content-type": kind} if kind else {},
    )
    assert answer.status_code < 500, answer.text


def test_bodies_made_to_hurt_are_refused(api, agent):
    deep, long, broken = b"[" * 60_000, b'{"value":' + b"9" * 50_000 + b"}", b'{"arguments":{"a":"\\ud800"}}'
    for method, path in (
        ("PUT", "/devices/cam-1/threshold"),
        ("POST", "/rollouts"),
        ("POST", "/devices/cam-1/commands/ping"),
    ):
        for body in (deep, long, broken):
            answer = api.request(method, path, content=body, headers={"content-type": "application/json"})
            assert 400 <= answer.status_code < 500, (path, body[:20])


def test_a_body_that_is_too_large_is_refused_before_it_is_read_whole(api, agent):
    def endless():
        for _ in range(10_000):
            yield b" " * MAX_BODY_BYTES

    try:
        status = api.put("/devices/cam-1/threshold", content=endless()).status_code
    except httpx.WriteError:  # the door was shut while we still talked
        status = 413
    assert status == 413


def test_a_store_that_does_not_answer_is_told_in_words(api, controller):
    with controller.store.engine.begin() as connection:
        connection.execute(text("alter table events rename to elsewhere"))
    answer = api.get("/events")
    assert answer.status_code == 503
    assert "no such table" in answer.json()["error"]
    assert "SELECT" not in answer.text


def test_another_site_s_page_may_not_ask(server, agent):
    url = f"{server}/api/v1/devices"
    assert httpx.get(url).status_code == 200
    assert httpx.get(url, headers={"origin": server}).status_code == 200
    assert httpx.get(url, headers={"origin": "https://evil.example"}).status_code == 403
    assert httpx.get(url, headers={"origin": "null"}).status_code == 403
    assert httpx.get(url, headers={"host": "evil.example"}).status_code == 403


def test_with_a_token_only_who_shows_it_comes_in(controller, serve_app):
    server = serve_app(build_app(controller, token="s3cret", with_pages=False))
    url = f"{server}/api/v1/lines"
    assert httpx.get(url).status_code == 401
    assert httpx.get(url, headers={"authorization": "Bearer wrong"}).status_code == 401
    assert httpx.get(url, headers={"authorization": "Bearer s3cret"}).status_code == 200
    assert (
        httpx.get(url, headers={"authorization": "Bearer s3cret", "host": "kenpin.local"}).status_code == 200
    )
    assert httpx.get(f"{server}/healthz").status_code == 200
    with httpx.Client() as browser:
        assert browser.get(f"{url}?token=wrong").status_code == 401
        entered = browser.get(f"{url}?token=s3cret")
        assert (entered.status_code, "token" in entered.headers["location"]) == (303, False)
        assert browser.get(url).status_code == 200


def test_health_says_what_is_wrong(api, server, broker, controller):
    assert httpx.get(f"{server}/healthz").json()["broker"] == ""
    broker.kill()
    wait_until(lambda: httpx.get(f"{server}/healthz").json()["broker"], what="the word")


def test_the_openapi_document_names_every_path(server):
    paths = httpx.get(f"{server}/openapi.json").json()["paths"]
    for path in ("/lines", "/devices", "/devices/{device}", "/events", "/releases", "/rollouts"):
        assert f"/api/v1{path}" in paths
    assert "put" in paths["/api/v1/devices/{device}/threshold"]
    assert "post" in paths["/api/v1/devices/{device}/commands/{verb}"]
