"""A rollout with nothing real but the two machines: the controller's, and on each device the agent's own.

No store, broker, thread or clock. What the store does (revisions, the desired messages) is done here in a few
lines, and each order is held against what must never happen.
"""

from __future__ import annotations

from dataclasses import replace

from kenpin_agent.deployment import events as e
from kenpin_agent.deployment.machine import advance
from kenpin_agent.deployment.state import RESTING, Effect, Installed, Slot, State
from kenpin_controller.rollouts.gates import CameraCounts, Evidence
from kenpin_controller.rollouts.layout import Candidate, lay_out
from kenpin_controller.rollouts.machine import step
from kenpin_controller.rollouts.plan import Plan
from kenpin_controller.rollouts.state import (
    NotNowError,
    Order,
    Reported,
    RolloutState,
    Say,
    SendBack,
    Sight,
    Tick,
)
from kenpin_controller.rollouts.views import GateState, Status
from kenpin_wire.messages import Decision, DesiredRelease, Phase, Policy, ReleaseName
from kenpin_wire.shadow import ShadowReport

OLD, NEW = ReleaseName(name="discs", version="1"), ReleaseName(name="discs", version="2")
SHA = {OLD: "a" * 64, NEW: "b" * 64}


class Device:
    """A device with the agent's own deployment machine. `desired` is what the broker retains for it."""

    def __init__(self, name: str, line: str) -> None:
        self.name, self.line = name, line
        self.online = True
        self.desired: DesiredRelease | None = None
        self.state = State(phase=Phase.COMMITTED, committed=Installed(Slot.A, OLD, SHA[OLD]))
        self.ever_judged_with_new = False

    def listen(self) -> None:
        if self.online and self.desired is not None:
            self._do(e.Ordered(self.desired))

    def work(self, *, well: bool) -> None:
        """One step of the deployment, well or not."""
        good, bad = {
            Phase.DOWNLOADING: (e.Fetched(), e.FetchFailed("no route")),
            Phase.VERIFYING: (e.Verified(), e.Refused("golden picture 0 differs")),
            Phase.SHADOWING: (e.ShadowDone(), e.ShadowFailed("it crashed")),
            Phase.ACTIVATING: (e.Activated(), e.Activated()),
            Phase.TRIAL: (e.TrialPassed(), e.TrialFailed("late verdicts")),
        }.get(self.state.phase, (None, None))
        event = good if well else bad
        if event is not None:
            self._do(event)

    @property
    def runs(self) -> ReleaseName:
        assert self.state.committed is not None
        return self.state.committed.release

    def report(self) -> Reported:
        order = self.state.order
        return Reported(
            device=self.name,
            rev=order.rev if order else 0,
            phase=self.state.phase.value,
            about=str(order.release) if order else "",
            reason=self.state.reason,
            percent=0.0,
            runs=str(self.runs),
        )

    def _do(self, event: e.Event) -> None:
        self.state, effects = advance(self.state, event)
        if self.state.phase is Phase.TRIAL and self.state.order and self.state.order.release == NEW:
            self.ever_judged_with_new = True
        if Effect.TAKE_PENDING in effects and self.state.pending is not None and self.state.phase in RESTING:
            pending = self.state.pending
            self.state, more = advance(self.state, e.Ordered(pending))
            self.state = replace(self.state, pending=None)
            assert Effect.TAKE_PENDING not in more


