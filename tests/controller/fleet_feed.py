"""A fleet that does not exist: messages as agents send them, and `Operations` that act on it. For tests and eyes.

    PYTHONPATH=tests python tests/controller/fleet_feed.py [--port P] [--scenario fine|troubled|quiet|empty|updates]

serves the pages of such a fleet on loopback.
"""

from __future__ import annotations

import argparse
import hashlib
import itertools
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import cv2
import numpy as np
from fastapi import FastAPI, Request

from kenpin_agent.cameras.config import Defect, Design
from kenpin_agent.cameras.conveyor import render
from kenpin_controller.fleet import Fleet
from kenpin_controller.operations import EventRecord, ReleaseRecord, ScoreSecond
from kenpin_controller.pages import mount
from kenpin_controller.rollouts.plan import Plan, Subject, Targets
from kenpin_controller.rollouts.views import RolloutView
from kenpin_wire.errors import ConfigError, ReleaseError
from kenpin_wire.messages import (
    AnomalyData,
    AnomalyEvent,
    CameraState,
    LogLine,
    Message,
    Phase,
    Presence,
    ReleaseName,
    ReportedConfig,
    ReportedRelease,
    Score,
    ScoreAggregate,
    Status,
    Telemetry,
    Verdict,
    pack_scores,
)
from kenpin_wire.topics import Address, Channel, Topic
from support.fake_rollouts import CAMERAS, FakeRollouts, fill, fresh, shadow_report

Said = tuple[Topic, Message | bytes]
DEFECTS: tuple[Defect, ...] = ("scratch", "rust", "missing_corner")


