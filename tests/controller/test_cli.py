"""The `kenpin` command: says what is, asks for what shall be, and fails in one line."""

import errno
import json
import os
import signal
import socket
import subprocess
import sys
import threading

import httpx
import pytest

from kenpin_controller.cli import main
from kenpin_wire.messages import AnomalyEvent, ReportedConfig, ReportedRelease
from kenpin_wire.topics import Channel
from support import free_port, wait_until


@pytest.fixture
def kenpin(monkeypatch, capsys):
    """Runs a command line in this process; gives exit status, output and errors."""

    def run(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["kenpin", *arguments])
        status = 0
        try:
            main()
        except SystemExit as left:
            status = left.code or 0
        out, err = capsys.readouterr()
        return status, out, err

    return run


@pytest.fixture
def at(server, monkeypatch):
    monkeypatch.setenv("KENPIN_SERVER", server)
    return server


@pytest.fixture
def agent(new_agent, knows):
    arrived = new_agent()
    knows("cam-1")
    return arrived


def answers_settings(agent):
    """Have the agent report every settings revision as applied, as a real one does."""

    def answer():
        wait_until(lambda: agent.of(Channel.SET_CONFIG), what="the settings")
        desired = agent.of(Channel.SET_CONFIG)[-1]
        agent.say(
            Channel.REPORTED_CONFIG,
            ReportedConfig(
                rev=desired.rev, release="metal-1", threshold=desired.threshold.value, boot=1, seq=2
            ),
        )

    threading.Thread(target=answer, daemon=True).start()


def test_devices_are_listed_for_people_and_for_programs(kenpin, at, agent):
    status, out, _ = kenpin("devices")
    assert status == 0
    assert "cam-1" in out
    assert "line-a" in out
    assert "metal-1" in out
    status, out, _ = kenpin("devices", "--json")
    assert [d["id"] for d in json.loads(out)] == ["cam-1"]


def test_a_threshold_is_set_and_the_device_s_answer_shown(kenpin, at, agent):
    answers_settings(agent)
    assert kenpin("threshold", "cam-1", "--value", "4.5") == (0, "cam-1: threshold 4.5 of metal-1\n", "")


def test_a_device_that_is_silent_is_said_to_be(kenpin, at, agent):
    status, out, _ = kenpin("threshold", "cam-1", "--value", "4.5", "--wait", "0.1")
    assert status == 0
    assert "has not answered yet" in out


def test_a_release_is_added_listed_and_pushed(kenpin, at, agent, make, tmp_path):
    file = tmp_path / "metal-1.kenpin"
    file.write_bytes(make.release())
    assert kenpin("release", "add", str(file)) == (0, "metal-1 is on the controller\n", "")
    assert "metal-1" in kenpin("release", "list")[1]

    def commit():
        wait_until(lambda: agent.of(Channel.SET_RELEASE), what="the order")
        order = agent.of(Channel.SET_RELEASE)[-1]
        report = ReportedRelease(
            rev=order.rev, phase="committed", percent=100, rollout=order.rollout, boot=1, seq=2
        )
        agent.say(Channel.REPORTED_RELEASE, report)

    threading.Thread(target=commit, daemon=True).start()
    status, out, _ = kenpin("release", "push", str(file), "--line", "line-a", "--wait", "10")
    assert status == 0, out
    assert "committed" in out
    assert "committed" in kenpin("rollout", "list")[1]


def test_a_rollout_that_does_not_reach_every_device_ends_with_1(kenpin, at, agent, make, tmp_path):
    file = tmp_path / "metal-1.kenpin"
    file.write_bytes(make.release())
    kenpin("release", "add", str(file))
    status, out, err = kenpin("rollout", "start", "metal-1", "--device", "cam-1", "--wait", "0.1")
    assert status == 1
    assert "waiting" in out
    assert "not on cam-1" in err


def test_events_are_listed(kenpin, at, agent):
    agent.say(Channel.EVENT_ANOMALY, AnomalyEvent(id="e1"))
    wait_until(agent.acked, what="the confirmation")
    assert "e1" in kenpin("events")[1]


def test_what_is_refused_is_told_in_one_line(kenpin, at, agent):
    for command in (
        ("threshold", "cam-99", "--value", "1"),
        ("threshold", "../x", "--value", "1"),
        ("release", "add", "/no/such/file"),
        ("release", "add", os.devnull),
        ("release", "add", __file__),
        ("rollout", "start", "none-1"),
    ):
        status, out, err = kenpin(*command)
        assert (status, out) == (1, ""), command
        assert err.startswith("kenpin: ")
        assert err.count("\n") == 1


@pytest.mark.parametrize("server", ["http://127.0.0.1:1", "nonsense", "ftp://x", "http://[", ""])
def test_a_controller_that_is_not_there_is_told_in_one_line(kenpin, server):
    status, _, err = kenpin("devices", "--server", server)
    assert status == 1
    assert err.startswith("kenpin: ")
    assert err.count("\n") == 1


def test_a_controller_is_found_without_its_http(kenpin, at, agent):
    assert kenpin("devices", "--server", at.removeprefix("http://"))[0] == 0


@pytest.mark.parametrize(
    "arguments", [("--value", "nan"), ("--value", "inf"), ("--false-rejects", "nan"), ("--wait", "nan")]
)
def test_a_number_that_is_none_is_a_wrong_command(kenpin, arguments):
    status, _, err = kenpin("threshold", "cam-1", *arguments)
    assert status == 2
    assert arguments[0] in err or "finite" in err


def test_a_certificate_that_is_not_there_is_told_before_anything_starts(kenpin, tmp_path):
    status, _, err = kenpin("serve", "--broker-ca", str(tmp_path / "ca.pem"), "--data", str(tmp_path / "d"))
    assert status == 1
    assert "ca.pem: no such file" in err
    assert not (tmp_path / "d").exists()


