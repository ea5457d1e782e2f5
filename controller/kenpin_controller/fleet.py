"""The fleet as it is now, folded from what the agents say.

`Fleet.apply` takes messages in, views come out; nothing here reads a clock, a file or a network. Times are
UNIX seconds, UTC, on the controller's clock: the caller says when a message was received. After a restart the
caller may replay the last stored events and aggregates through the same `apply`, with their own times.

One thread writes and any number read: views are immutable, and made under a lock held for microseconds.
"""

from __future__ import annotations

import hashlib
import threading
from bisect import bisect_left, bisect_right
from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date, datetime

from kenpin_controller.views import Anomaly, DeviceView, HeatPoint, LineView, LoggedLine, ScorePoint
from kenpin_wire.messages import (
    AnomalyEvent,
    LogLine,
    Message,
    Presence,
    ReportedConfig,
    ReportedRelease,
    Score,
    ScoreAggregate,
    Status,
    Telemetry,
    Verdict,
    unpack_scores,
)
from kenpin_wire.shadow import ShadowReport
from kenpin_wire.topics import ALL_DEVICES, Address, Channel, Topic

RECENT_S = 120.0
"""How much of the live scores is kept."""
_MAX_SCORES = 6_000  # 120 s at 50 frames a second
_MAX_HEATS = 360  # an hour at one reading each 10 s
_MAX_ANOMALIES = 24
_MAX_LOG_LINES = 20
_MAX_JPEGS = 12  # a device: six anomalies' pictures and heatmaps, at most 1.2 MB
_MAX_AGGREGATES_SEEN = 4_096  # more than an hour of seconds; a duplicate comes within moments
_REFLASHED_AFTER_S = 60.0  # a card cannot be written and booted in less


class Fleet:
    """Every device that was ever heard of.

    Args:
        day_of: The day that a time belongs to, for the counters; the local one by default.
    """

    def __init__(self, day_of: Callable[[float], date] = date.fromtimestamp) -> None:
        self._lock = threading.Lock()
        self._devices: dict[str, _Device] = {}
        self._day_of = day_of

    def apply(self, topic: Topic, message: Message | bytes, received_s: float) -> None:
        """Fold one message in. Messages of the controller, and those that are older than what is known
        (by boot and sequence number), change nothing."""
        if topic.address.device == ALL_DEVICES or topic.channel not in _FROM_AGENTS:
            return
        digest = hashlib.sha256(message).hexdigest() if isinstance(message, bytes) else ""
        with self._lock:
            name = topic.address.device
            device = self._devices.get(name)
            if device is None:
                device = self._devices[name] = _Device(topic.address)
            if isinstance(message, bytes):
                device.keep_jpeg(topic.channel, digest, message)
                device.hear(topic.address, received_s)
            elif device.is_news(topic.channel, message, received_s):
                device.fold(message, received_s, self._day_of)
                if not (isinstance(message, Status) and message.state == Presence.OFFLINE):
                    device.hear(topic.address, received_s)

    def lines(self) -> list[LineView]:
        """All lines by site and name."""
        with self._lock:
            views = [device.view() for device in self._devices.values()]
        by_line: dict[tuple[str, str], list[DeviceView]] = {}
        for view in sorted(views, key=lambda v: (v.address.site, v.address.line, v.name)):
            by_line.setdefault((view.address.site, view.address.line), []).append(view)
        return [LineView(site, line, tuple(devices)) for (site, line), devices in by_line.items()]

    def device(self, name: str) -> DeviceView | None:
        """A device by its name, which is its own across all lines."""
        with self._lock:
            device = self._devices.get(name)
            return device.view() if device is not None else None

    def jpeg(self, sha256: str) -> bytes | None:
        """A picture or heatmap that came lately, by its hash."""
        with self._lock:
            for device in self._devices.values():
                if sha256 in device.jpegs:
                    return device.jpegs[sha256]
        return None


_FROM_AGENTS = frozenset(
    {
        Channel.SCORE,
        Channel.SCORE_AGG,
        Channel.EVENT_ANOMALY,
        Channel.HEATMAP,
        Channel.PICTURE,
        Channel.TELEMETRY,
        Channel.STATUS,
        Channel.REPORTED_CONFIG,
        Channel.REPORTED_RELEASE,
        Channel.REPORTED_SHADOW,
        Channel.LOG,
    }
)
# These come late by design, from an outbox; each is known by what it says, not by when it arrives.
_LATE_IS_FINE = frozenset({Channel.SCORE_AGG, Channel.EVENT_ANOMALY, Channel.LOG})


