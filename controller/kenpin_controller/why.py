"""Is everything all right with a device, and if not, why, and what is to be done?

`why` asks the rules in their order and gives the first trouble found: what stops inspection comes before
what spoils it, and that before what may stop it later. It reads no clock and does no I/O.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from kenpin_controller.views import DeviceView
from kenpin_wire.messages import CameraState, Phase, Presence, Verdict

ANOMALY_SHOWN_S = 5.0
"""An anomaly stays in sight this long, so that a person who looks up still sees it."""
ANOMALY = "Anomaly"
"""The word of the one trouble that is the part's, not the device's."""
SILENT_SCORES_S = 20.0
HOT_C = 80.0  # ARM clocks of every Pi are slowed from here on
OUTBOX_FILLING = 200  # some minutes of aggregates: more than a broker's restart leaves behind
DISK_LOW_MB = 300.0


class Level(StrEnum):
    OK = "ok"
    WARN = "warn"
    ALARM = "alarm"


@dataclass(frozen=True, slots=True)
class Health:
    """An answer in one line.

    Attributes:
        word: The state in one or two words, for a card.
        sentence: What is so, and since when.
        remedy: What a person should do; empty if nothing.
    """

    level: Level
    word: str
    sentence: str
    remedy: str = ""

    @property
    def all_right(self) -> bool:
        return self.level is Level.OK


def why(device: DeviceView, now_s: float) -> Health:
    """The first of the rules that has something to say about the device; else that all is well."""
    for rule in RULES:
        health = rule(device, now_s)
        if health is not None:
            return health
    return _all_well(device)


def ago(seconds: float) -> str:
    """A duration for a person: `12 s`, `3 min`, `2 h`, `5 days`."""
    for limit_s, unit_s, unit in ((100, 1, "s"), (100 * 60, 60, "min"), (48 * 3600, 3600, "h")):
        if seconds < limit_s:
            return f"{max(0, round(seconds / unit_s))} {unit}"
    return f"{round(seconds / 86_400)} days"


def score_text(score: float, like: float | None = None) -> str:
    """A score with as many digits as a person can use, whatever its head's scale; with those of `like`, so
    that a number that changes all the time keeps its shape."""
    size = abs(score if like is None else like)
    digits = 4 if size < 0.1 else 3 if size < 1 else 2 if size < 10 else 1 if size < 100 else 0
    return f"{score:.{digits}f}"


def _offline(d: DeviceView, now_s: float) -> Health | None:
    if d.online(now_s):
        return None
    remedy = "Check its power and its network; it goes on by itself when it is back."
    if d.heard_s is None:
        return Health(Level.ALARM, "Offline", "Offline since before this controller started.", remedy)
    silent = ago(now_s - d.heard_s)
    if d.status is not None and d.status.state == Presence.OFFLINE:
        return Health(Level.ALARM, "Offline", f"Offline, last heard {silent} ago.", remedy)
    return Health(Level.ALARM, "Silent", f"Nothing heard for {silent}.", remedy)


def _camera(d: DeviceView, _now_s: float) -> Health | None:
    if d.telemetry is None:
        return None
    detail = f": {d.telemetry.camera_detail.rstrip('.')}" if d.telemetry.camera_detail else ""
    match d.telemetry.camera:
        case CameraState.LOST:
            return Health(
                Level.ALARM,
                "No camera",
                f"The camera is lost{detail}.",
                "Check its cable and its plug; the device opens it again by itself.",
            )
        case CameraState.ENDED:
            return Health(
                Level.WARN,
                "Ended",
                f"The camera's source has come to its end{detail}.",
                "Start the agent again, or let the source loop in its configuration.",
            )
        case CameraState.STOPPED:
            return Health(
                Level.WARN,
                "Stopped",
                f"The camera is stopped{detail}.",
                "Start it, or start the agent again.",
            )
    return None


def _no_release(d: DeviceView, _now_s: float) -> Health | None:
    if d.installed:
        return None
    if d.release is not None and d.phase in _ON_ITS_WAY:
        name = d.release.latest or "a release"
        return Health(Level.WARN, "Getting ready", f"Its first release, {name}, is {_progress(d)}.")
    failed = _failed_release(d, _now_s)
    if failed is not None:
        return Health(Level.ALARM, "No release", failed.sentence, failed.remedy)
    return Health(
        Level.ALARM,
        "No release",
        "It has no release yet, so nothing is inspected.",
        "Push a release to it, or make one: kenpin train GOOD_PICTURES -o NAME.kenpin",
    )


def _anomaly(d: DeviceView, now_s: float) -> Health | None:
    last = d.last_anomaly
    seen_now = d.score_s is not None and now_s - d.score_s < ANOMALY_SHOWN_S and d.verdict == Verdict.ANOMALY
    seen_lately = last is not None and -2.0 < now_s - last.time_s < ANOMALY_SHOWN_S
    if seen_now and d.score is not None:
        score, part, threshold = d.score, d.part, d.threshold
    elif seen_lately and last is not None:
        score, part, threshold = last.score, last.part, last.threshold
    else:
        return None
    what = f"Part {part} is not like the good ones" if part else "A part is not like the good ones"
    limit = f", threshold {score_text(threshold)}" if threshold is not None else ""
    return Health(
        Level.ALARM,
        ANOMALY,
        f"{what}: score {score_text(score, threshold)}{limit}.",
        "Look at the picture. If the part is fine, raise the threshold.",
    )


def _paused(d: DeviceView, _now_s: float) -> Health | None:
    if d.config is None or d.config.inspection:
        return None
    return Health(Level.WARN, "Paused", "Inspection is switched off.", "Switch it on when the line runs.")


def _no_scores(d: DeviceView, now_s: float) -> Health | None:
    camera_ok = d.telemetry is not None and d.telemetry.camera == CameraState.OK
    silent_s = now_s - d.score_s if d.score_s is not None else None
    if not camera_ok or silent_s is None or silent_s < SILENT_SCORES_S:
        return None
    return Health(
        Level.WARN,
        "No scores",
        f"The camera gives pictures, but the last score came {ago(silent_s)} ago.",
        "See the device's warnings on its page; if nothing passes the camera, all is well.",
    )


def _failed_release(d: DeviceView, _now_s: float) -> Health | None:
    if d.release is None or d.phase not in _FAILED:
        return None
    word, remedy = _FAILED[Phase(d.phase)]
    name = d.release.latest or "the last release"
    reason = f": {d.release.reason.rstrip('.')}" if d.release.reason else ""
    still = f" It goes on with {d.release.installed}." if d.release.installed else ""
    return Health(Level.WARN, "Release", f"{name} {word}{reason}.{still}", remedy)


def _settings(d: DeviceView, _now_s: float) -> Health | None:
    if d.config is None or (d.config.applied and not d.config.error):
        return None
    error = d.config.error.rstrip(".") or "the device does not say why"
    return Health(
        Level.WARN, "Settings", f"Its settings were not applied: {error}.", "Correct them and set them again."
    )


def _power(d: DeviceView, _now_s: float) -> Health | None:
    if d.telemetry is None or not d.telemetry.throttle_bits & 1:
        return None
    return Health(
        Level.WARN,
        "Low voltage",
        "The board gets too little voltage.",
        "Use the board's own power supply and a short, thick cable.",
    )


def _heat(d: DeviceView, _now_s: float) -> Health | None:
    t = d.telemetry
    if t is None:
        return None
    hot = t.temperature_c is not None and t.temperature_c >= HOT_C
    capped = bool(t.throttle_bits & 0b1110)
    if not hot and not capped and t.allowance >= 0.995:
        return None
    at = f" at {t.temperature_c:.0f} °C" if t.temperature_c is not None else ""
    reason = f" {t.reason.rstrip('.')}." if t.reason else ""
    if t.allowance < 0.995:
        sentence = f"It works at {t.allowance:.0%} of its rate{at}.{reason}"
    else:
        sentence = f"The board is hot{at} ({', '.join(d.throttle) or 'at its limit'}).{reason}"
    remedy = "Give it a fan, more air or a cooler place, or fewer frames."
    return Health(Level.WARN, "Hot" if hot or capped else "Slowed", sentence, remedy)


def _outbox(d: DeviceView, _now_s: float) -> Health | None:
    if d.telemetry is None or d.telemetry.outbox < OUTBOX_FILLING:
        return None
    return Health(
        Level.WARN,
        "Outbox",
        f"{d.telemetry.outbox} messages wait to be sent.",
        "Nothing is lost yet. Check the network between the device and the broker.",
    )


def _disk(d: DeviceView, _now_s: float) -> Health | None:
    free_mb = d.telemetry.disk_free_mb if d.telemetry is not None else None
    if free_mb is None or free_mb >= DISK_LOW_MB:
        return None
    return Health(
        Level.WARN,
        "Disk",
        f"{free_mb:.0f} MB are left on its card.",
        "Free some space, or use a larger card.",
    )


RULES: tuple[Callable[[DeviceView, float], Health | None], ...] = (
    _offline,
    _camera,
    _no_release,
    _anomaly,
    _paused,
    _no_scores,
    _failed_release,
    _settings,
    _power,
    _heat,
    _outbox,
    _disk,
)

_ON_ITS_WAY = frozenset(
    {Phase.DOWNLOADING, Phase.VERIFYING, Phase.STAGED, Phase.SHADOWING, Phase.ACTIVATING, Phase.TRIAL}
)
_PUSH_ANOTHER = "Make the release again, or push another one."
_FAILED: dict[Phase, tuple[str, str]] = {
    Phase.REJECTED: ("was rejected", _PUSH_ANOTHER),
    Phase.FAILED_NO_CHANGE: ("could not be installed", "Push it again; if it fails again, see its warnings."),
    Phase.ROLLED_BACK: ("did not hold, and the release before it is back", _PUSH_ANOTHER),
    Phase.ROLLBACK_FAILED: ("failed, and so did going back", "Push a release that has run here before."),
    Phase.TIMED_OUT: ("took too long", "Check the network, then push it again."),
}


def _progress(d: DeviceView) -> str:
    if d.phase == Phase.DOWNLOADING and d.release is not None:
        return f"{d.phase} ({d.release.percent:.0f} %)"
    report = d.shadow
    if d.phase == Phase.SHADOWING and report and d.release and report.rollout == d.release.rollout:
        return f"judging beside it ({report.frames} of {report.wanted})"
    return _AS_DOING.get(d.phase, d.phase)


_AS_DOING = {
    Phase.VERIFYING.value: "being checked",
    Phase.STAGED.value: "ready to take over",
    Phase.SHADOWING.value: "judging beside it",
    Phase.TRIAL.value: "on trial",
}


def _all_well(d: DeviceView) -> Health:
    if d.score is None:
        return Health(Level.OK, "Waiting", "Ready, and waiting for the first part.")
    fps = d.telemetry.fps if d.telemetry is not None else 0.0
    rate = f" {fps:.1f} pictures a second" if fps > 0 else ""
    if d.release is not None and d.phase in _ON_ITS_WAY:
        return Health(Level.OK, "OK", f"Inspecting{rate}; {d.release.latest} is {_progress(d)}.")
    return Health(Level.OK, "OK", f"Inspecting{rate}.")
