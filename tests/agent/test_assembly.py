"""The real parts put together, on a device that has no controller."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import cv2
import pytest

from kenpin_agent.assembly import run_agent
from kenpin_agent.config import AgentConfig
from kenpin_agent.deployment.slots import Slots
from support import free_port, wait_until
from support.small_release import part, write_release


@pytest.fixture
def config(tmp_path: Path) -> AgentConfig:
    (tmp_path / "parts").mkdir()
    for number in range(3):
        cv2.imwrite(str(tmp_path / "parts" / f"{number}.png"), part(number))
    return AgentConfig.model_validate(
        {
            "site": "s",
            "line": "l",
            "device": "d",
            "state_dir": tmp_path / "state",
            "release": write_release(tmp_path / "discs.kenpin"),
            "broker": {"port": free_port()},
            "camera": {"kind": "folder", "path": tmp_path / "parts", "rate_hz": 50},
            "thermometer": {"kind": "none"},
        }
    )


@pytest.fixture(autouse=True)
def own_log_handlers() -> Iterator[None]:
    root = logging.getLogger()
    before = list(root.handlers)
    yield
    root.handlers[:] = before


@contextmanager
def running(config: AgentConfig) -> Iterator[None]:
    stop = threading.Event()
    thread = threading.Thread(target=run_agent, args=(config, stop))
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(20)


def committed(config: AgentConfig) -> bool:
    return Slots(config.state_dir).load().committed is not None


def test_a_device_without_a_controller_installs_its_damaged_release_anew(config: AgentConfig) -> None:
    with running(config):
        wait_until(lambda: committed(config), timeout_s=20, what="the release from the file")
    slots = Slots(config.state_dir)
    installed = slots.load().committed
    assert installed is not None
    head = slots.slot(installed.slot) / "head.npz"
    sound = head.read_bytes()
    head.write_bytes(b"rotten")
    with running(config):
        wait_until(
            lambda: head.is_file() and head.read_bytes() == sound and committed(config),
            timeout_s=20,
            what="the release once more",
        )