@dataclass(slots=True)
class _Device:
    """The mutable state behind a `DeviceView`; only touched under the fleet's lock."""

    address: Address
    heard_s: float | None = None
    latest: Score | None = None
    score_s: float | None = None
    threshold: float | None = None
    status: Status | None = None
    telemetry: Telemetry | None = None
    config: ReportedConfig | None = None
    release: ReportedRelease | None = None
    shadow: ShadowReport | None = None
    points: list[ScorePoint] = field(default_factory=list)
    gaps_filled: int = 0
    heat: deque[HeatPoint] = field(default_factory=lambda: deque(maxlen=_MAX_HEATS))
    anomalies: list[Anomaly] = field(default_factory=list)
    log: deque[LoggedLine] = field(default_factory=lambda: deque(maxlen=_MAX_LOG_LINES))
    jpegs: OrderedDict[str, bytes] = field(default_factory=OrderedDict)
    newest: dict[Channel, str] = field(default_factory=dict)
    day: date | None = None
    inspected: int = 0
    anomalous: int = 0
    behind_s: float = 0.0  # controller's clock less the device's, where they differ by more than a moment
    boot: int = 0
    stamp: datetime | None = None  # the newest of this boot
    order: dict[Channel, int] = field(default_factory=dict)  # the highest sequence number of this boot
    aggregates_seen: OrderedDict[tuple[int, int], None] = field(default_factory=OrderedDict)

    def hear(self, address: Address, received_s: float) -> None:
        self.address = address  # a device that was moved to another line is there now
        self.heard_s = max(received_s, self.heard_s or received_s)

    def is_news(self, channel: Channel, message: Message, received_s: float) -> bool:
        """Whether a message is newer than the last of its channel.

        A lower boot number is old, unless the device was silent for as long as writing a new card takes and
        the stamp has moved on: then its counter began again. The will carries the sequence number of the
        moment it was left with the broker, so a status is only compared by its boot. A message with neither
        number is taken as it comes.
        """
        if channel in _LATE_IS_FINE or (message.boot, message.seq) == (0, 0):
            return True
        if message.boot < self.boot:
            silent_s = received_s - (self.heard_s or received_s)
            if silent_s < _REFLASHED_AFTER_S or (self.stamp is not None and message.ts <= self.stamp):
                return False
        if message.boot != self.boot:
            self.boot, self.stamp = message.boot, None
            self.order.clear()
        if channel is not Channel.STATUS and message.seq <= self.order.get(channel, -1):
            return False
        self.order[channel] = message.seq
        self.stamp = max(message.ts, self.stamp or message.ts)
        return True

    def fold(self, message: Message, received_s: float, day_of: Callable[[float], date]) -> None:
        match message:
            case Score():
                self._fold_score(message, received_s)
            case ScoreAggregate():
                self._fold_aggregate(message, received_s, day_of)
            case AnomalyEvent():
                self._fold_anomaly(message)
            case Telemetry():
                self.telemetry = message
                self.heat.append(HeatPoint(received_s, message.temperature_c, message.allowance))
            case Status():
                self.status = message
            case ReportedConfig():
                self.config = message
                self.threshold = message.threshold if message.threshold is not None else self.threshold
            case ReportedRelease():
                self.release = message
            case ShadowReport():
                self.shadow = message
            case LogLine():
                self.log.append(LoggedLine(received_s, message.level, message.message))
            case _:
                pass

    def keep_jpeg(self, channel: Channel, digest: str, data: bytes) -> None:
        self.jpegs[digest] = data
        self.jpegs.move_to_end(digest)
        self.newest[channel] = digest
        while len(self.jpegs) > _MAX_JPEGS:
            self.jpegs.popitem(last=False)

    def _fold_score(self, message: Score, received_s: float) -> None:
        behind_s = received_s - message.ts.timestamp()
        self.behind_s = behind_s if abs(behind_s) > 2.0 else 0.0
        self.latest, self.score_s = message, received_s
        self.threshold = message.threshold if message.threshold is not None else self.threshold
        time_s = message.ts.timestamp() + self.behind_s
        at = bisect_right(self.points, time_s, key=_time)
        self.points.insert(at, ScorePoint(time_s, message.score))
        self._forget_old_points()

    def _fold_aggregate(
        self, message: ScoreAggregate, received_s: float, day_of: Callable[[float], date]
    ) -> None:
        """Count a second once, and let it fill the ring where it knows more than the live scores did."""
        key = (message.boot, message.seq)
        if key != (0, 0):
            if key in self.aggregates_seen:
                return
            self.aggregates_seen[key] = None
            if len(self.aggregates_seen) > _MAX_AGGREGATES_SEEN:
                self.aggregates_seen.popitem(last=False)

        if message.ts.timestamp() + self.behind_s > received_s + 2.0:  # its clock is ahead of ours
            self.behind_s = received_s - message.ts.timestamp() - 1.0
        start_s = message.ts.timestamp() + self.behind_s
        day = day_of(start_s)
        if self.day is None or day > self.day:
            self.day, self.inspected, self.anomalous = day, 0, 0
        if day == self.day:
            self.inspected += message.n
            self.anomalous += message.anomalies

        try:
            scores = [float(score) for score in unpack_scores(message.scores)]
        except ValueError:
            return  # the roll-up itself counts; its packed scores are from a program we do not understand
        lo = bisect_left(self.points, start_s, key=_time)
        hi = bisect_left(self.points, start_s + 1.0, key=_time)
        if len(scores) > hi - lo:
            step_s = 1.0 / len(scores)
            self.gaps_filled += lo == hi < len(self.points)
            self.points[lo:hi] = [ScorePoint(start_s + i * step_s, s) for i, s in enumerate(scores)]
            self._forget_old_points()
            if self.score_s is None or start_s > self.score_s + 3.0:  # no live scores: the roll-up stands in
                self._stand_in(message, scores[-1], received_s)

    def _stand_in(self, message: ScoreAggregate, score: float, received_s: float) -> None:
        over = message.threshold is not None and score > message.threshold
        self.latest = Score(
            score=score,
            threshold=message.threshold,
            verdict=Verdict.ANOMALY if over else Verdict.NORMAL,
            release=message.release,
        )
        self.score_s = min(received_s, message.ts.timestamp() + self.behind_s + 1.0)

    def _fold_anomaly(self, message: AnomalyEvent) -> None:
        if any(known.id == message.id for known in self.anomalies):
            return
        data = message.data
        self.anomalies.append(
            Anomaly(
                id=message.id,
                time_s=message.time.timestamp() + self.behind_s,
                score=data.score,
                threshold=data.threshold,
                part=data.part,
                release=data.release,
                picture_sha256=data.picture_sha256,
                heatmap_sha256=data.heatmap_sha256,
            )
        )
        self.anomalies.sort(key=lambda anomaly: anomaly.time_s, reverse=True)
        del self.anomalies[_MAX_ANOMALIES:]

    def _forget_old_points(self) -> None:
        oldest_s = self.points[-1].time_s - RECENT_S
        surplus = max(bisect_left(self.points, oldest_s, key=_time), len(self.points) - _MAX_SCORES)
        if surplus > 0:
            del self.points[:surplus]

    def view(self) -> DeviceView:
        latest = self.latest
        return DeviceView(
            address=self.address,
            heard_s=self.heard_s,
            status=self.status,
            score=latest.score if latest is not None else None,
            score_s=self.score_s,
            threshold=self.threshold,
            verdict=str(latest.verdict) if latest is not None else None,
            part=latest.part if latest is not None else None,
            label=latest.label if latest is not None else None,
            confidence=latest.confidence if latest is not None else None,
            scores=tuple(self.points),
            gaps_filled=self.gaps_filled,
            telemetry=self.telemetry,
            heat=tuple(self.heat),
            config=self.config,
            release=self.release,
            shadow=self.shadow,
            anomalies=tuple(self.anomalies),
            log=tuple(self.log),
            picture_sha256=self.newest.get(Channel.PICTURE),
            heatmap_sha256=self.newest.get(Channel.HEATMAP),
            inspected_today=self.inspected,
            anomalies_today=self.anomalous,
        )


def _time(point: ScorePoint) -> float:
    return point.time_s
