"""Where the deployment on a camera stands, since when, what speaks for it, and the fix. Pure.

`rollouts.stuck` answers for a terminal, from the rollout's state alone; this one stands beside the camera's live
picture, and so can say too what keeps frames from a release that must see some.
"""

from __future__ import annotations

from dataclasses import dataclass

from kenpin_controller.rollouts.views import GateState, RolloutDeviceView, Stage
from kenpin_controller.views import DeviceView
from kenpin_controller.why import Level, ago
from kenpin_wire.messages import CameraState, Phase

SILENT_S = 120.0
"""A device that fetches says how far it is every few seconds; with nothing new for so long, something is wrong."""


@dataclass(frozen=True, slots=True)
class Standing:
    """An answer in one line.

    Attributes:
        sentence: Where it stands, and since when.
        evidence: What that is known from; may be empty.
        remedy: What a person should do; empty if nothing.
    """

    level: Level
    sentence: str
    evidence: str = ""
    remedy: str = ""


def standing(
    device: DeviceView, place: RolloutDeviceView | None, now_s: float, *, coming: str = ""
) -> Standing:
    """Where the deployment on a device stands.

    Args:
        place: Its place in the rollout that it is part of; None if it is in none.
        coming: The release of that rollout.
    """
    if place is not None:
        answer = _by_rollout(device, place, now_s, coming or "the release")
        if answer is not None:
            return answer
    return _by_phase(device, place, now_s)


def _by_rollout(d: DeviceView, place: RolloutDeviceView, now_s: float, coming: str) -> Standing | None:
    """What the controller knows and the device cannot say."""
    age = ago(place.age_s)
    if place.stage in _UNANSWERED and not d.online(now_s):
        heard = f"Last heard {ago(now_s - d.heard_s)} ago." if d.heard_s is not None else "Never heard."
        return Standing(
            Level.WARN,
            f"{coming} waits for it for {age}, and it is offline.",
            heard,
            "Check its power and its network; it goes on by itself where it was.",
        )
    if place.can_approve:
        gate = place.gate.sentence if place.gate is not None else ""
        return Standing(
            Level.WARN,
            f"{coming} lies ready, and has waited {age} for a person's yes.",
            gate,
            "Say yes, or skip it, on the rollout's page.",
        )
    if place.stage in _NOT_ASKED and d.phase in _UNDER_WAY:
        return None  # by another order than this rollout's
    match place.stage:
        case Stage.HELD:
            return Standing(
                Level.OK,
                f"{coming} comes here with wave {(place.wave or 0) + 1}, which has not begun.",
                place.reason,
            )
        case Stage.PASSED:
            return Standing(Level.OK, f"{coming} passes it by.", _sentence(place.reason))
        case Stage.RETRYING:
            wait = f" in {ago(place.next_s - now_s)}" if place.next_s is not None else ""
            return Standing(
                Level.WARN,
                f"{coming} did not get there at attempt {place.attempts}; it is asked again{wait}.",
                _sentence(place.reason),
            )
        case Stage.WAITING:
            late = place.age_s > SILENT_S
            return Standing(
                Level.WARN if late else Level.OK,
                f"Asked to take {coming} {age} ago, and has not answered.",
                "It is online, so the order may have been lost." if late else "",
                "Ask it again on the rollout's page; see its warnings." if late else "",
            )
        case Stage.RETURNING:
            return Standing(Level.WARN, f"On its way back to {place.before or 'what ran before'} for {age}.")
    return None


