"""What the tests of several rooms share."""

from __future__ import annotations

import importlib.util
import os
import shutil
import socket
import time
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def require(what: str) -> str:
    """Skip the test unless this machine has `what`; where KENPIN_REQUIRE_ALL is set (CI), fail instead.

    Args:
        what: "mosquitto", "mosquitto_sub", "chromium", "torch", or "data" (the development pictures).

    Returns:
        The program's path, the module's name, or the pictures' folder.
    """
    found, hint = _LOOK_FOR[what]()
    if found is None:
        message = f"{what} is missing here: {hint}"
        if os.environ.get("KENPIN_REQUIRE_ALL"):
            pytest.fail(message)
        pytest.skip(message)
    return found


def wait_until(condition: Callable[[], object], *, timeout_s: float = 10.0, what: str = "it") -> None:
    """Poll until `condition()` is true; fail when it is not within `timeout_s`."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            pytest.fail(f"{what} did not happen within {timeout_s:g} s")
        time.sleep(0.01)


def free_port() -> int:
    """A TCP port of the loopback interface that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _program(*names: str, hint: str) -> Callable[[], tuple[str | None, str]]:
    paths = os.pathsep.join((os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin"))
    return lambda: (next((p for n in names if (p := shutil.which(n, path=paths))), None), hint)


def _torch() -> tuple[str | None, str]:
    found = importlib.util.find_spec("torch") and importlib.util.find_spec("litert_torch")
    return "torch" if found else None, "pip install 'kenpin[train]'"


def _data() -> tuple[str | None, str]:
    for folder in (os.environ.get("KENPIN_DATA"), ROOT.parent / "shared" / "data"):
        if folder and (Path(folder) / "aliens").is_dir():
            return str(folder), ""
    return None, "set KENPIN_DATA to the folder of development pictures"


_LOOK_FOR: dict[str, Callable[[], tuple[str | None, str]]] = {
    "mosquitto": _program("mosquitto", hint="apt-get install mosquitto"),
    "mosquitto_sub": _program("mosquitto_sub", hint="apt-get install mosquitto-clients"),
    "chromium": _program("chromium", "chromium-browser", hint="apt-get install chromium"),
    "torch": _torch,
    "data": _data,
}
