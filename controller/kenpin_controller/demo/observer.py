"""Listens to the fleet from outside, as any other program on the broker could."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from kenpin_agent.link.session import Delivery, MqttSession
from kenpin_agent.link.settings import BrokerSettings
from kenpin_controller.demo.scoreboard import Board
from kenpin_wire.contract import decode
from kenpin_wire.errors import WireError
from kenpin_wire.messages import Presence, ReportedConfig, ReportedRelease, Score, Status, Telemetry, Verdict
from kenpin_wire.topics import Channel, TopicTree

_HEARD = (
    Channel.STATUS,
    Channel.SCORE,
    Channel.TELEMETRY,
    Channel.REPORTED_CONFIG,
    Channel.REPORTED_RELEASE,
)


@dataclass(slots=True)
class Heard:
    """What one device said so far."""

    board: Board = field(default_factory=Board)
    online: bool = False
    judged: int = 0
    longest_gap_s: float = 0.0
    """The longest time between two verdicts, by the device's own clock."""
    hottest_c: float = float("-inf")
    config: ReportedConfig | None = None
    release: ReportedRelease | None = None
    last_verdict_s: float | None = None
    first_release_of_boot: ReportedRelease | None = None
    """What the device said it runs when it last started."""


class Observer:
    """Keeps what each device said. `stop` it in the end."""

    def __init__(self, broker: BrokerSettings) -> None:
        self._tree = TopicTree(broker.prefix)
        self._changed = threading.Condition()
        self.devices: dict[str, Heard] = {}
        self._session = MqttSession(broker, client_id="kenpin-demo")
        self._session.on_message = self._hear
        self._session.subscribe(self._tree.filter(channel) for channel in _HEARD)
        self._session.start()

    def stop(self) -> None:
        self._session.stop(drain_s=0.0)

    def wait(self, device: str, condition: Callable[[Heard], bool], timeout_s: float) -> float | None:
        """Wait until what a device said meets `condition`; returns the seconds it took, None if too long."""
        began_s = time.monotonic()
        with self._changed:
            met = self._changed.wait_for(
                lambda: device in self.devices and condition(self.devices[device]), timeout=timeout_s
            )
        return time.monotonic() - began_s if met else None

    def _hear(self, delivery: Delivery) -> None:
        try:
            topic = self._tree.parse(delivery.topic)
            message = decode(topic.channel, delivery.payload)
        except WireError:
            return  # the controller counts and tells these
        with self._changed:
            heard = self.devices.setdefault(topic.address.device, Heard())
            match message:
                case Status():
                    heard.online = message.state == Presence.ONLINE
                case Score():
                    _count(heard, message)
                case Telemetry() if message.temperature_c is not None:
                    heard.hottest_c = max(heard.hottest_c, message.temperature_c)
                case ReportedConfig():
                    heard.config = message
                case ReportedRelease():
                    if heard.release is None or heard.release.boot != message.boot:
                        heard.first_release_of_boot = message
                    heard.release = message
            self._changed.notify_all()


def _count(heard: Heard, score: Score) -> None:
    heard.judged += 1
    now_s = score.ts.timestamp()
    if heard.last_verdict_s is not None:
        heard.longest_gap_s = max(heard.longest_gap_s, now_s - heard.last_verdict_s)
    heard.last_verdict_s = now_s
    if score.part is not None:
        heard.board.judged(score.part, rejected=score.verdict == Verdict.ANOMALY)
