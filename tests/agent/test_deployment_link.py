"""What a real broker and a real loop tell the deployment."""

from __future__ import annotations

from pathlib import Path

from kenpin_agent.deployment.switch import Offer, Role
from kenpin_agent.link.session import MqttSession
from kenpin_agent.link.settings import BrokerSettings
from kenpin_agent.live_time import IDLE_AFTER_S, LiveTime
from kenpin_wire.messages import CameraState, TrialPolicy
from support import wait_until
from support.agent_on_bench import Bench, loaded
from support.brokers import Mosquitto


def test_the_brokers_largest_packet_is_known_once_it_has_said_so(tmp_path: Path) -> None:
    with Mosquitto(tmp_path, extra="max_packet_size 40000") as broker:
        session = MqttSession(BrokerSettings(port=broker.port), client_id="asks")
        assert session.max_packet_bytes is None
        session.start()
        session.wait_connected(10)
        assert session.max_packet_bytes == 40_000
        session.stop()


def test_live_time_says_that_it_stands_still() -> None:
    time = LiveTime(0.0, 0)
    for now_s, frames, camera, inspection, paused in [
        (1.0, 1, CameraState.OK, True, False),
        (2.0, 2, CameraState.LOST, True, True),
        (3.0, 3, CameraState.OK, False, True),
        (4.0, 4, CameraState.OK, True, False),
        (5.0 + IDLE_AFTER_S, 4, CameraState.OK, True, True),
    ]:
        time.look(now_s, frames=frames, camera=camera, inspection=inspection)
        assert time.paused is paused


def test_a_loop_whose_camera_is_lost_holds_the_trials_deadline(tmp_path: Path) -> None:
    release = loaded(tmp_path)
    bench = Bench(tmp_path / "state")
    try:
        held: list[None] = []
        bench.deployer.hold = lambda: held.append(None)  # type: ignore[method-assign]  # to see it called
        bench.deaf()
        bench.switch.offer(Offer(release, Role.TRIAL, trial=TrialPolicy(frames=100_000), rev=1))
        wait_until(lambda: len(bench.scores()) > 5, what="the first verdicts")
        held.clear()  # it stood still until the camera came
        wait_until(lambda: len(bench.scores()) > 25, what="more verdicts")
        assert not held
        bench.belt.lost = True
        wait_until(lambda: len(held) > 1, what="the hold")
    finally:
        bench.close()
