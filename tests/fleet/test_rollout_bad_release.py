"""A release that is wrong on live frames only is rolled out to twelve cameras on three lines behind a canary.

The canary and two of its siblings are processes of their own, the nine others share one. Everything else is as on a
site: mosquitto, the controller, messages and releases signed, the pinned root verified by each device.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

from kenpin_agent.link.session import Delivery, MqttSession
from kenpin_agent.link.settings import BrokerSettings
from kenpin_wire.contract import decode
from kenpin_wire.messages import Score
from kenpin_wire.topics import Channel, TopicTree
from support import wait_until
from support.agent_on_bench import small_release
from support.fleet import Fleet, disc_station, write_discs

CANARY = "cam-1"
DEVICES = [f"cam-{number}" for number in range(1, 13)]
WAVES = [{"count": 1}, {"share": 0.5}, {"share": 1.0}]
SHARED = {"memory_mb": None}  # nine agents in one process would be blamed for each other's memory
REJECTS_EVERYTHING = 1e-6  # golden pictures prove scores; the threshold is not their business


class Verdicts:
    """Every live verdict, by device and release, as anybody on the broker hears them."""

    def __init__(self, port: int) -> None:
        self.by_device: dict[str, Counter[str]] = {device: Counter() for device in DEVICES}
        self._tree = TopicTree()
        self._session = MqttSession(BrokerSettings(port=port), client_id="verdicts")
        self._session.on_message = self._hear
        self._session.subscribe([self._tree.filter(Channel.SCORE)])
        self._session.start()
        wait_until(lambda: self._session.connected, what="the listener's connection")

    def stop(self) -> None:
        self._session.stop(drain_s=0.0)

    def _hear(self, delivery: Delivery) -> None:
        score = decode(Channel.SCORE, delivery.payload)
        assert isinstance(score, Score)
        self.by_device[self._tree.parse(delivery.topic).address.device][score.release] += 1


@pytest.fixture
def verdicts(fleet: Fleet) -> Iterator[Verdicts]:
    listening = Verdicts(fleet.broker.port)
    yield listening
    listening.stop()


def start_twelve(fleet: Fleet) -> None:
    """Twelve cameras on three lines, all on release 1."""
    pictures = write_discs(fleet.folder / "discs")
    seats = [
        disc_station(number, pictures, line=f"line-{'abc'[(number - 1) // 4]}") for number in range(1, 13)
    ]
    fleet.story.start_agents(seats[:3])
    fleet.host(seats[3:])
    fleet.story.upload(fleet.release("1").file)
    done = fleet.ended(fleet.roll_out("1", waves=[{"share": 1.0}], policy={"trial": SHARED}), 60)
    assert done["status"] == "finished", done["sentence"]


def stages(rollout: dict[str, Any]) -> dict[str, str]:
    return {device: view["stage"] for device, view in rollout["devices"].items()}


def runs(fleet: Fleet) -> set[str]:
    """What the devices say they run."""
    said = (fleet.story.observer.devices[device].release for device in DEVICES)
    return {str(report.installed) for report in said if report is not None}


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_a_bad_release_stops_at_its_canary_is_rolled_back_there_and_judges_no_part_elsewhere(
    fleet: Fleet, verdicts: Verdicts
) -> None:
    start_twelve(fleet)
    enough = 40  # for the gate that compares with before
    wait_until(
        lambda: all(counts["discs-1"] >= enough for counts in verdicts.by_device.values()),
        timeout_s=30,
        what="some verdicts of each camera",
    )

    # One that rejects everything is found out by the canary itself, in its trial.
    fleet.story.upload(small_release(fleet.folder, "2", threshold=REJECTS_EVERYTHING))
    gross = fleet.ended(fleet.roll_out("2", waves=WAVES, policy={"trial": SHARED}), 40)
    assert gross["status"] in ("halted", "reverted"), gross["sentence"]
    assert gross["devices"][CANARY]["phase"] == "rolled_back"
    assert "reject-rate explosion" in gross["devices"][CANARY]["reason"]
    assert stages(gross) == {CANARY: "failed"} | dict.fromkeys(DEVICES[1:], "cancelled")

    # One that its trial lets pass, since the order allows it, is found out by the gate behind the canary.
    fleet.story.upload(small_release(fleet.folder, "3", threshold=REJECTS_EVERYTHING))
    lax = {"trial": {**SHARED, "reject_rate": 1.0}}
    subtle = fleet.ended(
        fleet.roll_out(
            "3", waves=WAVES, policy=lax, gates={"soak_s": 60.0, "reject_rate": {"min_parts": 20}}
        ),
        60,
    )
    assert subtle["status"] == "reverted", subtle["sentence"]
    assert stages(subtle) == {CANARY: "returned"} | dict.fromkeys(DEVICES[1:], "cancelled")
    assert any("rejects" in entry["text"] for entry in subtle["timeline"]), subtle["timeline"]
    assert runs(fleet) == {"discs-1"}

    # A good one goes all the way.
    fleet.story.upload(fleet.release("4").file)
    good = fleet.ended(
        fleet.roll_out("4", waves=WAVES, policy={"trial": SHARED}, gates={"reject_rate": {"min_parts": 20}}),
        90,
    )
    assert good["status"] == "finished", good["sentence"]
    assert set(stages(good).values()) == {"done"}
    assert runs(fleet) == {"discs-4"}

    # Who judged with what: by the store, and by every single live verdict.
    wait_until(
        lambda: all(fleet.judged()[device]["discs-4"] for device in DEVICES), timeout_s=15, what="the store"
    )
    for seen in (fleet.judged(), verdicts.by_device):
        assert set(seen) == set(DEVICES)
        for release in ("discs-2", "discs-3"):
            assert {device for device, counts in seen.items() if counts[release]} == {CANARY}
        for device, counts in seen.items():
            assert counts["discs-1"] >= enough / 2
            assert counts["discs-4"] > 0, device
