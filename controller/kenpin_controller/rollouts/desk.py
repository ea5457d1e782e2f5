"""What people do with rollouts: checked, stored with who asked for it and why, and only then done."""

from __future__ import annotations

import re
import secrets
import time
from collections.abc import Callable
from typing import Any

from kenpin_controller.errors import ConflictError, NotFoundError
from kenpin_controller.fleet import Fleet
from kenpin_controller.operations import ReleaseRecord
from kenpin_controller.rollouts import state as s
from kenpin_controller.rollouts.layout import Candidate, lay_out
from kenpin_controller.rollouts.measure import Measures
from kenpin_controller.rollouts.plan import Plan, Subject, Targets
from kenpin_controller.rollouts.runner import Runner
from kenpin_controller.rollouts.stuck import stuck
from kenpin_controller.rollouts.telling import tell
from kenpin_controller.rollouts.views import (
    AuditRecord,
    DisagreementRecord,
    Pin,
    RecallResult,
    RolloutView,
    Status,
    WhoIsRight,
)
from kenpin_controller.store import Store
from kenpin_controller.store.audit import Deed, read_audit
from kenpin_controller.store.rollouts import Send
from kenpin_controller.views import DeviceView
from kenpin_controller.why import ANOMALY, Health, why
from kenpin_wire.errors import ConfigError
from kenpin_wire.messages import ReleaseName

_TAG = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,30}[a-z0-9])?")
MAX_TAGS = 20
_NOT_ITS_OWN = (ANOMALY, "Getting ready")
"""What a part or a first start shows: no trouble of the device's own, that would hold an update up."""

Allowed = Callable[[str, str], bool]
"""Whether `who` may do what the verb says."""