@dataclass
class FakeDevice:
    """One camera. `speak` gives what it says at a moment; the trouble fields make it ill."""

    address: Address
    design: Design = "bracket"
    seed: int = 0
    threshold: float = float(np.float32(1.6))  # as it comes off the wire: 1.600000023841858
    fps: float = 5.0
    anomaly_every: int = 150
    temperature_c: float = 56.0
    release: ReleaseName | None = field(default_factory=lambda: ReleaseName(name="bracket", version="1.2.0"))
    allowance: float = 1.0
    reason: str = "Cool enough for every frame"
    throttle_bits: int = 0
    camera: CameraState = CameraState.OK
    camera_detail: str = ""
    inspection: bool = True
    config_rev: int = 3
    config_error: str = ""
    previous: ReleaseName | None = None
    rollout: str = ""
    phase: Phase = Phase.COMMITTED
    phase_reason: str = ""
    silent: bool = False

    def __post_init__(self) -> None:
        self.rng = np.random.default_rng(self.seed)
        self.seq = itertools.count(1)
        self.frame = 0
        self.boot = 7
        self.second: tuple[int, list[float], int] = (0, [], 0)
        self.next_frame_s = self.next_telemetry_s = 0.0
        self.percent = 0.0
        self.latest = self.release
        self.force_anomaly = False

    def hello(self, now_s: float) -> Iterator[Said]:
        yield (
            self.topic(Channel.STATUS),
            self.stamp(Status(state=Presence.ONLINE, agent_version="0.1.0"), now_s),
        )
        yield self.reported_config(now_s)
        yield self.reported_release(now_s)

    def speak(self, now_s: float) -> Iterator[Said]:
        """All that it has to say by now."""
        if self.silent:
            return
        if now_s >= self.next_telemetry_s:
            self.next_telemetry_s = now_s + 5.0
            yield self.telemetry(now_s)
        if self.release is None or not self.inspection or self.camera is not CameraState.OK:
            return
        while self.next_frame_s <= now_s:
            at_s = self.next_frame_s or now_s
            self.next_frame_s = at_s + 1.0 / (self.fps * self.allowance)
            yield from self.judge(at_s)

    def judge(self, at_s: float) -> Iterator[Said]:
        self.frame += 1
        bad = self.force_anomaly or self.frame % self.anomaly_every == 0
        self.force_anomaly = False
        score = float(self.rng.normal(1.0, 0.07) + 0.06 * np.sin(at_s / 17.0))
        if bad:
            score = float(self.rng.uniform(2.1, 3.4))
        over = score > self.threshold
        part = f"{self.frame:06d}"
        verdict = Verdict.ANOMALY if over else Verdict.NORMAL
        yield (
            self.topic(Channel.SCORE),
            self.stamp(
                Score(score=score, threshold=self.threshold, verdict=verdict, frame=self.frame, part=part),
                at_s,
            ),
        )
        second, scores, anomalies = self.second
        if int(at_s) != second:
            if scores:
                yield self.aggregate(second, scores, anomalies)
            second, scores, anomalies = int(at_s), [], 0
        self.second = (second, [*scores, score], anomalies + over)
        if over:
            yield from self.anomaly(at_s, score, part)

    def aggregate(self, second: int, scores: list[float], anomalies: int) -> Said:
        values = np.asarray(scores)
        message = ScoreAggregate(
            threshold=self.threshold,
            n=len(scores),
            mean=float(values.mean()),
            p95=float(np.quantile(values, 0.95)),
            max=float(values.max()),
            anomalies=anomalies,
            scores=pack_scores(scores),
        )
        return self.topic(Channel.SCORE_AGG), self.stamp(message, float(second))

    def anomaly(self, at_s: float, score: float, part: str) -> Iterator[Said]:
        picture, heatmap = pictures(self.frame, self.seed, self.design)
        data = AnomalyData(
            score=score,
            threshold=self.threshold,
            frame=self.frame,
            part=part,
            release=str(self.release),
            picture_sha256=hashlib.sha256(picture).hexdigest(),
            heatmap_sha256=hashlib.sha256(heatmap).hexdigest(),
        )
        event_id = f"{self.address.device}-{self.boot}-{self.frame}"
        stamp = datetime.fromtimestamp(at_s, UTC)
        yield (
            self.topic(Channel.EVENT_ANOMALY),
            self.stamp(AnomalyEvent(id=event_id, time=stamp, data=data), at_s),
        )
        yield self.topic(Channel.PICTURE), picture
        yield self.topic(Channel.HEATMAP), heatmap

    def telemetry(self, now_s: float) -> Said:
        wobble = float(self.rng.normal(0.0, 0.3) + 1.5 * np.sin(now_s / 90.0))
        busy = self.inspection and self.camera is CameraState.OK and self.release is not None
        message = Telemetry(
            temperature_c=round(self.temperature_c + wobble, 1),
            fps=round(max(0.0, self.fps * self.allowance + float(self.rng.normal(0, 0.05))), 1) * busy,
            allowance=self.allowance,
            reason=self.reason,
            throttle_bits=self.throttle_bits,
            camera=self.camera,
            camera_detail=self.camera_detail,
            frames=self.frame,
            memory_mb=118.0,
            disk_free_mb=9_400.0,
            uptime_s=86_400 * 3 + now_s % 1000,
        )
        return self.topic(Channel.TELEMETRY), self.stamp(message, now_s)

    def reported_config(self, now_s: float) -> Said:
        message = ReportedConfig(
            rev=self.config_rev,
            applied=not self.config_error,
            error=self.config_error,
            threshold=self.threshold,
            inspection=self.inspection,
        )
        return self.topic(Channel.REPORTED_CONFIG), self.stamp(message, now_s)

    def reported_release(self, now_s: float) -> Said:
        message = ReportedRelease(
            installed=self.release,
            previous=self.previous,
            latest=self.latest,
            phase=self.phase,
            reason=self.phase_reason,
            percent=self.percent,
            rollout=self.rollout,
        )
        return self.topic(Channel.REPORTED_RELEASE), self.stamp(message, now_s)

    def topic(self, channel: Channel) -> Topic:
        return Topic(self.address, channel)

    def stamp(self, message: Message, at_s: float) -> Message:
        stamp = datetime.fromtimestamp(at_s, UTC)
        return message.model_copy(update={"ts": stamp, "boot": self.boot, "seq": next(self.seq)})


