"""What the REST interface takes and gives. Times are UNIX seconds, UTC."""

from __future__ import annotations

from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat

from kenpin_controller.commands import CommandRecord
from kenpin_controller.operations import ReleaseRecord
from kenpin_controller.views import DeviceView


class Problem(BaseModel):
    """What was wrong, where, and what to do about it."""

    error: str
    where: str = ""
    remedy: str = ""


class Line(BaseModel):
    """A line and how many of its devices are there."""

    site: str
    line: str
    devices: list[str]
    online: int


class Settings(BaseModel):
    """Settings as the device has reported them, and the revision that it shall come to."""

    rev: int
    desired_rev: int
    applied: bool
    error: str
    release: str
    threshold: float | None
    inspection: bool


class Deployment(BaseModel):
    """How the device's release stands."""

    installed: str
    latest: str
    phase: str
    reason: str
    percent: float
    rollout: str


class Device(BaseModel):
    """A device as last heard."""

    id: str
    site: str
    line: str
    online: bool
    last_seen_s: float | None
    release: str
    score: float | None
    score_s: float | None
    threshold: float | None
    verdict: str | None
    label: str | None
    confidence: float | None
    temperature_c: float | None
    fps: float | None
    allowance: float | None
    reason: str
    camera: str
    camera_detail: str
    inspected_today: int
    anomalies_today: int
    last_anomaly: str | None
    settings: Settings | None
    deployment: Deployment | None

    @classmethod
    def of(cls, view: DeviceView, *, now_s: float, desired_rev: int) -> Self:
        """A device's view, with the revision of its desired settings."""
        telemetry, config, release = view.telemetry, view.config, view.release
        return cls(
            id=view.name,
            site=view.address.site,
            line=view.address.line,
            online=view.online(now_s),
            last_seen_s=view.heard_s,
            release=view.installed,
            score=view.score,
            score_s=view.score_s,
            threshold=view.threshold,
            verdict=view.verdict,
            label=view.label,
            confidence=view.confidence,
            temperature_c=telemetry.temperature_c if telemetry else None,
            fps=telemetry.fps if telemetry else None,
            allowance=telemetry.allowance if telemetry else None,
            reason=telemetry.reason if telemetry else "",
            camera=str(telemetry.camera) if telemetry else "",
            camera_detail=telemetry.camera_detail if telemetry else "",
            inspected_today=view.inspected_today,
            anomalies_today=view.anomalies_today,
            last_anomaly=view.last_anomaly.id if view.last_anomaly else None,
            settings=Settings(
                rev=config.rev,
                desired_rev=desired_rev,
                applied=config.applied,
                error=config.error,
                release=config.release,
                threshold=config.threshold,
                inspection=config.inspection,
            )
            if config
            else None,
            deployment=Deployment(
                installed=str(release.installed or ""),
                latest=str(release.latest or ""),
                phase=str(release.phase),
                reason=release.reason,
                percent=release.percent,
                rollout=release.rollout,
            )
            if release
            else None,
        )


class Event(BaseModel):
    """An anomaly."""

    model_config = ConfigDict(from_attributes=True)

    id: str
    time_s: float
    line: str
    device: str
    score: float
    threshold: float | None
    release: str
    part: str | None
    frame: int
    picture_sha256: str | None
    heatmap_sha256: str | None


class ScoreSecond(BaseModel):
    """One camera-second."""

    model_config = ConfigDict(from_attributes=True)

    time_s: float
    n: int
    mean: float
    p95: float
    max: float
    anomalies: int
    threshold: float | None


class Release(BaseModel):
    """A release that can be rolled out."""

    name: str
    version: str
    sha256: str
    size: int
    uploaded_s: float
    signed: bool
    """Whether the site's targets key has signed it; else it cannot be rolled out."""
    recalled: str
    """Who recalled it and why; empty if nobody did."""
    summary: dict[str, Any]

    @classmethod
    def of(cls, record: ReleaseRecord, *, signed: bool) -> Self:
        return cls(
            name=record.release.name,
            version=record.release.version,
            sha256=record.sha256,
            size=record.size,
            uploaded_s=record.uploaded_s,
            signed=signed,
            summary=record.summary,
            recalled=record.recalled,
        )


class Command(BaseModel):
    """A command and how it fares."""

    model_config = ConfigDict(from_attributes=True)

    id: str
    device: str
    verb: str
    who: str
    sent_s: float
    state: str
    reason: str
    result: dict[str, Any]

    @classmethod
    def of(cls, record: CommandRecord) -> Self:
        return cls.model_validate(record)


class Revision(BaseModel):
    """The revision that the device's `settings.rev` will show once it has reconciled."""

    rev: int


class Health(BaseModel):
    """Whether the controller can do its work."""

    version: str
    broker: str
    """Empty while connected; else what is wrong."""
    store: str
    """Empty while it takes data; else what is wrong."""
    messages: dict[str, int]


class Body(BaseModel):
    """What is asked for. An unknown field is an error, lest a typing mistake pass for success."""

    model_config = ConfigDict(extra="forbid")


class ThresholdBody(Body):
    """A score, or a false-reject rate between 0 and 1; neither for the release's own default."""

    value: FiniteFloat | None = None
    false_rejects: FiniteFloat | None = Field(None, gt=0, lt=1)


class InspectionBody(Body):
    """Whether to judge."""

    on: bool


class CommandBody(Body):
    """A command's arguments."""

    arguments: dict[str, Any] = Field(default_factory=dict)
