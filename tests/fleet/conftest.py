"""The fleet that most of these tests run on."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from kenpin_controller.demo.broker import BrokerKind, Mosquitto, start_broker
from support import require
from support.fleet import Fleet


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[Fleet]:
    """A site on mosquitto, without agents yet."""
    require("mosquitto")
    broker = start_broker(tmp_path / "broker", BrokerKind.MOSQUITTO)
    assert isinstance(broker, Mosquitto)
    running = Fleet(tmp_path, broker)
    yield running
    running.story.close()
    broker.stop()
