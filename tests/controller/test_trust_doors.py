"""Keys and signed releases through REST and the command line, with the keys here and with the keys elsewhere."""

import contextlib
import io
import json
import sys

import httpx
import pytest

from kenpin_controller.app import build_app
from kenpin_controller.cli import main
from kenpin_controller.trust.desk import TrustDesk
from support.tuf_client import TufClient

SECRET = "open sesame"


@pytest.fixture
def kenpin(monkeypatch):
    """Runs the command line in this process; gives its output, or what it said as it failed."""

    def run(*arguments, fails=False):
        out, err = io.StringIO(), io.StringIO()
        monkeypatch.setattr(sys, "argv", ["kenpin", *map(str, arguments)])
        status = 0
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            try:
                main()
            except SystemExit as end:
                status = end.code or 0
        assert bool(status) == fails, err.getvalue()
        assert "Traceback" not in err.getvalue()
        return err.getvalue() if fails else out.getvalue()

    return run


@pytest.fixture
def release(make, tmp_path):
    file = tmp_path / "metal-1.kenpin"
    file.write_bytes(make.release())
    return file


@pytest.fixture
def offline(tmp_path, kenpin, monkeypatch, new_controller, serve_app):
    """A controller whose root and targets keys are on a stick; gives its address."""
    monkeypatch.setenv("KENPIN_KEYS_PASSPHRASE", SECRET)
    kenpin("keys", "init", "--data", tmp_path / "data", "--offline", "--keys", tmp_path / "stick")
    monkeypatch.delenv("KENPIN_KEYS_PASSPHRASE")
    controller = new_controller()
    return serve_app(build_app(controller, with_pages=False))


def test_the_root_to_pin_is_the_same_through_every_door(api, controller, server, kenpin):
    root = controller.site.trust.root()
    assert api.get("/trust/root.json").content == root
    assert api.get("/trust/tuf/1.root.json").content == root
    for where in (("--server", server), ("--data", controller.settings.data)):
        assert json.loads(kenpin("keys", "root", *where)) == json.loads(root)


def test_a_site_with_its_keys_here_signs_what_is_uploaded(api, make, controller, tmp_path):
    assert api.post("/releases", content=make.release()).json()["signed"]
    assert api.get("/releases/metal-1").json()["signed"]
    device = TufClient(tmp_path / "device", controller.site.trust.root(), controller.site.trust.repository)
    device.refresh()
    assert device.find("metal-1.kenpin").hashes == {"sha256": make.sha256(make.release())}


def test_what_is_not_the_repository_s_cannot_be_fetched(api):
    for name in ("../keys/root.pem", "%2e%2e%2fkeys%2froot.pem", ".lock", "root.pem", "9.root.json"):
        assert api.get(f"/trust/tuf/{name}").status_code == 404


def test_devices_fetch_metadata_without_a_token_and_nothing_else(controller, serve_app):
    address = serve_app(build_app(controller, with_pages=False, token="secret"))
    assert httpx.get(f"{address}/api/v1/trust/tuf/timestamp.json").status_code == 200
    assert httpx.get(f"{address}/api/v1/trust").status_code == 401
    assert httpx.get(f"{address}/api/v1/trust/tuf/../targets.json").status_code == 401
    assert httpx.post(f"{address}/api/v1/trust/targets", content=b"{}").status_code == 401


def test_status_tells_who_signs_what_and_until_when(server, kenpin, controller):
    table = kenpin("keys", "status", "--server", server)
    assert [line.split()[0] for line in table.splitlines()[1:]] == [
        "root",
        "targets",
        "snapshot",
        "timestamp",
        "controller",
    ]
    told = json.loads(kenpin("keys", "status", "--server", server, "--json"))
    local = json.loads(kenpin("keys", "status", "--data", controller.settings.data, "--json"))
    assert [row["keys"] for row in told] == [row["keys"] for row in local]
    assert all(row["here"] and row["due"] == "" for row in told)


def test_without_the_targets_key_an_upload_is_kept_and_its_rollout_refused_with_the_remedy(
    offline, release, kenpin, new_agent
):
    said = kenpin("release", "add", release, "--server", offline)
    assert "not signed" in said
    agent = new_agent()
    agent.arrive()
    refused = kenpin("rollout", "start", "metal-1", "--device", "cam-1", "--server", offline, fails=True)
    assert "targets key has not signed it" in refused
    assert "kenpin release publish FILE --keys DIR" in refused
    nobody = kenpin("release", "publish", release, "--server", offline, fails=True)
    assert "nobody has signed it" in nobody


def test_publish_signs_where_the_key_is_at_hand(offline, release, kenpin, tmp_path, monkeypatch):
    closed = kenpin(
        "release", "publish", release, "--keys", tmp_path / "stick", "--server", offline, fails=True
    )
    assert "needs its passphrase" in closed
    monkeypatch.setenv("KENPIN_KEYS_PASSPHRASE", "wrong")
    wrong = kenpin(
        "release", "publish", release, "--keys", tmp_path / "stick", "--server", offline, fails=True
    )
    assert "does not open with this passphrase" in wrong
    monkeypatch.setenv("KENPIN_KEYS_PASSPHRASE", SECRET)
    for _ in range(2):  # again is as good as once
        said = kenpin("release", "publish", release, "--keys", tmp_path / "stick", "--server", offline)
        assert "metal-1 is on the controller, and signed" in said
    assert httpx.get(f"{offline}/api/v1/releases/metal-1").json()["signed"]
    assert SECRET not in said + closed + wrong


