"""A fleet whose devices have pinned the site's root: what the controller signs takes effect, and nothing else."""

from __future__ import annotations

import time

import paho.mqtt.client as mqtt
import pytest

from kenpin_controller.trust.desk import TrustDesk
from kenpin_controller.trust.keys import CONTROLLER
from kenpin_wire.contract import encode
from kenpin_wire.messages import DesiredConfig
from kenpin_wire.topics import Address, Channel, Topic, TopicTree
from support.fleet import LINE, Fleet, station


@pytest.mark.slow
def test_devices_follow_a_rotation_of_every_key_and_a_liar_at_the_broker_moves_nothing(fleet: Fleet) -> None:
    story = fleet.story
    story.start_agents([station(1)])
    story.send(fleet.release("1"))
    assert story.set_threshold("cam-1", value=0.5)

    bare = encode(DesiredConfig(rev=1000, inspection=False))
    topic = TopicTree().build(Topic(Address("demo", LINE, "cam-1"), Channel.SET_CONFIG))
    liar = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, "liar")
    liar.connect("127.0.0.1", fleet.broker.port)
    liar.loop_start()
    liar.publish(topic, bare, 1, retain=False).wait_for_publish(5)

    desk = TrustDesk(fleet.folder / "site")
    stolen = desk.controller_key_id
    for name in ("root", "targets", "snapshot", "timestamp", CONTROLLER):
        desk.rotate(name)
    assert desk.controller_key_id != stolen
    began_s = time.monotonic()
    assert story.set_threshold("cam-1", value=0.6)
    print(f"the first message with the new key was in force after {time.monotonic() - began_s:.2f} s")
    story.send(fleet.release("2"))
    liar.disconnect()
    liar.loop_stop()

    config = story.observer.devices["cam-1"].config
    assert config is not None
    assert config.inspection
    assert config.rev < 1000
    assert story.failures == []