def pictures(number: int, seed: int, design: Design = "bracket") -> tuple[bytes, bytes]:
    """JPEGs of a defective part and of its heatmap, as an agent would send them."""
    image, mask = render(number, seed, DEFECTS[number // 7 % len(DEFECTS)], design)
    heat = cv2.GaussianBlur(cv2.dilate(mask, np.ones((15, 15))).astype(np.float32), (0, 0), 16)
    heat = np.clip(heat / max(float(heat.max()), 1.0) * 210 + 25, 0, 255).astype(np.uint8)
    mixed = cv2.addWeighted(image, 0.55, cv2.applyColorMap(heat, cv2.COLORMAP_JET), 0.45, 0)
    small = [cv2.resize(picture, (480, 360), interpolation=cv2.INTER_AREA) for picture in (image, mixed)]
    a, b = (cv2.imencode(".jpg", picture, (cv2.IMWRITE_JPEG_QUALITY, 84))[1].tobytes() for picture in small)
    return a, b


class FakeOperations(FakeRollouts):
    """`Operations` in memory, on fake devices that obey a moment later. For tests only."""

    def __init__(self, site: FakeSite) -> None:
        super().__init__()
        self.site = site
        self.calls: list[tuple[str, dict[str, Any]]] = []
        self.refusal: ConfigError | None = None
        self.stock: list[ReleaseRecord] = []
        self.reports: dict[str, bytes] = {}
        self.pictures: dict[str, bytes] = {}
        self.past: list[EventRecord] = []

    def set_threshold(
        self, device: str, *, value: float | None = None, false_rejects: float | None = None, who: str
    ) -> int:
        self._note("set_threshold", device=device, value=value, false_rejects=false_rejects, who=who)
        fake = self.site.devices[device]
        fake.threshold = value if value is not None else 1.45 if false_rejects else 1.6
        return self._settle(fake)

    def set_inspection(self, device: str, on: bool, *, who: str) -> int:
        self._note("set_inspection", device=device, on=on, who=who)
        self.site.devices[device].inspection = on
        return self._settle(self.site.devices[device])

    def add_release(self, data: bytes, *, who: str) -> ReleaseRecord:
        self._note("add_release", size=len(data), who=who)
        if not data.startswith(b"PK"):
            raise ReleaseError(
                "not a release", where="the uploaded file", remedy="Make it with `kenpin train`."
            )
        digest = hashlib.sha256(data).hexdigest()
        name = ReleaseName(name="bracket", version=f"1.{3 + len(self.stock)}.0")
        record = ReleaseRecord(name, digest, len(data), self.site.now_s, {"head": "padim"})
        self.stock.append(record)
        return record

    def start_rollout(
        self, release: ReleaseName, *, devices: list[str] | None = None, line: str | None = None, who: str
    ) -> RolloutView:
        self._note("start_rollout", release=str(release), devices=devices, line=line, who=who)
        chosen = devices or [n for n, d in self.site.devices.items() if line in (None, d.address.line)]
        for name in chosen:
            fake = self.site.devices[name]
            fake.latest, fake.phase, fake.percent, fake.phase_reason = release, Phase.DOWNLOADING, 0.0, ""
        plan = Plan(subject=Subject(release=release), targets=Targets(devices=devices, line=line))
        view = fresh(f"s{len(self.known)}", plan, chosen, who=who)
        self.known[view.id] = view
        return view

    def send_command(self, device: str, verb: str, arguments: dict[str, Any], *, who: str) -> str:
        self._note("send_command", device=device, verb=verb, arguments=arguments, who=who)
        return "c1"

    def releases(self) -> list[ReleaseRecord]:
        return list(self.stock)

    def release(self, label: str) -> ReleaseRecord | None:
        return next((record for record in self.stock if str(record.release) == label), None)

    def release_report(self, label: str) -> bytes | None:
        return self.reports.get(label)

    def events(
        self,
        *,
        line: str | None = None,
        device: str | None = None,
        limit: int = 50,
        before_s: float | None = None,
    ) -> list[EventRecord]:
        mine = [e for e in self.past if device in (None, e.device) and line in (None, e.line)]
        mine = [e for e in mine if before_s is None or e.time_s < before_s]
        return sorted(mine, key=lambda e: -e.time_s)[:limit]

    def event(self, event_id: str) -> EventRecord | None:
        return next((e for e in self.past if e.id == event_id), None)

    def picture(self, sha256: str) -> bytes | None:
        return self.pictures.get(sha256)

    def scores(self, device: str, *, since_s: float, until_s: float | None = None) -> list[ScoreSecond]:
        return []

    def _note(self, what: str, **arguments: Any) -> None:
        self.calls.append((what, arguments))
        if self.refusal is not None:
            raise self.refusal

    def _settle(self, fake: FakeDevice) -> int:
        fake.config_rev += 1
        self.site.later(0.4, fake.reported_config)
        return fake.config_rev


class FakeSite:
    """Fake devices, the fleet that listens to them, and operations on them."""

    def __init__(self, devices: list[FakeDevice]) -> None:
        self.devices = {device.address.device: device for device in devices}
        self.fleet = Fleet()
        self.operations = FakeOperations(self)
        self.now_s = time.time()
        self._later: list[tuple[float, Any]] = []
        self._stop = threading.Event()
        self._lock = threading.Lock()

    def later(self, delay_s: float, speech: Any) -> None:
        self._later.append((self.now_s + delay_s, speech))

    def live_through(self, seconds: float, step_s: float = 0.2) -> None:
        """Run the site's past up to now, so that a page opens on a fleet that has lived."""
        end_s = time.time()
        self.now_s = end_s - seconds
        for device in self.devices.values():
            self._say(device.hello(self.now_s))
        while self.now_s < end_s:
            self.now_s += step_s
            self.tick()
        self._remember()

    def tick(self) -> None:
        with self._lock:
            for device in list(self.devices.values()):
                self._say(device.speak(self.now_s))
                self._deploy(device)
            due = [speech for at_s, speech in self._later if at_s <= self.now_s]
            self._later = [(at_s, speech) for at_s, speech in self._later if at_s > self.now_s]
            self._say(iter([speech(self.now_s) for speech in due]))

    def run(self) -> None:
        """Go on in real time, until `stop`."""
        while not self._stop.wait(0.1):
            self.now_s = time.time()
            self.tick()

    def stop(self) -> None:
        self._stop.set()

    def _say(self, said: Iterator[Said]) -> None:
        for topic, message in said:
            self.fleet.apply(topic, message, self.now_s)
            if isinstance(message, bytes):
                self.operations.pictures[hashlib.sha256(message).hexdigest()] = message

    def _deploy(self, device: FakeDevice) -> None:
        if device.phase is not Phase.DOWNLOADING:
            return
        device.percent = min(100.0, device.percent + 5.0)
        if device.percent >= 100.0:
            device.phase, device.release = Phase.COMMITTED, device.latest
        self._say(iter([device.reported_release(self.now_s)]))

    def _remember(self) -> None:
        for device in self.devices.values():
            view = self.fleet.device(device.address.device)
            for a in view.anomalies if view is not None else ():
                self.operations.past.append(
                    EventRecord(
                        id=a.id,
                        time_s=a.time_s,
                        line=device.address.line,
                        device=device.address.device,
                        score=a.score,
                        threshold=a.threshold,
                        release=a.release,
                        part=a.part,
                        frame=0,
                        picture_sha256=a.picture_sha256,
                        heatmap_sha256=a.heatmap_sha256,
                    )
                )


def fine_site() -> FakeSite:
    """Two lines, three cameras, nothing wrong."""
    plate = ReleaseName(name="ring", version="2.0.1")
    site = FakeSite(
        [
            FakeDevice(Address("mill", "stamping", "press-left"), seed=1, fps=5.0, temperature_c=55),
            FakeDevice(Address("mill", "stamping", "press-right"), seed=2, fps=5.0, anomaly_every=260),
            FakeDevice(
                Address("mill", "finishing", "outfeed"), "ring", seed=3, release=plate, anomaly_every=190
            ),
        ]
    )
    stock(site)
    return site


def troubled_site() -> FakeSite:
    """Two lines, four cameras, three of which need someone."""
    plate = ReleaseName(name="ring", version="2.0.1")
    site = FakeSite(
        [
            FakeDevice(Address("mill", "stamping", "press-left"), seed=1, fps=5.0, anomaly_every=40),
            FakeDevice(
                Address("mill", "stamping", "press-right"),
                seed=2,
                fps=5.0,
                temperature_c=78.5,
                allowance=0.55,
                throttle_bits=0x80000,
                reason="Close to the limit: untriggered frames are shed",
            ),
            FakeDevice(
                Address("mill", "finishing", "outfeed"), "ring", seed=3, release=plate, anomaly_every=500
            ),
            FakeDevice(
                Address("mill", "finishing", "packing"),
                "ring",
                seed=4,
                release=plate,
                camera=CameraState.LOST,
                camera_detail="/dev/video0 stopped giving frames",
            ),
        ]
    )
    stock(site)
    site.devices["packing"].latest = ReleaseName(name="ring", version="2.1.0")
    return site


def quiet_site() -> FakeSite:
    """As `fine_site`, with anomalies only when a test asks for one; each camera has had its first."""
    site = fine_site()
    for device in site.devices.values():
        device.anomaly_every = 1_000_000
        device.force_anomaly = True
    return site


def updates_site() -> FakeSite:
    """Three lines of four cameras each, and rollouts to them."""
    devices = [
        FakeDevice(Address("mill", line, name), seed=seed, fps=2.0, anomaly_every=1_000_000)
        for seed, (name, line) in enumerate(CAMERAS.items())
    ]
    devices[0].phase, devices[0].latest = Phase.STAGED, ReleaseName(name="bracket", version="1.3.0")
    devices[0].phase_reason = "Waits for a yes"
    devices[5].previous = ReleaseName(name="bracket", version="1.1.0")
    site = FakeSite(devices)
    stock(site)
    fill(site.operations, site.now_s)
    return site


def stock(site: FakeSite) -> None:
    for version, head, days in (("1.2.0", "padim", 9), ("1.3.0", "patch_knn", 1)):
        digest = hashlib.sha256(version.encode()).hexdigest()
        uploaded = datetime.now(UTC) - timedelta(days=days)
        name = ReleaseName(name="bracket", version=version)
        summary = {
            "head": head,
            "encoder": "EfficientNet-Lite0",
            "input": "160×120",
            "threshold": 1.6,
            "false_rejects": 0.01,
            "pictures": 84,
            "calibrated_on": 56,
            "report": version != "1.2.0",
        }
        record = ReleaseRecord(
            name, digest, 3_870_000, uploaded.timestamp(), summary, signed=version == "1.3.0"
        )
        site.operations.stock.append(record)


def warn(site: FakeSite, device: str, message: str) -> None:
    fake = site.devices[device]
    line = fake.stamp(LogLine(message=message), site.now_s)
    site.fleet.apply(fake.topic(Channel.LOG), line, site.now_s)


def add_levers(app: FastAPI, site: FakeSite) -> None:
    """What a test in another process pulls."""

    @app.post("/fake/anomaly/{device}")
    def anomaly(device: str) -> None:
        site.devices[device].force_anomaly = True

    @app.post("/fake/silence/{device}")
    def silence(device: str) -> None:
        fake = site.devices[device]
        fake.silent = True
        will = fake.stamp(Status(state=Presence.OFFLINE), site.now_s)
        site.fleet.apply(fake.topic(Channel.STATUS), will, site.now_s)

    @app.post("/fake/new/{line}/{device}")
    def new(line: str, device: str) -> None:
        fake = FakeDevice(Address("mill", line, device), release=None, phase=Phase.IDLE)
        site.devices[device] = fake
        site.later(0.0, fake.telemetry)
        site.later(0.0, fake.reported_release)

    @app.post("/fake/refuse")
    def refuse(on: bool) -> None:
        error = ConfigError("0.5 is below every good part", where="press-left", remedy="Choose a higher one.")
        site.operations.refusal = error if on else None

    @app.post("/fake/send/{label}/{device}")
    def send(label: str, device: str) -> None:
        record = site.operations.release(label)
        assert record is not None
        site.operations.start_rollout(record.release, devices=[device], who="a test")

    @app.post("/fake/report/{label}")
    async def report(label: str, request: Request) -> None:
        site.operations.reports[label] = await request.body()

    @app.post("/fake/fill")
    def refill() -> None:
        """The rollouts as they were at first."""
        fill(site.operations, site.now_s)

    @app.post("/fake/place/{rollout}/{device}")
    def place(rollout: str, device: str, phase: str, percent: float) -> None:
        site.operations.place(rollout, device, phase=phase, percent=percent)

    @app.post("/fake/shadow/{device}")
    def shadow(device: str, frames: int) -> None:
        fake = site.devices[device]
        fake.phase, fake.latest = Phase.SHADOWING, ReleaseName(name="bracket", version="1.3.0")
        fake.rollout = "r2"
        topic, report = fake.reported_release(site.now_s)
        site.fleet.apply(topic, report, site.now_s)
        said = fake.stamp(shadow_report(frames, finished=False), site.now_s)
        site.fleet.apply(fake.topic(Channel.REPORTED_SHADOW), said, site.now_s)

    @app.get("/fake/calls")
    def calls() -> list[tuple[str, dict[str, Any]]]:
        return site.operations.calls


SCENARIOS: dict[str, Callable[[], FakeSite]] = {
    "fine": fine_site,
    "troubled": troubled_site,
    "quiet": quiet_site,
    "empty": lambda: FakeSite([]),
    "updates": updates_site,
}


def main() -> None:
    import uvicorn

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=8090)
    parser.add_argument("--scenario", choices=tuple(SCENARIOS), default="troubled")
    arguments = parser.parse_args()
    site = SCENARIOS[arguments.scenario]()
    site.live_through(150 if len(site.devices) < 6 else 45)
    if arguments.scenario == "troubled":
        warn(site, "packing", "camera: /dev/video0 stopped giving frames; opening it again in 8 s")
    app = FastAPI()
    add_levers(app, site)
    mount(app, site.operations, site.fleet, title="Kenpin")
    threading.Thread(target=site.run, daemon=True).start()
    uvicorn.run(app, host="127.0.0.1", port=arguments.port, log_level="warning")


if __name__ in {"__main__", "__mp_main__"}:
    main()
