"""Brokers on the loopback: mosquitto as it is on a site, and amqtt as the demo falls back to."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time

import pytest


class Mosquitto:
    """A mosquitto on a port of its own, which can be killed and started again.

    Args:
        persistent: Keep sessions and retained messages on disk, as `deploy/` sets it up.
    """

    protocol = "5"

    def __init__(self, folder, *, users=None, acl="", extra="", persistent=False):
        self.port = free_port()
        self._config = folder / "mosquitto.conf"
        lines = [f"listener {self.port} 127.0.0.1", "set_tcp_nodelay true", extra]
        if users is None:
            lines.append("allow_anonymous true")
        else:
            passwords = folder / "passwords"
            passwords.touch(mode=0o600)
            for name, password in users.items():
                subprocess.run(["mosquitto_passwd", "-b", passwords, name, password], check=True)
            lines += ["allow_anonymous false", f"password_file {passwords}"]
        if acl:
            (folder / "acl").write_text(acl)
            lines.append(f"acl_file {folder / 'acl'}")
        if os.getuid() == 0:
            lines.append("user root")
        if persistent:
            lines += [
                "persistence true",
                f"persistence_location {folder}/",
                "autosave_interval 1",
                "autosave_on_changes true",
            ]
        self._config.write_text("\n".join(lines) + "\n")
        self._log = folder / "mosquitto.log"
        self._process = None
        self.start()

    def start(self):
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(["mosquitto", "-c", self._config], stdout=log, stderr=log)
        wait_for(lambda: listens(self.port), what=f"mosquitto to listen: {self._log.read_text()}")

    def kill(self):
        """As the power would."""
        if self._process is not None:
            self._process.send_signal(signal.SIGKILL)
            self._process.wait()
            self._process = None


class Amqtt:
    """amqtt in a process of its own. It speaks MQTT 3.1.1 only."""

    protocol = "3.1.1"
    _PROGRAM = """
import asyncio, sys
from amqtt.broker import Broker
config = {
    "listeners": {"default": {"type": "tcp", "bind": "127.0.0.1:" + sys.argv[1]}},
    "plugins": {"amqtt.plugins.authentication.AnonymousAuthPlugin": {"allow_anonymous": True}},
}
async def main():
    await Broker(config).start()
    await asyncio.Event().wait()
asyncio.run(main())
"""

    def __init__(self, folder):
        self.port = free_port()
        self._log = folder / "amqtt.log"
        self._process = None
        self.start()

    def start(self):
        command = [sys.executable, "-c", self._PROGRAM, str(self.port)]
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log)
        wait_for(lambda: listens(self.port), within_s=20, what="amqtt to listen")

    kill = Mosquitto.kill


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def listens(port):
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def wait_for(condition, within_s=10.0, what="it"):
    """Wait until `condition()` is true, and return what it returned."""
    until_s = time.monotonic() + within_s
    while not (result := condition()):
        if time.monotonic() > until_s:
            raise AssertionError(f"waited {within_s} s in vain for {what}")
        time.sleep(0.01)
    return result


def _need_mosquitto():
    if shutil.which("mosquitto") is None:
        pytest.skip("mosquitto is not installed")


@pytest.fixture(name="wait_for")
def _wait_for():
    return wait_for


@pytest.fixture
def start_mosquitto(tmp_path):
    """Starts brokers and ends them after the test."""
    _need_mosquitto()
    brokers = []

    def start(**how):
        folder = tmp_path / f"broker-{len(brokers)}"
        folder.mkdir()
        brokers.append(Mosquitto(folder, **how))
        return brokers[-1]

    yield start
    for broker in brokers:
        broker.kill()


@pytest.fixture
def broker(start_mosquitto):
    return start_mosquitto()


@pytest.fixture(params=["mosquitto", "amqtt"])
def any_broker(request, tmp_path):
    """One suite over both brokers."""
    if request.param == "mosquitto":
        _need_mosquitto()
    else:
        pytest.importorskip("amqtt", reason="amqtt is not installed")
    made = (Mosquitto if request.param == "mosquitto" else Amqtt)(tmp_path)
    yield made
    made.kill()


@pytest.fixture
def controller():
    """A bare session that plays the controller: `open(port)` gives one that records what comes."""
    from kenpin_agent.link.session import MqttSession
    from kenpin_agent.link.settings import BrokerSettings

    sessions = []

    class Controller:
        def __init__(self, port, filters, **how):
            self.deliveries = []
            self._lock = threading.Lock()
            how = {"client_id": "controller", **how}
            settings = BrokerSettings(port=port, **how.pop("settings", {}))
            self.session = MqttSession(settings, **how)
            self.session.on_message = self._take
            self.session.subscribe(filters)
            self.session.start()
            self.session.wait_connected(15)
            sessions.append(self.session)

        def _take(self, delivery):
            with self._lock:
                self.deliveries.append(delivery)

        def on(self, end):
            """Payloads that came on topics with this end."""
            with self._lock:
                return [d.payload for d in self.deliveries if d.topic.endswith(end)]

    yield Controller
    for session in sessions:
        session.stop(0.0)
