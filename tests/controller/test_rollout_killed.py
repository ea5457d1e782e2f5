"""The controller dies by kill -9 in the middle of a rollout, again and again, and the rollout ends as it should."""

import random
import signal
import subprocess
import sys
import time

import httpx
import pytest

from support import free_port, wait_until
from support.obedient import NEW, OLD, Obedient


class Serve:
    """`kenpin serve` as a real process, on one data folder."""

    def __init__(self, folder, broker_port: int) -> None:
        self.port = free_port()
        self._arguments = ("--broker", f"127.0.0.1:{broker_port}", "--data", str(folder / "site"))
        self.log = folder / "serve.log"
        self._process = None

    def start(self) -> None:
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [
                    sys.executable,
                    "-m",
                    "kenpin_controller.cli",
                    "serve",
                    *self._arguments,
                    "--port",
                    str(self.port),
                ],
                stdout=log,
                stderr=log,
            )
        wait_until(self._healthy, timeout_s=60, what="the controller")

    def kill(self) -> None:
        self._process.send_signal(signal.SIGKILL)
        self._process.wait(10)

    def ask(self, method: str, path: str, **arguments):
        url = f"http://127.0.0.1:{self.port}/api/v1{path}"
        return httpx.request(method, url, timeout=20, **arguments).raise_for_status().json()

    def _healthy(self) -> bool:
        try:
            return httpx.get(f"http://127.0.0.1:{self.port}/healthz", timeout=5).json()["broker"] == ""
        except httpx.HTTPError:
            return False


@pytest.fixture
def serve(tmp_path, broker):
    process = Serve(tmp_path, broker.port)
    process.start()
    yield process
    process.kill()


@pytest.mark.slow
@pytest.mark.parametrize("fails", ["", "rolled_back"])
def test_a_rollout_outlives_kill_9_at_any_moment(serve, new_agent, make, fails):
    cameras = [Obedient(new_agent(f"cam-{i}")) for i in range(1, 6)]
    if fails:
        cameras[2].fails = fails
    for version in ("1", "2"):
        serve.ask("POST", "/releases", content=make.release(version=version))
    wait_until(lambda: len(serve.ask("GET", "/devices")) == 5, what="the devices")
    body = {
        "release": {"name": "metal", "version": "2"},
        "waves": [{"count": 1}, {"count": 2}, {"share": 1.0}],
        "gates": {"soak_s": 1.0, "success": 1.0},
    }
    rollout = serve.ask("POST", "/rollouts", json=body)["id"]
    rng = random.Random(4)
    for _ in range(2):
        time.sleep(rng.uniform(0.0, 0.8))  # any moment will do
        serve.kill()
        serve.start()
    wait_until(lambda: serve.ask("GET", f"/rollouts/{rollout}")["finished"], timeout_s=60, what="the end")
    view = serve.ask("GET", f"/rollouts/{rollout}")
    waves = {name: device["wave"] for name, device in view["devices"].items()}
    wait_until(
        lambda: all(ends(cameras, waves, fails)), timeout_s=20, what=f"every camera to be {view['sentence']}"
    )
    assert view["status"] == ("reverted" if fails else "finished")
    for camera in cameras:
        revs = [order.rev for order in camera.orders]
        assert revs == sorted(set(revs))
        if fails and waves[camera.agent.address.device] == 2:
            assert camera.orders == []
        camera.stop()


def ends(cameras, waves, fails) -> list[bool]:
    """A good release ends everywhere; one that fails in the second wave stays with the first alone."""
    return [
        camera.runs == (NEW if not fails or waves[camera.agent.address.device] == 0 else OLD)
        for camera in cameras
    ]