def test_a_release_is_signed_on_a_machine_without_network_and_published_from_another(
    offline, release, kenpin, tmp_path, monkeypatch
):
    with monkeypatch.context() as away:
        away.setenv("KENPIN_KEYS_PASSPHRASE", SECRET)
        away.setattr(httpx.Client, "request", None)
        said = kenpin(
            *("release", "sign", release, "--keys", tmp_path / "stick"),
            *("--repository", tmp_path / "data" / "tuf"),
        )
    assert "signed: metal-1.kenpin" in said
    assert "metal-1 is on the controller, and signed" in kenpin(
        "release", "publish", release, "--server", offline
    )


def test_metadata_for_a_release_that_was_never_uploaded_is_refused(
    offline, release, kenpin, tmp_path, monkeypatch
):
    monkeypatch.setenv("KENPIN_KEYS_PASSPHRASE", SECRET)
    kenpin(
        "release", "sign", release, "--keys", tmp_path / "stick", "--repository", tmp_path / "data" / "tuf"
    )
    refused = kenpin("release", "publish", tmp_path / "targets.json", "--server", offline, fails=True)
    assert "which is not here" in refused


@pytest.mark.parametrize("body", [b"", b"{}", b"null", b"\xff\xfe", b"[" * 10_000, b'{"signed": 1}'])
def test_junk_for_metadata_is_refused_in_words(offline, body):
    answer = httpx.post(f"{offline}/api/v1/trust/targets", content=body)
    assert (answer.status_code, answer.json()["error"]) == (422, "it is no TUF metadata")


def test_a_controller_s_key_is_replaced_with_the_targets_key_far_away(offline, kenpin, tmp_path, monkeypatch):
    data, stick = tmp_path / "data", tmp_path / "stick"
    before = TrustDesk(data).controller_key_id
    kenpin("keys", "rotate", "controller", "--data", data)
    monkeypatch.setenv("KENPIN_KEYS_PASSPHRASE", SECRET)
    proposal = data / "keys" / "controller.json"
    kenpin("release", "sign", proposal, "--keys", stick, "--repository", data / "tuf")
    monkeypatch.delenv("KENPIN_KEYS_PASSPHRASE")
    assert TrustDesk(data).controller_key_id == before
    kenpin("release", "publish", data / "keys" / "targets.json", "--server", offline)
    assert TrustDesk(data).controller_key_id != before


def test_init_never_overwrites_and_rotation_is_a_command(kenpin, tmp_path):
    data = tmp_path / "data"
    assert "all of them in" in kenpin("keys", "init", "--data", data)
    before = {path: path.read_bytes() for path in (data / "keys").iterdir()}
    refused = kenpin("keys", "init", "--data", data, fails=True)
    assert "has its keys already" in refused
    assert {path: path.read_bytes() for path in (data / "keys").iterdir()} == before
    for name in ("root", "targets", "snapshot", "timestamp", "controller"):
        assert "is a new one" in kenpin("keys", "rotate", name, "--data", data)
    assert not {path.read_bytes() for path in (data / "keys").iterdir()} & set(before.values())


def test_a_passphrase_is_asked_for_twice_and_two_that_differ_make_nothing(kenpin, tmp_path, monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    monkeypatch.setattr(sys, "stdin", Terminal())
    answers = iter([SECRET, "open sesami", SECRET, SECRET, SECRET])
    monkeypatch.setattr("getpass.getpass", lambda _prompt: next(answers))
    init = ("keys", "init", "--data", tmp_path / "data", "--offline", "--keys", tmp_path / "stick")
    assert "differ" in kenpin(*init, fails=True)
    assert not (tmp_path / "stick").exists()
    kenpin(*init)
    assert "is a new one" in kenpin(
        "keys", "rotate", "timestamp", "--data", tmp_path / "data", "--keys", tmp_path / "stick"
    )


def test_a_wrong_wish_is_refused_in_words(kenpin, tmp_path, release):
    assert "go together" in kenpin("keys", "init", "--offline", "--data", tmp_path / "data", fails=True)
    assert "no keys yet" in kenpin("keys", "rotate", "root", "--data", tmp_path / "data", fails=True)
    assert not (tmp_path / "data").exists()
    assert "no keys yet" in kenpin("keys", "status", "--data", tmp_path / "data", fails=True)
    assert "no keys yet" in kenpin("keys", "root", "--data", tmp_path / "data", fails=True)
    kenpin("keys", "init", "--data", tmp_path / "data")
    for junk in (b"", b"not a key", b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"):
        (tmp_path / "data" / "keys" / "root.pem").write_bytes(junk)
        assert "no key file" in kenpin("keys", "rotate", "timestamp", "--data", tmp_path / "data", fails=True)
    keys, copy = tmp_path / "data" / "keys", tmp_path / "data" / "tuf"
    (tmp_path / "junk.kenpin").write_bytes(b"junk")
    kenpin("release", "sign", tmp_path / "junk.kenpin", "--keys", keys, "--repository", copy, fails=True)
    kenpin("release", "sign", release, "--keys", keys, "--repository", tmp_path / "nowhere", fails=True)
    kenpin("release", "sign", release, "--keys", tmp_path / "nowhere", "--repository", copy, fails=True)
