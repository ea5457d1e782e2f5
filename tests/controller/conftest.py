"""A real broker, agents that speak to it, releases to upload, and the controller itself."""

from __future__ import annotations

import contextlib
import hashlib
import io
import socket
import threading
import zipfile
from datetime import UTC, datetime

import cv2
import httpx
import numpy as np
import paho.mqtt.client as mqtt
import pytest
import uvicorn

from kenpin_agent.link.settings import BrokerSettings
from kenpin_controller.app import build_app
from kenpin_controller.controller import Controller, Settings
from kenpin_wire import manifest as mf
from kenpin_wire.contract import CONTRACT, decode, encode
from kenpin_wire.errors import WireError
from kenpin_wire.messages import ReleaseName, Status
from kenpin_wire.signed import Signed
from kenpin_wire.topics import Address, Channel, Topic, TopicTree
from support import wait_until
from support.brokers import Mosquitto


class Agent:
    """Speaks as one device, and remembers what is said to it."""

    def __init__(self, port: int, address: Address) -> None:
        self.address = address
        self.heard: list[tuple[Topic, bytes, bool]] = []
        self._tree = TopicTree()
        self._lock = threading.Lock()
        self._client = mqtt.Client(
            mqtt.CallbackAPIVersion.VERSION2, f"agent-{address.device}", protocol=mqtt.MQTTv5
        )
        self._client.max_inflight_messages_set(0)
        self._client.on_message = self._note
        self._client.on_connect = lambda client, *_: client.subscribe(
            [
                (f"{self._tree.prefix}/{address.site}/{address.line}/{address.device}/{what}/#", 1)
                for what in ("set", "cmd")
            ]
        )
        subscribed = threading.Event()
        self._client.on_subscribe = lambda *_: subscribed.set()
        self._client.connect("127.0.0.1", port)
        self._client.loop_start()
        assert subscribed.wait(5)

    def say(self, channel: Channel, message, *, argument: str = "") -> mqtt.MQTTMessageInfo:
        spec = CONTRACT[channel]
        payload = message if isinstance(message, bytes) else encode(message)
        topic = self._tree.build(Topic(self.address, channel, argument))
        return self._client.publish(topic, payload, spec.qos, spec.retain)

    def say_raw(self, topic: str, payload: bytes, qos: int = 1) -> mqtt.MQTTMessageInfo:
        return self._client.publish(topic, payload, qos)

    def arrive(self, release: str = "metal-1", **fields) -> None:
        """Say that it is online and what it runs."""
        self.say(
            Channel.STATUS, Status(state="online", release=release, boot=1, seq=1, **fields)
        ).wait_for_publish(5)

    def of(self, channel: Channel) -> list:
        """What was said on a channel, decoded, and out of its envelope if it is signed."""
        spec = CONTRACT[channel]
        with self._lock:
            found = [payload for topic, payload, _ in self.heard if topic.channel is channel]
        if spec.signed:
            found = [Signed.model_validate_json(payload).payload.encode() for payload in found]
        return [decode(channel, payload) if spec.model else payload for payload in found]

    def acked(self) -> list[str]:
        return [event_id for ack in self.of(Channel.SET_ACK) for event_id in ack.ids]

    def leave(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()

    def _note(self, _client, _userdata, message) -> None:
        with self._lock, contextlib.suppress(WireError):  # a test's own junk
            self.heard.append((self._tree.parse(message.topic), message.payload, message.retain))


@pytest.fixture
def broker(tmp_path_factory):
    with Mosquitto(
        tmp_path_factory.mktemp("broker"), persistent=True, extra="max_queued_messages 0"
    ) as running:
        yield running


@pytest.fixture
def new_agent(broker):
    agents = []

    def arrive(
        device: str = "cam-1", line: str = "line-a", *, release: str = "metal-1", silent: bool = False
    ) -> Agent:
        agent = Agent(broker.port, Address("tokyo", line, device))
        agents.append(agent)
        if not silent:
            agent.arrive(release)
        return agent

    yield arrive
    for agent in agents:
        agent.leave()


@pytest.fixture
def new_controller(broker, tmp_path):
    """Makes a started controller on the test's data folder; stopped at the test's end at the latest."""
    running = []

    def start(data: str = "data") -> Controller:
        settings = Settings(broker=BrokerSettings(port=broker.port), data=tmp_path / data)
        controller = Controller(settings)
        controller.start()
        running.append(controller)
        controller.session.wait_connected(5)
        return controller

    yield start
    for controller in running:
        controller.stop()


@pytest.fixture
def controller(new_controller):
    return new_controller()


@pytest.fixture
def knows(controller):
    """Waits until the controller knows a device and what it runs."""

    def wait(device: str) -> None:
        wait_until(
            lambda: (view := controller.fleet.device(device)) is not None and view.installed,
            what=f"{device} is known",
        )

    return wait


@pytest.fixture
def serve_app():
    """Serves an app over real HTTP on loopback, without its lifespan; gives the address."""
    servers = []

    def serve(app) -> str:
        listener = socket.create_server(("127.0.0.1", 0))
        server = uvicorn.Server(uvicorn.Config(app, log_config=None, lifespan="off"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
        thread.start()
        servers.append((server, thread, listener))
        wait_until(lambda: server.started, what="the web server's start")
        return f"http://127.0.0.1:{listener.getsockname()[1]}"

    yield serve
    for server, thread, listener in servers:
        server.should_exit = True
        thread.join(5)
        listener.close()


@pytest.fixture
def server(controller, serve_app):
    """The address of the running controller's REST interface."""
    return serve_app(build_app(controller, with_pages=False))


@pytest.fixture
def api(server):
    """The REST interface of the running controller."""
    with httpx.Client(base_url=f"{server}/api/v1") as client:
        yield client


def jpeg(seed: int = 0, size: int = 64) -> bytes:
    picture = np.random.default_rng(seed).integers(0, 255, (size, size, 3), dtype=np.uint8)
    return cv2.imencode(".jpg", picture)[1].tobytes()


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def release_file(
    name: str = "metal",
    version: str = "1",
    *,
    filler: bytes = b"encoder",
    tamper: bool = False,
    report: bytes | None = None,
    as_report: bytes | None = None,
) -> bytes:
    """A release whose files are what its manifest says, though no encoder could run them.

    Args:
        report: The page that its manifest names; `as_report` is what lies there, if it is something else.
    """
    files = {"encoder.tflite": filler, "head.npz": b"head", "golden/0.png": b"png"}
    if report is not None:
        files["report.html"] = report

    def entry(file: str) -> dict:
        return {"file": file, "sha256": sha256(files[file]), "size": len(files[file])}

    manifest = mf.Manifest(
        release=ReleaseName(name=name, version=version),
        created=datetime(2026, 1, 1, tzinfo=UTC),
        input=mf.Input(),
        encoder=mf.Encoder(**entry("encoder.tflite"), architecture="test", pooled="pooled", maps=["map"]),
        head=mf.Head(**entry("head.npz"), kind="knn"),
        calibration=mf.Calibration(scores=[1.0, 2.0], false_rejects=0.01, threshold=2.5),
        heatmap=mf.Heatmap(normal=1.0, limit=2.5),
        golden=[mf.Golden(**entry("golden/0.png"), score=1.0, tolerance=0.1)],
        report_page=mf.File(**entry("report.html")) if report is not None else None,
    )
    if as_report is not None:
        files["report.html"] = as_report
    if tamper:
        files["head.npz"] = b"HEAD"
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for file, data in {mf.MANIFEST_FILE: manifest.model_dump_json(), **files}.items():
            archive.writestr(zipfile.ZipInfo(file), data)  # no time of day, so that twice is the same file
    return buffer.getvalue()


@pytest.fixture
def make():
    """Things to upload and publish: `make.jpeg`, `make.release`, `make.sha256`."""

    class Make:
        jpeg = staticmethod(jpeg)
        release = staticmethod(release_file)
        sha256 = staticmethod(sha256)

    return Make
