"""Whoever has the broker has it all, but for the keys: a real fleet, and someone who may publish anything anywhere."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator

import pytest

from kenpin_agent.link.publications import Delivery, Publication
from kenpin_agent.link.session import MqttSession
from kenpin_agent.link.settings import BrokerSettings
from kenpin_wire.contract import encode
from kenpin_wire.messages import DesiredConfig, DesiredRelease, ReleaseName, ReportedConfig
from kenpin_wire.metadata import MetadataPart, pack_metadata
from kenpin_wire.signed import Signed
from support import wait_until
from support.fleet import LINE, Fleet, station


class Attacker:
    """Hears and says anything. `heard` holds the payloads of each topic, in order."""

    def __init__(self, port: int) -> None:
        self.heard: dict[str, list[bytes]] = {}
        self._session = MqttSession(BrokerSettings(port=port), client_id="attacker")
        self._session.on_message = self._take
        self._session.subscribe(["#"])
        self._session.start()
        self._session.wait_connected(15)

    def on(self, device: str, channel: str) -> list[bytes]:
        ending = f"/{LINE}/{device}/{channel}"
        return next((list(said) for topic, said in list(self.heard.items()) if topic.endswith(ending)), [])

    def topic(self, device: str, channel: str) -> str:
        base = next(topic for topic in self.heard if f"/{LINE}/" in topic).partition(f"/{LINE}/")[0]
        return f"{base}/{LINE}/{device}/{channel}"

    def say(self, device: str, channel: str, payload: bytes) -> None:
        self.publish(self.topic(device, channel), payload)

    def publish(self, topic: str, payload: bytes) -> None:
        self._session.publish(Publication(topic, payload, qos=1))

    def listen(self, handler: Callable[[Delivery], None]) -> None:
        """Hear with this from now on."""
        self._session.on_message = handler

    def stop(self) -> None:
        self._session.stop(drain_s=0.0)

    def _take(self, delivery: Delivery) -> None:
        self.heard.setdefault(delivery.topic, []).append(delivery.payload)


@pytest.fixture
def attacker(fleet: Fleet) -> Iterator[Attacker]:
    made = Attacker(fleet.broker.port)
    yield made
    made.stop()


@pytest.mark.slow
def test_a_broker_in_strange_hands_can_neither_move_a_threshold_nor_install_a_model(
    fleet: Fleet, attacker: Attacker
) -> None:
    story = fleet.story
    story.start_agents([station(1), station(2)])
    story.send(fleet.release("1"))

    def reported() -> ReportedConfig:
        return ReportedConfig.model_validate_json(attacker.on("cam-1", "reported/config")[-1])

    for device in ("cam-2", "cam-1", "cam-1"):
        story.move_threshold(device, 0.05 if not attacker.on(device, "set/config") else 0.1)
        wait_until(lambda d=device: attacker.on(d, "set/config"), what="the settings")
    wait_until(lambda: len(attacker.on("cam-1", "set/config")) >= 2, what="both settings")
    old, *_, last = (Signed.model_validate_json(said) for said in attacker.on("cam-1", "set/config"))
    of_cam_2 = Signed.model_validate_json(attacker.on("cam-2", "set/config")[-1])
    rev = json.loads(last.payload)["rev"]
    assert json.loads(old.payload)["rev"] < rev
    wait_until(lambda: reported().rev == rev, what="the last settings in force")
    before = reported()

    other = DesiredRelease(rev=10**6, release=ReleaseName(name="discs", version="6"), sha256="6" * 64, size=6)
    changed = last.model_copy(update={"payload": last.payload.replace(f'"rev":{rev}', f'"rev":{rev + 9}')})
    assert changed != last
    attacks: dict[str, Callable[[], None]] = {
        "set/config: it is not signed": lambda: attacker.say(
            "cam-1", "set/config", encode(DesiredConfig(rev=10**6, inspection=False))
        ),
        "set/release: it is not signed": lambda: attacker.say("cam-1", "set/release", encode(other)),
        "changed on the way": lambda: attacker.say("cam-1", "set/config", encode(changed)),
        "said to another device": lambda: attacker.say("cam-1", "set/config", encode(of_cam_2)),
        f"was replaced by {rev} before": lambda: attacker.say("cam-1", "set/config", encode(old)),
    }
    for reason, attack in attacks.items():
        logged = len(attacker.on("cam-1", "log"))
        attack()
        wait_until(
            lambda r=reason, n=logged: any(r in said.decode() for said in attacker.on("cam-1", "log")[n:]),
            what=f"the refusal {reason!r}",
        )
    judged = len(attacker.on("cam-1", "score"))
    wait_until(lambda: len(attacker.on("cam-1", "score")) > judged + 5, what="the line goes on")
    after = reported()
    assert (after.rev, after.threshold, after.inspection) == (before.rev, before.threshold, True)
    story.move_threshold("cam-1", 0.2)  # and the controller is heard all the same
    wait_until(lambda: reported().threshold != before.threshold, what="the controller's own settings")


@pytest.mark.slow
def test_metadata_from_strange_hands_keeps_a_release_back_but_spoils_nothing(
    fleet: Fleet, attacker: Attacker
) -> None:
    """Who answers before the controller does, with what is no metadata, is found out; the right answer is asked for
    again, and the release comes."""
    spoiled: list[str] = []

    def answer(delivery: Delivery) -> None:
        if delivery.topic.endswith("cam-1/meta/req") and len(spoiled) < 2:
            spoiled.append(json.loads(delivery.payload)["id"])
            nothing = pack_metadata(MetadataPart(0, 0, b""))
            attacker.publish(delivery.topic.replace("meta/req", f"set/meta/{spoiled[-1]}"), nothing)

    attacker.listen(answer)
    fleet.story.start_agents([station(1)])
    fleet.story.send(fleet.release("1"))
    assert not fleet.story.failures
    assert len(spoiled) == 2
