"""The broker is killed, and stays away, while anomalies happen."""

from __future__ import annotations

import time

import httpx
import pytest

from support import wait_until
from support.fleet import Fleet, station

AWAY_S = 30.0
RATE_HZ = 4.0


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_of_a_broker_outage_every_anomaly_is_stored_once_with_its_picture_and_every_second(
    fleet: Fleet,
) -> None:
    devices = ["cam-1", "cam-2"]
    fleet.story.start_agents([station(1, rate_hz=RATE_HZ), station(2, rate_hz=RATE_HZ)])
    fleet.story.send(fleet.release("1"))
    time.sleep(2)
    fleet.broker.kill()
    killed_s = time.time()
    time.sleep(AWAY_S)
    fleet.broker.start()
    back_s = time.time()
    wait_until(fleet.story.healthy, timeout_s=30, what="the controller's return to the broker")
    for device in devices:
        fleet.story.inspection(device, on=False)

    def settled(device: str) -> bool:
        """Both ways of counting, events and roll-ups, agree."""
        judged = sum(second["anomalies"] for second in fleet.story.seconds(device))
        return judged == len(fleet.story.events(device)) > 0

    def stored(sha256: str) -> bool:
        return httpx.get(f"{fleet.story.page}/api/v1/pictures/{sha256}").status_code == httpx.codes.OK

    for device in devices:
        wait_until(lambda d=device: settled(d), timeout_s=20, what=f"the last event of {device}")
        events = fleet.story.events(device)
        numbers = sorted(event["frame"] for event in events)
        assert len(set(numbers)) == len(events), "an event was stored twice"
        judged = sum(second["n"] for second in fleet.story.seconds(device))
        assert judged == len(events), "every part here is bad"
        dropped = numbers[-1] + 1 - numbers[0] - len(numbers)
        assert dropped <= 0.05 * len(numbers), (
            "a frame that comes while both cores are busy may be dropped, not many"
        )
        during = [event for event in events if killed_s + 1 < event["time_s"] < back_s - 1]
        assert len(during) > AWAY_S * RATE_HZ * 0.8
        for kind in ("picture_sha256", "heatmap_sha256"):
            wanted = [event[kind] for event in during]
            wait_until(lambda w=wanted: all(map(stored, w)), timeout_s=20, what=f"each {kind} of {device}")