def _by_phase(d: DeviceView, place: RolloutDeviceView | None, now_s: float) -> Standing:
    """What the device says of itself."""
    release = d.release
    if release is None or release.phase == Phase.IDLE:
        return Standing(Level.OK, f"Runs {d.installed}." if d.installed else "Runs no release.")
    name, still = str(release.latest or "The release"), str(release.installed or "nothing")
    since = f" for {ago(place.age_s)}" if place is not None else ""
    reason = _sentence(release.reason)
    if release.phase in _FIXES:
        word, fix = _FIXES[Phase(release.phase)]
        return Standing(Level.WARN, f"{name} {word}. It runs {still}.", reason, fix)
    no_frames = _no_frames(d)
    match release.phase:
        case Phase.DOWNLOADING:
            silent_s = now_s - place.updated_s if place is not None else 0.0
            if silent_s > SILENT_S:
                return Standing(
                    Level.WARN,
                    f"{name} is downloading, and has stood at {release.percent:.0f} % for {ago(silent_s)}.",
                    reason,
                    "Check the network to the broker; it goes on by itself from the last block that it has.",
                )
            return Standing(Level.OK, f"{name} is downloading{since}: {release.percent:.0f} %.", reason)
        case Phase.VERIFYING:
            return Standing(Level.OK, f"{name} is checked against its golden pictures{since}.", reason)
        case Phase.SHADOWING:
            return _on_frames(f"{name} judges live frames beside {still}{since}", _shadow_text(d), no_frames)
        case Phase.STAGED:
            gate = place.gate if place is not None else None
            closed = gate is not None and gate.state is GateState.CLOSED
            return Standing(
                Level.WARN if closed else Level.OK,
                f"{name} lies ready{since}; {still} runs on.",
                gate.sentence if gate is not None else reason,
                "Its shadow gate is closed: look at the report on the rollout's page." if closed else "",
            )
        case Phase.ACTIVATING:
            return Standing(Level.OK, f"Switching to {name}.", reason)
        case Phase.TRIAL:
            what = f"{name} is on trial{since}; if it does not hold, the one before comes back by itself"
            return _on_frames(what, reason, no_frames)
    return Standing(Level.OK, f"Runs {d.installed or 'no release'}.")


def _on_frames(what: str, evidence: str, no_frames: tuple[str, str] | None) -> Standing:
    """A phase that goes on with every frame, and stands still without any."""
    if no_frames is None:
        return Standing(Level.OK, f"{what}.", evidence)
    why, remedy = no_frames
    return Standing(Level.WARN, f"{what}, but {why}.", evidence, remedy)


def _no_frames(d: DeviceView) -> tuple[str, str] | None:
    if d.config is not None and not d.config.inspection:
        return "inspection is switched off, so it sees no frame", "Switch inspection on when the line runs."
    t = d.telemetry
    if t is None:
        return None
    if t.camera == CameraState.LOST:
        return "the camera is lost, so it sees no frame", "Check the camera's cable and plug."
    if t.allowance < 0.3:
        return (
            f"heat allows {t.allowance:.0%} of the frames, so it takes long",
            "Give it a fan, more air or a cooler place.",
        )
    return None


def _shadow_text(d: DeviceView) -> str:
    report = d.shadow
    if report is None or d.release is None or report.rollout != d.release.rollout:
        return ""
    return f"{report.frames} of {report.wanted} frames."


def _sentence(reason: str) -> str:
    reason = reason.strip()
    return f"{reason[0].upper()}{reason[1:].rstrip('.')}." if reason else ""


_UNANSWERED = frozenset({Stage.WAITING, Stage.UNDER_WAY, Stage.RETRYING, Stage.RETURNING, Stage.CANCELLING})
_NOT_ASKED = frozenset({Stage.HELD, Stage.PASSED})
_UNDER_WAY = frozenset(
    {
        Phase.DOWNLOADING,
        Phase.VERIFYING,
        Phase.STAGED,
        Phase.SHADOWING,
        Phase.ACTIVATING,
        Phase.TRIAL,
    }
)
_FIXES: dict[Phase, tuple[str, str]] = {
    Phase.REJECTED: ("was rejected", "It will not be tried again as it is: make the release again."),
    Phase.FAILED_NO_CHANGE: ("could not be installed", "Ask it again; if it fails again, see its warnings."),
    Phase.ROLLED_BACK: (
        "did not hold on trial, and was taken back",
        "It is quarantined here: look at the reason, and make a better one.",
    ),
    Phase.ROLLBACK_FAILED: ("failed, and so did going back", "Send it a release that has run here before."),
    Phase.CANCELLED: ("was cancelled", ""),
    Phase.TIMED_OUT: ("took too long", "See whether parts pass its camera, then ask it again."),
}
