"""Values as a person reads them."""

from __future__ import annotations

from datetime import datetime

from kenpin_controller.views import Anomaly, DeviceView
from kenpin_controller.why import ago, score_text
from kenpin_wire.messages import Phase

_PHASES = {
    "idle": "Nothing on its way",
    "downloading": "Downloading",
    "verifying": "Verifying",
    "staged": "Ready to switch",
    "shadowing": "Running beside the old one",
    "activating": "Switching",
    "trial": "On trial",
    "committed": "In use",
    "rejected": "Rejected",
    "failed_no_change": "Failed; nothing changed",
    "rolled_back": "Went back to the release before",
    "rollback_failed": "Failed, and could not go back",
    "cancelled": "Cancelled",
    "timed_out": "Took too long",
}


def phase_text(phase: str) -> str:
    """A deployment's phase; one that this program does not know is shown as it is called."""
    return _PHASES.get(phase, phase.replace("_", " ").capitalize())


def release_text(device: DeviceView) -> str:
    """What a camera runs; while another judges beside it or is on trial, that."""
    release, report = device.release, device.shadow
    if release is not None and release.latest is not None and release.phase == Phase.SHADOWING:
        known = report is not None and report.rollout == release.rollout
        far = f", {report.frames / max(1, report.wanted):.0%}" if known and report is not None else ""
        return f"{release.latest} beside it{far}"
    if release is not None and release.latest is not None and release.phase == Phase.TRIAL:
        return f"{release.latest} on trial"
    return device.installed or "none"


def count(n: int, one: str, many: str = "") -> str:
    """`1 camera`, `2 cameras`, `12,345 pictures`."""
    return f"{n:,} {one if n == 1 else many or one + 's'}"


def day_text(devices: list[DeviceView] | tuple[DeviceView, ...]) -> str:
    """What was inspected today, in one line."""
    inspected = sum(d.inspected_today for d in devices)
    anomalies = sum(d.anomalies_today for d in devices)
    if not inspected:
        return count(len(devices), "camera")
    return (
        f"{count(len(devices), 'camera')} · {count(inspected, 'picture')} today · "
        f"{count(anomalies, 'anomaly', 'anomalies')}"
    )


def threshold_text(device: DeviceView) -> str:
    return f"threshold {score_text(device.threshold)}" if device.threshold is not None else "no threshold yet"


def part_text(device: DeviceView) -> str:
    """The last part, and what the release's classifier took it for."""
    named = f"{device.label} ({device.confidence or 0:.0%})" if device.label else ""
    return " · ".join(words for words in (f"part {device.part}" if device.part else "", named) if words)


def temperature_text(device: DeviceView) -> str:
    t = device.telemetry
    return f"{t.temperature_c:.0f} °C" if t is not None and t.temperature_c is not None else "–"


def allowance_text(device: DeviceView) -> str:
    return f"{device.telemetry.allowance:.0%}" if device.telemetry is not None else "–"


def fps_text(device: DeviceView) -> str:
    return f"{device.telemetry.fps:.1f}/s" if device.telemetry is not None else "–"


def when_text(time_s: float, now_s: float) -> str:
    """`12 s ago` today, the date and time before."""
    if now_s - time_s < 86_400:
        return f"{ago(now_s - time_s)} ago"
    return datetime.fromtimestamp(time_s).strftime("%d %b %H:%M")


def anomaly_text(anomaly: Anomaly) -> str:
    """An anomaly's score and part."""
    part = f" · part {anomaly.part}" if anomaly.part else ""
    return f"score {score_text(anomaly.score, anomaly.threshold)}{part}"


def size_text(n_bytes: int) -> str:
    return f"{n_bytes / 1e6:.1f} MB" if n_bytes >= 100_000 else f"{n_bytes / 1e3:.0f} kB"
