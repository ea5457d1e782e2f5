"""A broker for the demonstration: mosquitto where it is installed, else amqtt inside this process."""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
import socket
import subprocess
import threading
import time
from enum import StrEnum
from pathlib import Path
from typing import Protocol

from kenpin_wire.errors import ConfigError, LinkError

START_S = 10.0

# Nothing is kept on disk: the controller says all desired state again to a broker that has forgotten it, and
# saving on every change made a release take five times as long to arrive.
_MOSQUITTO = """\
listener {port} 127.0.0.1
allow_anonymous true
set_tcp_nodelay true
persistence false
log_dest none
"""


class BrokerKind(StrEnum):
    """Which broker to start."""

    AUTO = "auto"
    MOSQUITTO = "mosquitto"
    AMQTT = "amqtt"


class Broker(Protocol):
    """A broker that runs until it is stopped."""

    port: int
    name: str

    def stop(self) -> None: ...


def start_broker(folder: Path, kind: BrokerKind = BrokerKind.AUTO) -> Broker:
    """Start a broker on a free port of the loopback interface.

    Raises:
        ConfigError: if mosquitto is asked for and not installed.
        LinkError: if the broker does not come up.
    """
    # Debian installs it where only root's PATH looks.
    program = shutil.which("mosquitto", path=os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin")
    if kind is BrokerKind.MOSQUITTO and program is None:
        raise ConfigError("it is not installed", where="mosquitto", remedy="apt install mosquitto")
    broker: Broker = Amqtt() if program is None or kind is BrokerKind.AMQTT else Mosquitto(program, folder)
    deadline = time.monotonic() + START_S
    try:
        while not _answers(broker.port):
            if time.monotonic() > deadline:
                raise LinkError(f"{broker.name} did not start within {START_S:g} s", where="demo broker")
            time.sleep(0.05)
    except BaseException:  # Ctrl-C among them, which does not reach the broker by itself
        broker.stop()
        raise
    return broker


class Mosquitto:
    """The real thing, as a process of its own.

    Args:
        program: Its path.
        folder: For its configuration and what it keeps.
    """

    name = "mosquitto"

    def __init__(self, program: str, folder: Path) -> None:
        self.port = free_port()
        folder.mkdir(parents=True, exist_ok=True)
        config = folder / "mosquitto.conf"
        config.write_text(_MOSQUITTO.format(port=self.port))
        command = [program, "-c", str(config)]
        self._process = subprocess.Popen(
            command,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C is for the demonstration, whose programs still have things to say
        )

    def stop(self) -> None:
        self._process.terminate()
        try:
            self._process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            self._process.kill()


class Amqtt:
    """A broker in pure Python, on a thread of this process. For demonstrations only: it speaks MQTT 3.1.1 and
    keeps no sessions for anonymous clients."""

    name = "amqtt, inside this process (install mosquitto for the real thing)"

    def __init__(self) -> None:
        self.port = free_port()
        self._loop = asyncio.new_event_loop()
        self._done = asyncio.Event()
        self._thread = threading.Thread(target=self._run, name="amqtt", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(self._done.set)
        self._thread.join(timeout=5)

    def _run(self) -> None:
        self._loop.run_until_complete(self._serve())

    async def _serve(self) -> None:
        from amqtt.broker import Broker as AmqttBroker  # noqa: PLC0415  half a second that mosquitto spares us

        logging.getLogger("amqtt").setLevel(logging.CRITICAL)
        logging.getLogger("transitions").setLevel(logging.CRITICAL)
        # A client that MQTT 5 was refused hangs up before amqtt does, which amqtt does not expect.
        self._loop.set_exception_handler(lambda _loop, _context: None)
        broker = AmqttBroker(
            {
                "listeners": {"default": {"type": "tcp", "bind": f"127.0.0.1:{self.port}"}},
                "plugins": {
                    "amqtt.plugins.authentication.AnonymousAuthPlugin": {"allow_anonymous": True},
                },
            }
        )
        await broker.start()
        await self._done.wait()
        await broker.shutdown()


def free_port() -> int:
    """A TCP port of the loopback interface that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _answers(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=0.2):
            return True
    except OSError:
        return False
