"""What the fleet looks like to a reader: immutable values, made by `kenpin_controller.fleet.Fleet`.

Times are UNIX seconds, UTC, on the controller's clock unless said otherwise.
"""

from __future__ import annotations

from dataclasses import dataclass

from kenpin_wire.messages import Phase, Presence, ReportedConfig, ReportedRelease, Status, Telemetry
from kenpin_wire.shadow import ShadowReport
from kenpin_wire.topics import Address

STALE_S = 45.0
"""Four telemetry intervals of 10 s and a little: silence for longer means that the device is away."""


@dataclass(frozen=True, slots=True)
class ScorePoint:
    """A score of the last two minutes. `time_s` is on the controller's clock."""

    time_s: float
    score: float


@dataclass(frozen=True, slots=True)
class HeatPoint:
    """A telemetry reading. `temperature_c` is None where no sensor answered."""

    time_s: float
    temperature_c: float | None
    allowance: float


@dataclass(frozen=True, slots=True)
class Anomaly:
    """An anomaly event, each field as the event had it."""

    id: str
    time_s: float
    score: float
    threshold: float | None
    part: str | None
    release: str
    picture_sha256: str | None
    heatmap_sha256: str | None


@dataclass(frozen=True, slots=True)
class LoggedLine:
    """A warning that a device logged, and when it came."""

    time_s: float
    level: str
    message: str


@dataclass(frozen=True, slots=True)
class DeviceView:
    """One device, as last heard. What was never heard is None or empty.

    Attributes:
        heard_s: When anything but its last will came.
        score_s: When `score` came.
        label, confidence: What its classifier took the last part for, if that was judged normal.
        scores: The last two minutes, oldest first.
        gaps_filled: Counts the seconds that were put between known scores afterwards, out of an outbox.
        heat: Up to an hour of readings, oldest first.
        anomalies: The last few, newest first.
        picture_sha256, heatmap_sha256: Of the newest picture and heatmap whose bytes `Fleet.jpeg` has.
        inspected_today, anomalies_today: Frames, from the aggregates of the device's own day.
    """

    address: Address
    heard_s: float | None = None
    status: Status | None = None
    score: float | None = None
    score_s: float | None = None
    threshold: float | None = None
    verdict: str | None = None
    part: str | None = None
    label: str | None = None
    confidence: float | None = None
    scores: tuple[ScorePoint, ...] = ()
    gaps_filled: int = 0
    telemetry: Telemetry | None = None
    heat: tuple[HeatPoint, ...] = ()
    config: ReportedConfig | None = None
    release: ReportedRelease | None = None
    shadow: ShadowReport | None = None
    anomalies: tuple[Anomaly, ...] = ()
    log: tuple[LoggedLine, ...] = ()
    picture_sha256: str | None = None
    heatmap_sha256: str | None = None
    inspected_today: int = 0
    anomalies_today: int = 0

    @property
    def name(self) -> str:
        return self.address.device

    def online(self, now_s: float) -> bool:
        """Whether it said something in the last `STALE_S` and has not said goodbye since."""
        if self.heard_s is None or now_s - self.heard_s > STALE_S:
            return False
        return self.status is None or self.status.state != Presence.OFFLINE

    @property
    def installed(self) -> str:
        """The release it runs, `NAME-VERSION`; empty for none."""
        if self.release is not None and self.release.installed is not None:
            return str(self.release.installed)
        return self.status.release if self.status is not None else ""

    @property
    def phase(self) -> str:
        """Where its deployment stands; a phase that this program does not know is passed on as it came."""
        return str(self.release.phase) if self.release is not None else Phase.IDLE.value

    @property
    def last_anomaly(self) -> Anomaly | None:
        return self.anomalies[0] if self.anomalies else None

    @property
    def throttle(self) -> tuple[str, ...]:
        """What the firmware complains of, in words, present troubles first."""
        return throttle_words(self.telemetry.throttle_bits) if self.telemetry is not None else ()


@dataclass(frozen=True, slots=True)
class LineView:
    """A line and its devices, by name."""

    site: str
    line: str
    devices: tuple[DeviceView, ...]


def throttle_words(bits: int) -> tuple[str, ...]:
    """`vcgencmd get_throttled`'s bits in words, present troubles before past ones."""
    present = [words for bit, words in _THROTTLE.items() if bits & (1 << bit)]
    past = [f"{words} (earlier)" for bit, words in _THROTTLE.items() if bits & (1 << (bit + 16))]
    return tuple(present + [words for words in past if words.removesuffix(" (earlier)") not in present])


_THROTTLE = {0: "under-voltage", 1: "clock capped", 2: "throttled", 3: "soft temperature limit"}
