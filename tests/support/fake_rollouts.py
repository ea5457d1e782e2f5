"""Rollouts in memory, for the pages' tests: they do what a person asks, and tell no device."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import cv2
import numpy as np

from kenpin_agent.cameras.config import Defect
from kenpin_agent.cameras.conveyor import render
from kenpin_controller.rollouts.plan import (
    ApprovalGate,
    Gates,
    Plan,
    RejectGate,
    ShadowGate,
    Subject,
    Targets,
)
from kenpin_controller.rollouts.views import (
    AuditRecord,
    DisagreementRecord,
    GateState,
    GateView,
    Pin,
    RecallResult,
    RolloutDeviceView,
    RolloutView,
    Stage,
    Status,
    TimelineEntry,
    WaveView,
    WhoIsRight,
)
from kenpin_wire.messages import Policy, ReleaseName, ShadowPolicy
from kenpin_wire.shadow import ShadowReport, ShadowSide

OLD, NEW = ReleaseName(name="bracket", version="1.2.0"), ReleaseName(name="bracket", version="1.3.0")
BAD = ReleaseName(name="bracket", version="1.4.0-rc1")
LINES = ("stamping", "milling", "finishing")
CAMERAS = {f"{line}-{n}": line for line in LINES for n in range(1, 5)}

SHADOWED = Plan(
    subject=Subject(release=NEW),
    targets=Targets(),
    policy=Policy(shadow=ShadowPolicy(frames=300), approval=True),
    gates=Gates(shadow=ShadowGate(), approval=ApprovalGate()),
    why="Learned from yesterday's missed scratches",
)


class FakeRollouts:
    """The part of `Operations` that is about rollouts."""

    calls: list[tuple[str, dict[str, Any]]]

    def __init__(self) -> None:
        self.known: dict[str, RolloutView] = {}
        self.frames: dict[str, DisagreementRecord] = {}
        self.pinned: dict[str, Pin] = {}
        self.labels: dict[str, list[str]] = {}

    def _note(self, what: str, **arguments: Any) -> None:
        raise NotImplementedError

    def roll_out(self, plan: Plan, *, who: str) -> RolloutView:
        self._note("roll_out", plan=plan.model_dump(mode="json", exclude_none=True), who=who)
        names = plan.targets.devices or [
            name for name, line in CAMERAS.items() if plan.targets.line in (None, line)
        ]
        view = fresh(f"r{len(self.known) + 1}", plan, names, who=who)
        self.known[view.id] = view
        return view

    def rollout(self, rollout_id: str) -> RolloutView | None:
        return self.known.get(rollout_id)

    def rollouts(self, *, limit: int = 50) -> list[RolloutView]:
        newest = sorted(self.known.values(), key=lambda view: -view.started_s)
        return [replace(view, timeline=()) for view in newest[:limit]]

    def pause_rollout(self, rollout_id: str, *, who: str) -> RolloutView:
        return self._verb("pause", rollout_id, who, status=Status.PAUSED, sentence="Paused by page.")

    def resume_rollout(self, rollout_id: str, *, who: str) -> RolloutView:
        return self._verb("resume", rollout_id, who, status=Status.RUNNING, sentence="It goes on.")

    def abort_rollout(self, rollout_id: str, *, revert: bool, why: str, who: str) -> RolloutView:
        status = Status.REVERTING if revert else Status.ABORTED
        return self._verb("abort", rollout_id, who, why, revert=revert, status=status)

    def return_rollout(self, rollout_id: str, *, why: str, who: str) -> RolloutView:
        return self._verb("return", rollout_id, who, why, status=Status.REVERTING)

    def approve_wave(self, rollout_id: str, *, who: str) -> RolloutView:
        view = self._verb("approve", rollout_id, who)
        for name, device in view.devices.items():
            if device.can_approve:
                view = self.place(rollout_id, name, can_approve=False, phase="trial", reason="")
        return view

    def approve_device(
        self, rollout_id: str, device: str, *, with_threshold: bool = False, who: str
    ) -> RolloutView:
        self._note(
            "approve_device", rollout=rollout_id, device=device, with_threshold=with_threshold, who=who
        )
        return self.place(rollout_id, device, can_approve=False, phase="trial", reason="")

    def retry_device(self, rollout_id: str, device: str, *, who: str) -> RolloutView:
        self._note("retry_device", rollout=rollout_id, device=device, who=who)
        return self.place(rollout_id, device, stage=Stage.WAITING, phase="waiting", reason="")

    def skip_device(self, rollout_id: str, device: str, *, why: str, who: str) -> RolloutView:
        self._note("skip_device", rollout=rollout_id, device=device, why=why, who=who)
        return self.place(rollout_id, device, stage=Stage.PASSED, phase="passed", reason=f"Skipped: {why}")

    def return_device(self, device: str, *, why: str, who: str) -> int:
        self._note("return_device", device=device, why=why, who=who)
        return 12

    def pin(self, device: str, *, why: str, who: str) -> Pin:
        self._note("pin", device=device, why=why, who=who)
        self.pinned[device] = Pin(device, str(OLD), who, why, time.time())
        return self.pinned[device]

    def unpin(self, device: str, *, who: str) -> None:
        self._note("unpin", device=device, who=who)
        self.pinned.pop(device, None)

    def pins(self) -> dict[str, Pin]:
        return dict(self.pinned)

    def tag(self, device: str, tags: list[str], *, who: str) -> list[str]:
        self.labels[device] = sorted(tags)
        return self.labels[device]

    def tags(self) -> dict[str, list[str]]:
        return dict(self.labels)

    def recall_release(self, label: str, *, send_back: bool, why: str, who: str) -> RecallResult:
        self._note("recall_release", label=label, send_back=send_back, why=why, who=who)
        return RecallResult(NEW, ("stamping-1",), ("stamping-1",) if send_back else (), {})

    def disagreements(
        self, *, rollout: str | None = None, device: str | None = None, limit: int = 200
    ) -> list[DisagreementRecord]:
        mine = [
            r for r in self.frames.values() if rollout in (None, r.rollout) and device in (None, r.device)
        ]
        return sorted(mine, key=lambda record: -record.time_s)[:limit]

    def judge_disagreement(self, disagreement_id: str, right: WhoIsRight, *, who: str) -> DisagreementRecord:
        self._note("judge_disagreement", id=disagreement_id, right=str(right), who=who)
        judged = replace(self.frames[disagreement_id], right=right, judged_by=who, judged_s=time.time())
        self.frames[disagreement_id] = judged
        return judged

    def audit(self, *, limit: int = 100, before_id: int | None = None) -> list[AuditRecord]:
        return []

    def _verb(self, verb: str, rollout_id: str, who: str, why: str = "", **changes: Any) -> RolloutView:
        fields = {name: value for name, value in changes.items() if name in RolloutView.__dataclass_fields__}
        rest = {name: value for name, value in changes.items() if name not in fields}
        self._note(f"{verb}_rollout", rollout=rollout_id, why=why, who=who, **rest)
        view = self.known[rollout_id]
        entry = TimelineEntry(time.time(), who, f"{verb}{f': {why}' if why else ''}")
        self.known[rollout_id] = replace(view, timeline=(*view.timeline, entry), **fields)
        return self.known[rollout_id]

    def place(self, rollout_id: str, device: str, **changes: Any) -> RolloutView:
        view = self.known[rollout_id]
        devices = {**view.devices, device: replace(view.devices[device], **changes)}
        self.known[rollout_id] = replace(view, devices=devices)
        return self.known[rollout_id]


def placed(name: str, wave: int | None, stage: Stage, **fields: Any) -> RolloutDeviceView:
    """A device of a rollout; what is not given is as at the beginning."""
    known: dict[str, Any] = {
        "phase": stage.value,
        "reason": "",
        "percent": 0.0,
        "updated_s": time.time(),
        "age_s": 140.0,
        "attempts": 1,
        "behind": False,
        "next_s": None,
        "before": str(OLD),
        "can_approve": False,
        "proposed_threshold": None,
        "shadow": None,
        "gate": None,
    }
    return RolloutDeviceView(
        device=name, line=CAMERAS.get(name, "stamping"), wave=wave, stage=stage, **{**known, **fields}
    )


def fresh(rollout_id: str, plan: Plan, names: list[str], *, who: str) -> RolloutView:
    """One that has just begun: everything waits for the canary."""
    now_s = time.time()
    cut = [names[:1], names[1:]] if len(names) > 1 else [names]
    waves = tuple(
        WaveView(number, tuple(wave), "ahead" if number else "running", None if number else now_s, ())
        for number, wave in enumerate(cut)
    )
    devices = {
        name: placed(name, wave.number, Stage.HELD if wave.number else Stage.WAITING)
        for wave in waves
        for name in wave.devices
    }
    return RolloutView(
        id=rollout_id,
        release=plan.subject.release,
        plan=plan,
        status=Status.RUNNING,
        sentence=f"Waits for {names[0]}, the canary, to answer.",
        finished=False,
        started_s=now_s,
        ended_s=None,
        who=who,
        waves=waves,
        devices=devices,
        timeline=(TimelineEntry(now_s, who, f"started the rollout to {len(names)} cameras"),),
        disagreements={"new": 0, "old": 0, "open": 0},
    )


def shadowing(now_s: float) -> RolloutView:
    """A canary that has judged its frames and waits for a person; all others wait for it."""
    names = list(CAMERAS)
    sizes = ((names[0],), tuple(names[1:3]), tuple(names[3:]))
    report = shadow_report(300, finished=True)
    gate = GateView("shadow", GateState.OPEN, "98 % of 300 frames judged alike, KS 0.06.")
    devices = {name: placed(name, number, Stage.HELD) for number, wave in enumerate(sizes) for name in wave}
    devices[names[0]] = placed(
        names[0],
        0,
        Stage.UNDER_WAY,
        phase="staged",
        reason="Waits for a yes",
        can_approve=True,
        proposed_threshold=report.proposed_threshold,
        shadow=report,
        gate=gate,
        age_s=95.0,
    )
    gates = (
        GateView("success", GateState.WAIT, "0 done, 1 to come."),
        GateView("approval", GateState.WAIT, "New is right in 1 of 1 judged disagreements, 5 to be judged."),
    )
    waves = tuple(
        WaveView(n, wave, "ahead" if n else "running", None if n else now_s - 420, gates if n == 0 else ())
        for n, wave in enumerate(sizes)
    )
    return RolloutView(
        id="r2",
        release=NEW,
        plan=SHADOWED,
        status=Status.RUNNING,
        sentence="Waits for your yes: stamping-1 judged 300 frames beside the old release, and 5 disagreements "
        "are to be looked at.",
        finished=False,
        started_s=now_s - 420,
        ended_s=None,
        who="maria",
        waves=waves,
        devices=devices,
        timeline=(
            TimelineEntry(now_s - 420, "maria", "started the rollout to 12 cameras"),
            TimelineEntry(now_s - 419, "", "wave 1 of 3 begins: stamping-1"),
            TimelineEntry(now_s - 402, "", "has it, and judges beside bracket-1.2.0", "stamping-1"),
            TimelineEntry(now_s - 95, "", "judged 300 frames; waits for a yes", "stamping-1"),
            TimelineEntry(
                now_s - 40, "maria", "says that the new one is right about part 000112", "stamping-1"
            ),
        ),
        disagreements={"new": 1, "old": 0, "open": 5},
    )


def halted(now_s: float) -> RolloutView:
    """A bad release, stopped and taken back at its canary."""
    view = shadowing(now_s)
    plan = Plan(
        subject=Subject(release=BAD),
        gates=Gates(reject_rate=RejectGate(), soak_s=120.0),
        why="Trained overnight",
    )
    canary = view.waves[0].devices[0]
    closed = "Stamping-1 rejects 41 of 60 parts since its switch, 2 of 410 before; its siblings 3 of 180."
    waves = (
        replace(
            view.waves[0],
            gates=(
                GateView("success", GateState.OPEN, "1 of 1 succeeded."),
                GateView("soak", GateState.WAIT, "Watched for another 88 s."),
                GateView("reject rate", GateState.CLOSED, closed),
            ),
        ),
        *view.waves[1:],
    )
    devices = {
        **view.devices,
        canary: placed(
            canary, 0, Stage.RETURNED, phase="returned", reason="Back on bracket-1.2.0", age_s=63.0
        ),
    }
    return replace(
        view,
        id="r1",
        release=BAD,
        plan=plan,
        status=Status.REVERTED,
        sentence="Stopped at the canary: stamping-1 rejected 41 of 60 parts, and is back on bracket-1.2.0. "
        "The other 11 cameras never ran it.",
        finished=True,
        started_s=now_s - 4000,
        ended_s=now_s - 3800,
        waves=waves,
        devices=devices,
        timeline=(
            TimelineEntry(now_s - 4000, "maria", "started the rollout to 12 cameras"),
            TimelineEntry(now_s - 3999, "", "wave 1 of 3 begins: stamping-1"),
            TimelineEntry(now_s - 3960, "", "runs bracket-1.4.0-rc1", "stamping-1"),
            TimelineEntry(now_s - 3880, "", f"the gate of the reject rate closed: {closed}"),
            TimelineEntry(now_s - 3863, "", "is back on bracket-1.2.0", "stamping-1"),
        ),
        disagreements={"new": 0, "old": 0, "open": 0},
    )


def shadow_report(frames: int, *, finished: bool) -> ShadowReport:
    """A candidate that is a little stricter, and faster."""
    return ShadowReport(
        rollout="r2",
        frames=frames,
        wanted=300,
        finished=finished,
        incumbent=ShadowSide(
            release=OLD,
            threshold=1.6,
            quantiles=[0.81, 0.84, 0.89, 0.95, 1.0, 1.05, 1.13, 1.31, 2.62],
            reject_rate=0.007,
            latency_ms=46.0,
            latency_p95_ms=58.0,
        ),
        candidate=ShadowSide(
            release=NEW,
            threshold=7.2,
            quantiles=[3.1, 3.4, 3.7, 4.3, 4.7, 5.2, 6.1, 7.4, 21.0],
            reject_rate=0.023,
            latency_ms=31.0,
            latency_p95_ms=40.0,
        ),
        ks=0.06,
        psi=0.04,
        agree=0.98,
        only_incumbent=1,
        only_candidate=6,
        memory_mb=14.0,
        peak_c=63.0,
        proposed_threshold=7.6,
        proposed_false_rejects=0.01,
    )


def disagreements(now_s: float, keep: Callable[[bytes], str]) -> list[DisagreementRecord]:
    """Six frames with their pictures; `keep` takes a JPEG and gives its hash."""
    found = []
    kinds: tuple[Defect, ...] = ("scratch", "rust", "missing_corner")
    for n in range(6):
        image, mask = render(100 + 12 * n, 1, kinds[n % 3], "bracket")
        # Defects that the old one did not see; the last frame is a reflection that only the new one calls one.
        old_over = n == 3
        old_heat, new_heat = (
            _heat(image, mask, strength) for strength in ((150, 90) if old_over else (60, 215))
        )
        found.append(
            DisagreementRecord(
                id=f"d{n}",
                time_s=now_s - 110 - 31 * n,
                rollout="r2",
                line="stamping",
                device="stamping-1",
                frame=100 + 12 * n,
                part=f"{100 + 12 * n:06d}",
                incumbent=str(OLD),
                incumbent_score=1.92 if old_over else 1.31 + 0.04 * n,
                incumbent_threshold=1.6,
                candidate=str(NEW),
                candidate_score=6.1 if old_over else 8.9 + 1.7 * n,
                candidate_threshold=7.2,
                picture_sha256=keep(_jpeg(image)),
                incumbent_heatmap_sha256=keep(_jpeg(old_heat)),
                candidate_heatmap_sha256=keep(_jpeg(new_heat)),
                right=WhoIsRight.NEW if n == 1 else None,
                judged_by="maria" if n == 1 else "",
                judged_s=now_s - 40 if n == 1 else None,
            )
        )
    return found


def fill(operations: Any, now_s: float) -> None:
    """Three rollouts: one stopped, one that waits for a person, one behind us."""

    def keep(data: bytes) -> str:
        digest = hashlib.sha256(data).hexdigest()
        operations.pictures[digest] = data
        return digest

    operations.known = {view.id: view for view in (halted(now_s), shadowing(now_s))}
    operations.frames = {record.id: record for record in disagreements(now_s, keep)}
    operations.labels = {"stamping-1": ["canary"], "milling-1": ["canary"]}


def _heat(image: np.ndarray, mask: np.ndarray, strength: float) -> np.ndarray:
    """As the agent draws one: the same colour for the same score, so that a quiet map is calm."""
    heat = cv2.GaussianBlur(cv2.dilate(mask, np.ones((15, 15))).astype(np.float32), (0, 0), 16)
    heat = np.clip(heat / max(float(heat.max()), 1.0) * strength + 20, 0, 255).astype(np.uint8)
    return cv2.addWeighted(image, 0.55, cv2.applyColorMap(heat, cv2.COLORMAP_JET), 0.45, 0)


def _jpeg(image: np.ndarray) -> bytes:
    small = cv2.resize(image, (480, 360), interpolation=cv2.INTER_AREA)
    return cv2.imencode(".jpg", small, (cv2.IMWRITE_JPEG_QUALITY, 84))[1].tobytes()