class RolloutDesk:
    """Implements the rollouts' part of `kenpin_controller.operations.Operations`. Any number of threads.

    Args:
        ready: Raises for a release that devices would not take; signs it if that is all.
        allowed: Who may do what; everybody everything, until there are roles.
    """

    def __init__(
        self,
        store: Store,
        fleet: Fleet,
        runner: Runner,
        *,
        ready: Callable[[ReleaseRecord], None],
        allowed: Allowed = lambda _who, _verb: True,
        wall_s: Callable[[], float] = time.time,
    ) -> None:
        self._store = store
        self._fleet = fleet
        self._runner = runner
        self._ready = ready
        self._allowed = allowed
        self._wall_s = wall_s
        self._measures = Measures(store, fleet)

    # Rollouts ----------------------------------------------------------------------------------------------

    def start_rollout(
        self, release: ReleaseName, *, devices: list[str] | None = None, line: str | None = None, who: str
    ) -> RolloutView:
        if devices is not None and line is not None:
            raise ConfigError(
                "devices and a line exclude each other",
                where="rollout",
                remedy="Give one, or neither for all.",
            )
        targets = Targets(devices=devices, line=line)
        return self.roll_out(Plan(subject=Subject(release=release), targets=targets), who=who)

    def roll_out(self, plan: Plan, *, who: str) -> RolloutView:
        self._check(who, "start rollout")
        record = self._find(str(plan.subject.release))
        if record.recalled:
            raise ConflictError(
                f"it was recalled by {record.recalled}",
                where=str(record.release),
                remedy="Roll out another one.",
            )
        self._ready(record)
        now_s = self._wall_s()
        devices = lay_out(self._candidates(plan), plan.waves, now_s)
        rollout = s.RolloutState(
            id=secrets.token_hex(6), plan=plan, who=who, started_s=now_s, devices=devices
        )
        detail: dict[str, Any] = {"rollout": rollout.id, "devices": list(devices)}
        if plan.subject.threshold is not None:
            detail["threshold"] = plan.subject.threshold.model_dump(exclude_none=True)
        deed = Deed(who, "start rollout", str(plan.subject.release), now_s, detail)
        return self._tell(self._runner.begin(rollout, deed))

    def rollout(self, rollout_id: str) -> RolloutView | None:
        try:
            return self._tell(self._runner.state(rollout_id))
        except NotFoundError:
            return None

    def rollouts(self, *, limit: int = 50) -> list[RolloutView]:
        now_s = self._wall_s()
        return [tell(state, now_s) for state in self._store.rollouts.newest(limit)]

    def pause_rollout(self, rollout_id: str, *, who: str) -> RolloutView:
        return self._act("pause rollout", rollout_id, s.Pause(who), who)

    def resume_rollout(self, rollout_id: str, *, who: str) -> RolloutView:
        return self._act("resume rollout", rollout_id, s.Resume(who), who)

    def abort_rollout(self, rollout_id: str, *, revert: bool, why: str, who: str) -> RolloutView:
        return self._end("abort rollout", rollout_id, revert=revert, why=why, who=who)

    def return_rollout(self, rollout_id: str, *, why: str, who: str) -> RolloutView:
        return self._end("return rollout", rollout_id, revert=True, why=why, who=who)

    def approve_wave(self, rollout_id: str, *, who: str) -> RolloutView:
        return self._act("approve wave", rollout_id, s.ApproveWave(who), who)

    def approve_device(
        self, rollout_id: str, device: str, *, with_threshold: bool = False, who: str
    ) -> RolloutView:
        threshold = None
        if with_threshold:
            report = self._measures.reports(self._runner.state(rollout_id)).get(device)
            threshold = report.proposed_threshold if report is not None else None
            if threshold is None:
                raise ConflictError(
                    "its shadowing proposes no threshold",
                    where=device,
                    remedy="Approve it with the release's own, and set one later.",
                )
        event = s.ApproveDevice(who, device, threshold)
        return self._act("approve device", rollout_id, event, who, device=device, threshold=threshold)

    def retry_device(self, rollout_id: str, device: str, *, who: str) -> RolloutView:
        return self._act("retry device", rollout_id, s.Retry(who, device), who, device=device)

    def skip_device(self, rollout_id: str, device: str, *, why: str, who: str) -> RolloutView:
        event = s.Skip(who, device, _said(why))
        return self._act("skip device", rollout_id, event, who, device=device, why=why)

    # Devices -----------------------------------------------------------------------------------------------

    def return_device(self, device: str, *, why: str, who: str) -> int:
        self._check(who, "return device")
        why = _said(why)
        label = self._before(self._view(device))
        deed = Deed(who, "return device", device, self._wall_s(), {"to": label, "why": why})
        sent = self._runner.send([Send(device, label)], f"sent back to {label} by {who}: {why}", deed)
        return sent[device]

    def pin(self, device: str, *, why: str, who: str) -> Pin:
        self._check(who, "pin device")
        view = self._view(device)
        pin = Pin(device, view.installed, who, _said(why), self._wall_s())
        detail = {"release": pin.release, "why": pin.why}
        self._store.marks.pin(pin, deed=Deed(who, "pin device", device, pin.time_s, detail))
        self._runner.pinned(device, who, pin.words)
        return pin

    def unpin(self, device: str, *, who: str) -> None:
        self._check(who, "unpin device")
        self._view(device)
        self._store.marks.unpin(device, deed=Deed(who, "unpin device", device, self._wall_s(), {}))

    def pins(self) -> dict[str, Pin]:
        return self._store.marks.pins()

    def tag(self, device: str, tags: list[str], *, who: str) -> list[str]:
        self._check(who, "tag device")
        self._view(device)
        chosen = sorted(set(tags))
        wrong = [tag for tag in chosen if not _TAG.fullmatch(tag)]
        if wrong or len(chosen) > MAX_TAGS:
            raise ConfigError(
                f"{wrong[0]!r} cannot be a tag" if wrong else f"more than {MAX_TAGS} tags",
                where=device,
                remedy="Use a few words of 1 to 32 of the characters a-z, 0-9 and '-'.",
            )
        deed = Deed(who, "tag device", device, self._wall_s(), {"tags": chosen})
        self._store.marks.tag(device, chosen, deed=deed)
        return chosen

    def tags(self) -> dict[str, list[str]]:
        return self._store.marks.tags()

    def why(self, device: str, now_s: float) -> Health:
        """Why a device stands as it does: its own troubles first, then what rollouts have to say."""
        health = why(self._view(device), now_s)
        if not health.all_right and health.word not in _NOT_ITS_OWN:
            return health
        for state in self._runner.live():
            there = state.devices.get(device)
            said = stuck(state, there, now_s) if there is not None else None
            if said is not None:
                return said
        pin = self.pins().get(device)
        if pin is not None:
            return Health(health.level, health.word, f"{health.sentence} It is {pin.words}.", health.remedy)
        return health

    # Releases, disagreements, audit --------------------------------------------------------------------------

    def recall_release(self, label: str, *, send_back: bool, why: str, who: str) -> RecallResult:
        self._check(who, "recall release")
        record, why, now_s = self._find(label), _said(why), self._wall_s()
        label = str(record.release)
        deed = Deed(who, "recall release", label, now_s, {"why": why, "send_back": send_back})
        self._store.releases.recall(record.release, f"{who}: {why}", deed=deed)
        for state in self._runner.live():
            if state.label == label and state.status in s.LIVE and state.status is not Status.REVERTING:
                self._end(
                    "abort rollout", state.id, revert=send_back, why=f"{label} was recalled: {why}", who=who
                )
        running = [view for view in self._views() if view.installed == label]
        sends: list[Send] = []
        left: dict[str, str] = {}
        for view in running if send_back else []:
            try:
                sends.append(Send(view.name, self._before(view)))
            except ConflictError as error:
                left[view.name] = error.what
        if sends:
            detail = {"devices": [send.device for send in sends], "why": why}
            deed = Deed(who, "return device", label, now_s, detail)
            self._runner.send(sends, f"sent back by {who}: {label} was recalled", deed)
        return RecallResult(
            record.release,
            tuple(view.name for view in running),
            tuple(send.device for send in sends),
            left,
        )

    def disagreements(
        self, *, rollout: str | None = None, device: str | None = None, limit: int = 200
    ) -> list[DisagreementRecord]:
        return self._store.shadows.disagreements(rollout=rollout, device=device, limit=limit)

    def judge_disagreement(self, disagreement_id: str, right: WhoIsRight, *, who: str) -> DisagreementRecord:
        self._check(who, "judge disagreement")
        deed = Deed(who, "judge disagreement", disagreement_id, self._wall_s(), {"right": right.value})
        found = self._store.shadows.judge(disagreement_id, right, deed=deed)
        if found is None:
            raise NotFoundError("no such disagreement", where=disagreement_id)
        self._runner.heard(found.device)
        return found

    def audit(self, *, limit: int = 100, before_id: int | None = None) -> list[AuditRecord]:
        return read_audit(self._store.engine, limit=limit, before_id=before_id)

    # Helpers -----------------------------------------------------------------------------------------------

    def _act(self, action: str, rollout_id: str, event: s.Event, who: str, **detail: Any) -> RolloutView:
        self._check(who, action)
        given = {key: value for key, value in detail.items() if value is not None}
        deed = Deed(who, action, rollout_id, self._wall_s(), given)
        return self._tell(self._runner.act(rollout_id, event, deed))

    def _end(self, action: str, rollout_id: str, *, revert: bool, why: str, who: str) -> RolloutView:
        sights = self._runner.sights(self._runner.state(rollout_id))
        event = s.Abort(who, _said(why), revert, sights)
        return self._act(action, rollout_id, event, who, why=why, revert=revert)

    def _tell(self, state: s.RolloutState) -> RolloutView:
        return tell(
            state,
            self._wall_s(),
            timeline=self._store.rollouts.timeline(state.id),
            reports=self._measures.reports(state),
            verdicts=self._store.shadows.verdicts(state.id),
        )

    def _check(self, who: str, verb: str) -> None:
        if not self._allowed(who, verb):
            raise ConflictError(f"{who} may not {verb}", where=verb, remedy="Ask somebody who may.")

    def _find(self, label: str) -> ReleaseRecord:
        record = self._store.releases.labelled(label)
        if record is None:
            raise NotFoundError(
                "no such release",
                where=label,
                remedy="`kenpin release list` shows what is here; `kenpin release add FILE` adds one.",
            )
        return record

    def _views(self) -> list[DeviceView]:
        return [view for line in self._fleet.lines() for view in line.devices]

    def _view(self, device: str) -> DeviceView:
        view = self._fleet.device(device)
        if view is None:
            raise NotFoundError(
                "no such device", where=device, remedy="`kenpin devices` shows those that were ever heard."
            )
        return view

    def _before(self, view: DeviceView) -> str:
        """The release to send a device back to: what it says ran before, else what a rollout found there."""
        told = str(view.release.previous) if view.release is not None and view.release.previous else ""
        found = next(
            (
                state.devices[view.name].before
                for state in self._store.rollouts.newest(50)
                if state.label == view.installed
                and view.name in state.devices
                and state.devices[view.name].before
            ),
            "",
        )
        label = told or found
        record = self._store.releases.labelled(label) if label else None
        if record is None or record.recalled or label == view.installed:
            why = f"{label} was recalled" if record is not None and record.recalled else "nothing is known"
            raise ConflictError(
                f"there is nothing to send it back to: {why if label else 'nothing ran before'}",
                where=view.name,
                remedy="Roll out a release of your choice to it.",
            )
        return label

    def _candidates(self, plan: Plan) -> list[Candidate]:
        targets, views = plan.targets, {view.name: view for view in self._views()}
        if targets.devices is not None:
            chosen = [self._view(name) for name in dict.fromkeys(targets.devices)]
        else:
            chosen = list(views.values())
        tags = self._store.marks.tags()
        chosen = [
            view
            for view in chosen
            if targets.line in (None, view.address.line)
            and (targets.tag is None or targets.tag in tags.get(view.name, ()))
        ]
        if not chosen:
            raise NotFoundError(
                "there is no device to roll it out to",
                where=targets.line or targets.tag or "rollout",
                remedy="`kenpin devices` shows those that were ever heard, and their lines.",
            )
        pins, now_s = self._store.marks.pins(), self._wall_s()
        return [
            Candidate(
                view.name,
                view.address.line,
                view.online(now_s),
                pins[view.name].words if view.name in pins else "",
            )
            for view in chosen
        ]


def _said(why: str) -> str:
    """A reason that says something."""
    if not why.strip():
        raise ConfigError(
            "a reason is needed", where="why", remedy="Say in a few words why; it is kept in the audit log."
        )
    return why.strip()[:512]
