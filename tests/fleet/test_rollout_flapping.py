"""A release of 5 MB goes to twelve cameras over a network that does everything a network can do."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator

import pytest

from support import wait_until
from support.flaky_proxy import FlakyProxy
from support.fleet import Fleet, disc_station, write_discs, write_large_release

DEVICES = [f"cam-{number}" for number in range(1, 13)]
DEAF = ("cam-2", "cam-7", "cam-11")  # their connections are left half-open: nothing passes, nobody is told
BROKER_DEATHS, AWAY_S, BETWEEN_S = 2, 1.0, 4.0
LONGEST_GAP_S = 3
"""No two verdicts may be further apart, on any device, by the seconds that are stored (4 frames a second come)."""


@pytest.fixture
def proxy(fleet: Fleet) -> Iterator[FlakyProxy]:
    between = FlakyProxy(fleet.broker.port)
    yield between
    between.stop()


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_over_a_flapping_network_all_twelve_get_it_and_none_stops_inspecting(
    fleet: Fleet, proxy: FlakyProxy
) -> None:
    pictures = write_discs(fleet.folder / "discs")
    seats = [
        disc_station(number, pictures, line=f"line-{'abc'[(number - 1) // 4]}") for number in range(1, 13)
    ]
    for half in (seats[:6], seats[6:]):
        fleet.host(half, broker_port=proxy.port)
    trial = {"trial": {"memory_mb": None}}  # six agents in one process would be blamed for each other's
    fleet.story.upload(fleet.release("1").file)
    fleet.ended(fleet.roll_out("1", waves=[{"share": 1.0}], policy=trial), 60)
    large = fleet.story.upload(write_large_release(fleet.folder / "discs-2.kenpin", "2"))
    assert large["size"] > 5_000_000

    proxy.lose = proxy.repeat = 0.25
    began_s = time.time()
    rollout = fleet.roll_out("2", waves=[{"share": 1.0}], policy=trial)
    time.sleep(1.5)
    proxy.half_open(*(f"kenpin-demo-{seat.line}-{seat.device}" for seat in seats if seat.device in DEAF))
    for _ in range(BROKER_DEATHS):
        time.sleep(BETWEEN_S)
        fleet.broker.kill()
        time.sleep(AWAY_S)
        fleet.broker.start()  # and has forgotten every session and every retained message
    assert not fleet.rollout(rollout)["finished"], "it was over before the network was bad enough"
    done = fleet.ended(rollout, 120)
    ended_s = time.time()
    assert done["status"] == "finished", done["sentence"]
    assert {view["stage"] for view in done["devices"].values()} == {"done"}

    took = {device: round(view["updated_s"] - began_s) for device, view in done["devices"].items()}
    print("committed after s:", took)
    traffic = proxy.files[large["sha256"]]
    fetched = {device: traffic.came[device] / large["size"] for device in DEVICES}
    asked = {device: traffic.asked[device] / large["size"] for device in DEVICES}
    spoiled = (traffic.lost + traffic.repeated) / traffic.blocks
    mean = sum(fetched.values()) / len(fetched)
    print(
        f"{ended_s - began_s:.0f} s; each block came {mean:.2f} times, {max(fetched.values()):.2f} at most; "
    )
    print(f"asked {sum(asked.values()) / len(asked):.2f} times; {spoiled:.0%} of {traffic.blocks} spoiled")
    assert 0.4 < spoiled < 0.6
    assert mean <= 2.0

    def stored(device: str) -> list[int]:
        """The seconds in which it judged, while the rollout ran."""
        sql = "SELECT second_s FROM score_seconds WHERE device = ? AND n > 0 AND second_s BETWEEN ? AND ?"
        return sorted(second for (second,) in fleet.query(sql, device, int(began_s), int(ended_s)))

    wait_until(
        lambda: all(stored(device)[-1:] >= [int(ended_s) - 1] for device in DEVICES),
        timeout_s=30,
        what="what the outboxes kept",
    )
    gaps = {}
    for device in DEVICES:
        seconds = [int(began_s), *stored(device)]
        gaps[device] = max(after - before for before, after in itertools.pairwise(seconds))
    print("longest gaps in s:", gaps)
    assert max(gaps.values()) < LONGEST_GAP_S, gaps