def test_what_the_operating_system_refuses_is_one_line(kenpin, tmp_path, monkeypatch):
    def refuse(*_, **__):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "/tmp/x")

    monkeypatch.setattr("kenpin_models.train.train", refuse)
    status, _, err = kenpin("train", str(tmp_path), "-o", "x.kenpin")
    assert (status, err) == (
        1,
        "kenpin: /tmp/x: No space left on device. The disk is full: free some space.\n",
    )


def test_the_version_is_told(kenpin):
    status, out, _ = kenpin("--version")
    assert (status, out.split()[0]) == (0, "kenpin")


def test_a_wrong_command_ends_with_2(kenpin):
    assert kenpin("devices", "--no-such-option")[0] == 2


def test_serving_the_network_needs_a_token(kenpin, tmp_path):
    status, _, err = kenpin("serve", "--host", "0.0.0.0", "--data", str(tmp_path))
    assert status == 1
    assert "--token" in err
    assert err.count("\n") == 1


def test_a_port_that_is_taken_is_told_in_one_line(kenpin, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        status, _, err = kenpin("serve", "--port", str(taken.getsockname()[1]), "--data", str(tmp_path))
    assert status == 1
    assert "cannot be served" in err
    assert err.count("\n") == 1


def test_a_data_folder_that_cannot_be_used_is_told_in_one_line(kenpin, tmp_path):
    (tmp_path / "file").write_text("")
    status, _, err = kenpin("serve", "--port", "0", "--data", str(tmp_path / "file"))
    assert status == 1
    assert "cannot be used" in err
    assert err.count("\n") == 1


@pytest.mark.parametrize("broker", ["", ":", "host:port", "host:0", "host:99999"])
def test_a_broker_that_is_no_address_is_told_in_one_line(kenpin, tmp_path, broker):
    status, _, err = kenpin("serve", "--broker", broker, "--data", str(tmp_path))
    assert status == 1
    assert "--broker" in err
    assert err.count("\n") == 1


def test_a_client_command_imports_no_trainer_no_web_server_and_no_database():
    program = (
        "import sys; sys.argv = ['kenpin', 'devices', '--server', 'http://127.0.0.1:1']\n"
        "from kenpin_controller.cli import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "print([m for m in ('sklearn', 'torch', 'nicegui', 'uvicorn', 'sqlalchemy', 'cv2', 'kenpin_models') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_without_the_controller_s_parts_one_line_says_what_to_install():
    program = (
        "import sys; sys.modules['typer'] = None; sys.argv = ['kenpin', 'devices']\n"
        "from kenpin_controller.cli import main; main()"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "pip install 'kenpin[controller]'" in done.stderr


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM], ids=["ctrl-c", "terminate"])
def test_the_controller_serves_and_stops_cleanly(broker, tmp_path, how):
    port = free_port()
    serve = [
        "serve",
        "--broker",
        f"127.0.0.1:{broker.port}",
        "--data",
        str(tmp_path / "data"),
        "--port",
        str(port),
    ]
    process = subprocess.Popen(
        [sys.executable, "-m", "kenpin_controller.cli", *serve],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert f"http://127.0.0.1:{port}" in process.stdout.readline()

        def healthy():
            try:
                return httpx.get(f"http://127.0.0.1:{port}/healthz").json()["broker"] == ""
            except httpx.HTTPError:
                return False

        wait_until(healthy, what="health")
    finally:
        process.send_signal(how)
        _, err = process.communicate(timeout=15)
    assert (process.returncode, err) == (0, "")


def test_a_rollout_is_started_shown_steered_and_its_devices_marked(kenpin, at, agent, make, tmp_path):
    file = tmp_path / "metal-1.kenpin"
    file.write_bytes(make.release())
    kenpin("release", "add", str(file))
    status, out, _ = kenpin("rollout", "start", "metal-1", "--waves", "1,100%", "--window", "0-24", "--json")
    assert status == 0, out
    rollout = json.loads(out)["id"]
    status, out, _ = kenpin("rollout", "show", rollout)
    assert "wave 1, running: cam-1" in out
    assert kenpin("rollout", "pause", rollout)[1].startswith("paused: Paused in wave 1 of 1")
    assert kenpin("rollout", "resume", rollout)[1].startswith("running: ")
    status, _, err = kenpin("rollout", "approve", rollout)
    assert (status, "nothing waits for a yes" in err) == (1, True)
    assert kenpin("rollout", "abort", rollout, "--why", "wrong file")[1].startswith("aborted: ")
    assert kenpin("devices", "tag", "cam-1", "glossy") == (0, "cam-1: glossy\n", "")
    assert kenpin("devices", "pin", "cam-1", "--why", "audit") == (0, "cam-1 is pinned to metal-1\n", "")
    assert "order of metal-1 was taken back" in kenpin("devices", "why", "cam-1")[1]
    assert "cam-1 is passed by: pinned" in kenpin("rollout", "start", "metal-1")[1]
    assert kenpin("devices", "unpin", "cam-1")[0] == 0
    status, out, _ = kenpin("release", "recall", "metal-1", "--why", "wrong optics")
    assert out == "metal-1 is recalled; it runs on cam-1\n"
    assert kenpin("rollout", "start", "metal-1")[0] == 1


def test_what_is_no_wave_and_no_window_is_refused(kenpin, at, agent, make, tmp_path):
    for option in (("--waves", "some"), ("--window", "night")):
        status, _, err = kenpin("rollout", "start", "metal-1", *option)
        assert (status, f"{option[0]}" in err) == (1, True)
