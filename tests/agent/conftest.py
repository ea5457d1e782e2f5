"""Brokers, and a bare session that plays the controller."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from kenpin_agent.link.session import Delivery, MqttSession
from kenpin_agent.link.settings import BrokerSettings
from support.brokers import Amqtt, Broker, Mosquitto


@pytest.fixture
def start_mosquitto(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Mosquitto]]:
    """Starts brokers and ends them after the test."""
    with ExitStack() as running:
        yield lambda **how: running.enter_context(Mosquitto(tmp_path_factory.mktemp("broker"), **how))


@pytest.fixture
def broker(start_mosquitto: Callable[..., Mosquitto]) -> Mosquitto:
    return start_mosquitto()


@pytest.fixture(params=[Mosquitto, Amqtt])
def any_broker(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    """One suite over both brokers."""
    with request.param(tmp_path_factory.mktemp("broker")) as running:
        yield running


class Listener:
    """A connected session that remembers what comes."""

    def __init__(
        self, port: int, filters: list[str], *, settings: dict[str, Any] | None = None, **how: Any
    ) -> None:
        self.deliveries: list[Delivery] = []
        self._lock = threading.Lock()
        how = {"client_id": "controller", **how}
        self.session = MqttSession(BrokerSettings(port=port, **(settings or {})), **how)
        self.session.on_message = self._take
        self.session.subscribe(filters)
        self.session.start()
        self.session.wait_connected(15)

    def on(self, end: str) -> list[bytes]:
        """Payloads that came on topics with this end."""
        with self._lock:
            return [d.payload for d in self.deliveries if d.topic.endswith(end)]

    def _take(self, delivery: Delivery) -> None:
        with self._lock:
            self.deliveries.append(delivery)


@pytest.fixture
def controller() -> Iterator[Callable[..., Listener]]:
    """`controller(port, filters)` plays a controller that listens there."""
    with ExitStack() as running:

        def listen(port: int, filters: list[str], **how: Any) -> Listener:
            listener = Listener(port, filters, **how)
            running.callback(listener.session.stop, 0.0)
            return listener

        yield listen
