"""Brokers on the loopback: mosquitto as it is on a site, and amqtt as the demo falls back to.

Each is a process of its own, on a port of its own: `kill` it as the power would, and `start` it again. As a
context manager it runs until the end.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Self

from support import free_port, require, wait_until


class Broker:
    """A broker that listens on `port`.

    Args:
        folder: For its log, and for what it keeps.

    Attributes:
        protocol: The newest version of MQTT that it speaks.
    """

    protocol: str

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        self._folder = folder
        self._command: list[str] = []
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it and wait until it listens."""
        with (self._folder / "log").open("ab") as log:
            self._process = process = subprocess.Popen(self._command, stdout=log, stderr=log)
        ended_or_listens = lambda: process.poll() is not None or self._listens()  # noqa: E731  two words
        wait_until(ended_or_listens, timeout_s=20, what="the broker's start")
        assert process.poll() is None, (self._folder / "log").read_text()

    def kill(self) -> None:
        """End it with -9; what it keeps on disk stays."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def _listens(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0


class Mosquitto(Broker):
    """mosquitto; the test is skipped where it is not installed.

    Args:
        users: Passwords by name; None lets everybody in.
        acl: The text of its access rules; empty for none.
        extra: More lines for its configuration.
        persistent: Keep sessions and retained messages on disk, as on a site.
    """

    protocol = "5"

    def __init__(
        self,
        folder: Path,
        *,
        users: Mapping[str, str] | None = None,
        acl: str = "",
        extra: str = "",
        persistent: bool = False,
    ) -> None:
        super().__init__(folder)
        self._command = [require("mosquitto"), "-c", str(folder / "mosquitto.conf")]
        lines = [f"listener {self.port} 127.0.0.1", "set_tcp_nodelay true", extra]
        lines.append(f"allow_anonymous {'true' if users is None else 'false'}")
        if users is not None:
            passwords = folder / "passwords"
            passwords.touch(mode=0o600)
            for name, password in users.items():
                subprocess.run(["mosquitto_passwd", "-b", str(passwords), name, password], check=True)
            lines.append(f"password_file {passwords}")
        if acl:
            (folder / "acl").write_text(acl)
            lines.append(f"acl_file {folder / 'acl'}")
        if os.getuid() == 0:
            lines.append("user root")  # or it could not read what this process writes
        if persistent:
            lines += ["persistence true", f"persistence_location {folder}/"]
            lines += ["autosave_on_changes true", "autosave_interval 1"]
        (folder / "mosquitto.conf").write_text("\n".join(lines) + "\n")

    def forget(self) -> None:
        """Lose all that was retained or queued. Only while it is down."""
        (self._folder / "mosquitto.db").unlink(missing_ok=True)


class Amqtt(Broker):
    """amqtt, which speaks MQTT 3.1.1 only."""

    protocol = "3.1.1"

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._command = [sys.executable, "-c", _AMQTT, str(self.port)]


_AMQTT = """
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
