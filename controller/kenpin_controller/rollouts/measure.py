"""What the gates go by, read from the store and the live picture."""

from __future__ import annotations

from kenpin_controller.fleet import Fleet
from kenpin_controller.rollouts.gates import CameraCounts, Counts, Evidence
from kenpin_controller.rollouts.plan import RejectGate
from kenpin_controller.rollouts.state import DeviceState, RolloutState
from kenpin_controller.rollouts.views import Status
from kenpin_controller.rollouts.waves import awaits_word
from kenpin_controller.store import Store
from kenpin_wire.shadow import ShadowReport

_CLOCKS_APART_S = 5.0
"""A device's seconds carry its own clock; which release judged them is told, so a few too early do no harm."""
_SLOWED = 0b1110  # capped, throttled, soft limit: now, not earlier


_Beside = dict[tuple[str, str], list[str]]


class Measures:
    """Used by one thread at a time."""

    def __init__(self, store: Store, fleet: Fleet) -> None:
        self._store = store
        self._fleet = fleet
        self._past: dict[tuple[str, str, float], tuple[Counts, Counts]] = {}

    def evidence(self, state: RolloutState, now_s: float) -> Evidence | None:
        """Of the wave that runs, and of all devices that shadow; None if no gate needs any."""
        if state.status not in (Status.RUNNING, Status.PAUSED) and not any(
            awaits_word(state, device) for device in state.devices.values()
        ):
            return None
        gates = state.plan.gates
        switched = [d for d in state.devices.values() if d.switched and d.wave == state.wave]
        cameras = {}
        if gates.reject_rate is not None:
            beside = self._beside(state)
            cameras = {d.device: self._camera(state, d, gates.reject_rate, beside, now_s) for d in switched}
        return Evidence(
            cameras=cameras,
            peaks_c=self._peaks_c(switched) if gates.heat is not None else {},
            throttled=self._throttled(switched),
            reports=self.reports(state) if gates.shadow is not None else {},
            verdicts=self._store.shadows.verdicts(state.id),
        )

    def reports(self, state: RolloutState) -> dict[str, ShadowReport]:
        """Each device's last shadow report for its present order."""
        reports = self._store.shadows.reports(state.id)
        for name in state.devices:
            view = self._fleet.device(name)
            if view is not None and view.shadow is not None and view.shadow.rollout == state.id:
                reports[name] = view.shadow
        return {
            name: report
            for name, report in reports.items()
            if (d := state.devices.get(name)) is not None and (d.activated or report.rev >= d.rev)
        }

    def _camera(
        self,
        state: RolloutState,
        device: DeviceState,
        gate: RejectGate,
        beside: _Beside,
        now_s: float,
    ) -> CameraCounts:
        """A device's parts since its switch are those that the release itself has judged."""
        assert device.switched_s is not None
        switched_s = device.switched_s
        mine = None if state.plan.subject.threshold is not None else [state.label]
        readings = self._store.readings
        siblings = beside.get((device.line, device.before if mine is not None else state.label), [])
        key = (state.id, device.device, switched_s)
        if key not in self._past:
            began_s = switched_s - gate.before_s
            self._past[key] = (
                readings.rejects([device.device], since_s=began_s, until_s=switched_s),
                readings.rejects(siblings, since_s=began_s, until_s=switched_s) if siblings else Counts(),
            )
        before, siblings_before = self._past[key]
        since_s, until_s = switched_s + (1.0 if mine is None else -_CLOCKS_APART_S), now_s + 1.0
        return CameraCounts(
            now=readings.rejects([device.device], since_s=since_s, until_s=until_s, releases=mine),
            before=before,
            siblings_now=readings.rejects(siblings, since_s=since_s, until_s=until_s)
            if siblings
            else Counts(),
            siblings_before=siblings_before,
        )

    def _beside(self, state: RolloutState) -> _Beside:
        """The cameras that have not switched, by line and by the release they run: those with the same one make the
        same product, as far as can be known. All of a line stand under the empty release too."""
        beside: _Beside = {}
        for line in self._fleet.lines():
            for view in line.devices:
                other = state.devices.get(view.name)
                if other is None or not other.switched:
                    for label in {view.installed, ""}:
                        beside.setdefault((line.line, label), []).append(view.name)
        return beside

    def _peaks_c(self, switched: list[DeviceState]) -> dict[str, float]:
        peaks_c = {}
        for device in switched:
            view = self._fleet.device(device.device)
            readings = [
                point.temperature_c
                for point in (view.heat if view is not None else ())
                if point.temperature_c is not None and point.time_s >= (device.switched_s or 0.0)
            ]
            if readings:
                peaks_c[device.device] = max(readings)
        return peaks_c

    def _throttled(self, switched: list[DeviceState]) -> frozenset[str]:
        views = (self._fleet.device(device.device) for device in switched)
        return frozenset(
            view.name
            for view in views
            if view is not None and view.telemetry is not None and view.telemetry.throttle_bits & _SLOWED
        )
