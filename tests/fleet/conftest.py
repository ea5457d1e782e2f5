"""The fleet that most of these tests run on."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from support.brokers import Mosquitto
from support.fleet import Fleet


@pytest.fixture
def fleet(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """A site on mosquitto, without agents yet."""
    with Mosquitto(tmp_path_factory.mktemp("broker")) as broker:
        running = Fleet(tmp_path, broker)
        yield running
        running.close()