class World:
    """The controller and its devices. Every order is checked when it is made."""

    def __init__(self, plan: Plan, devices: list[Device]) -> None:
        self.now_s = 1_000_000.0
        self.hour = 12.0
        self.devices = {device.name: device for device in devices}
        self.broker_up = True
        self.revs: dict[str, int] = {}
        self.orders: dict[str, DesiredRelease] = {}  # as stored
        self.reports: dict[str, ShadowReport] = {}
        self.evidence = Evidence()
        candidates = [Candidate(d.name, d.line, d.online) for d in devices]
        self.state = RolloutState(
            id="r1",
            plan=plan,
            who="ana",
            started_s=self.now_s,
            devices=lay_out(candidates, plan.waves, self.now_s),
        )
        self.said: list[str] = []

    def tell(self, event, *, dies_before_storing: bool = False, dies_before_publishing: bool = False) -> None:
        """Store what the machine says, and publish; or die in between, and forget all but what is stored."""
        try:
            state, effects = step(self.state, event, self.now_s)
        except NotNowError:
            return
        if dies_before_storing:
            return
        unpublished = []
        for effect in effects:
            match effect:
                case Say(text, device, _who):
                    self.said.append(f"{device} {text}".strip())
                case Order(device, decision):
                    self._check_order(state, device, decision)
                    unpublished.append(self._store(state, device, NEW, decision))
                case SendBack(device):
                    assert state.devices[device].before == str(OLD)
                    unpublished.append(self._store(state, device, OLD, Decision.INSTALL))
        for device in unpublished:
            fresh = state.devices[device].model_copy(update={"rev": self.revs[device]})
            state = state.model_copy(update={"devices": state.devices | {device: fresh}})
        self.state = RolloutState.model_validate_json(state.model_dump_json(exclude_none=True))
        assert self.state == state
        if self.broker_up and not dies_before_publishing:
            self._publish(unpublished)

    def tick(self, **death: bool) -> None:
        reports = {
            name: report
            for name, report in self.reports.items()
            if self.state.devices[name].activated or report.rev >= self.state.devices[name].rev
        }
        cameras = {name: CameraCounts() for name in self.devices} | dict(self.evidence.cameras)
        self.tell(
            Tick(self.sights(), self.hour, replace(self.evidence, cameras=cameras, reports=reports)), **death
        )

    def look(self, **death: bool) -> None:
        """What the runner does at each look."""
        for device in self.devices.values():
            if device.online and self.broker_up:
                self.tell(device.report())
        self.tick(**death)

    def reconnect(self) -> None:
        """Start, or meet the broker, again: all desired state goes out."""
        self.broker_up = True
        self._publish(list(self.orders))

    def sights(self) -> dict[str, Sight]:
        return {
            name: Sight(
                online=device.online,
                runs=str(device.runs),
                kept=True,
                ours=name in self.orders and self.orders[name].rollout == "r1",
            )
            for name, device in self.devices.items()
        }

    def drain(self) -> None:
        """Let everything go well from now on, for two days."""
        self.reconnect()
        for device in self.devices.values():
            device.online = True
        for _ in range(60):
            for device in self.devices.values():
                device.listen()
                device.work(well=True)
                self.shadow(device.name)
            self.now_s += 3600.0
            self.look()

    def shadow(self, name: str, *, good: bool = True) -> None:
        """A finished report for the device's present order, if it has shadowed."""
        order = self.devices[name].state.order
        if order is not None and order.policy.shadow is not None:
            self.reports[name] = ShadowReport(
                rollout="r1", rev=order.rev, frames=300, wanted=300, finished=True, ks=0.05 if good else 0.9
            )

    def _store(self, state: RolloutState, device: str, release: ReleaseName, decision: Decision) -> str:
        rev = self.revs.get(device, 0) + 1
        assert rev > (self.orders[device].rev if device in self.orders else 0)
        self.revs[device] = rev
        approval = state.plan.waits_staged
        policy = state.plan.policy.model_copy(update={"approval": approval}) if release == NEW else Policy()
        self.orders[device] = DesiredRelease(
            rev=rev,
            release=release,
            sha256=SHA[release],
            size=9,
            rollout="r1",
            decision=decision,
            policy=policy,
        )
        return device

    def _publish(self, names: list[str]) -> None:
        for name in names:
            self.devices[name].desired = self.orders[name]
            self.devices[name].listen()

    def _check_order(self, state: RolloutState, name: str, decision: Decision) -> None:
        """What must never happen, whatever came before."""
        if decision is Decision.CANCEL:
            return
        device = state.devices[name]
        assert state.status in (Status.RUNNING, Status.FINISHED, Status.FAILED), (
            f"{decision} while {state.status}"
        )
        assert device.wave is not None
        assert device.wave <= state.wave
        for earlier in range(device.wave):
            gates = state.gates[earlier]
            opened = all(gate.state is GateState.OPEN for gate in gates)
            assert opened or earlier in state.approved, f"{name} of wave {device.wave} past {gates}"
            assert not any(gate.state is GateState.CLOSED for gate in gates)
        if decision is Decision.ACTIVATE:
            if state.plan.gates.shadow is not None:
                assert device.gate is not None
                assert device.gate.state is GateState.OPEN
            assert device.approved or not state.plan.policy.approval
