"""How the runner sees the fleet: what each device last said, where it stands, and what the gates go by."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime

from kenpin_controller.fleet import Fleet
from kenpin_controller.rollouts.measure import Measures
from kenpin_controller.rollouts.state import (
    Configured,
    DeviceState,
    Event,
    Reported,
    RolloutState,
    Sight,
    Sights,
    Tick,
)
from kenpin_controller.rollouts.views import Stage
from kenpin_controller.store import Store
from kenpin_controller.store.rollouts import Reach
from kenpin_controller.views import DeviceView
from kenpin_wire.messages import (
    MAX_WHOLE,
    DesiredConfig,
    DesiredRelease,
    ReportedConfig,
    ReportedRelease,
    Threshold,
)

_HEARD = frozenset(
    {Stage.WAITING, Stage.UNDER_WAY, Stage.DONE, Stage.CANCELLING, Stage.CANCELLED, Stage.RETURNING}
)
"""In these a device's own words can move it."""


class Eyes:
    """Used under the runner's lock."""

    def __init__(self, store: Store, fleet: Fleet) -> None:
        self._store = store
        self._fleet = fleet
        self._measures = Measures(store, fleet)
        self._fed: dict[tuple[str, str], tuple[ReportedRelease | ReportedConfig, int, Stage]] = {}

    def reports(self, state: RolloutState) -> Iterator[Event]:
        """What the devices have said and the machine has not heard."""
        for device in state.devices.values():
            if device.stage in _HEARD and device.rev:
                view = self._fleet.device(device.device)
                event = self._report(state, device, view) if view is not None else None
                if event is not None:
                    yield event

    def tick(self, state: RolloutState, now_s: float) -> Tick:
        """The moment, with all that is known in it. To be asked for when all reports were heard."""
        moment = datetime.fromtimestamp(now_s)
        return Tick(
            self.sights(state, now_s),
            moment.hour + moment.minute / 60,
            self._measures.evidence(state, now_s),
        )

    def sights(self, state: RolloutState, now_s: float) -> Sights:
        """What is known of a rollout's devices."""
        pins = self._store.marks.pins()
        kept = {str(record.release) for record in self._store.releases.list() if not record.recalled}
        ours = self._ours(state)
        sights = {}
        for name in state.devices:
            view = self._fleet.device(name)
            pin = pins.get(name)
            pinned = pin.words if pin is not None else ""
            if view is not None and view.release is not None and view.release.rev >= MAX_WHOLE:
                pinned = f"it reports revision {view.release.rev}, and there is none after that"
            runs = view.installed if view is not None else ""
            sights[name] = Sight(
                online=view is not None and view.online(now_s),
                runs=runs,
                kept=runs in kept,
                ours=name in ours,
                pinned=pinned,
            )
        return sights

    def reach(self, names: Iterable[str]) -> dict[str, Reach]:
        """Where these devices stand, and what revisions they have reported, now or before a restart."""
        known = {seen.name: seen for seen in self._store.readings.devices()}
        found = {}
        for name in names:
            view, seen = self._fleet.device(name), known.get(name)
            if view is None:  # the store's devices are all in the live picture
                continue
            revs = [(seen.release_rev, seen.config_rev)] if seen is not None else []
            revs.append(
                (
                    view.release.rev if view.release is not None else 0,
                    view.config.rev if view.config is not None else 0,
                )
            )
            found[name] = Reach(view.address, max(r for r, _ in revs), max(c for _, c in revs))
        return found

    def _report(self, state: RolloutState, device: DeviceState, view: DeviceView) -> Event | None:
        """What the device last said, unless it was considered already with the device at this stage."""
        of_settings = state.plan.subject.threshold is not None
        said = view.config if of_settings else view.release
        if said is None:
            return None
        key = (state.id, device.device)
        known = self._fed.get(key)
        if known is not None and known[0] is said and known[1:] == (device.rev, device.stage):
            return None
        self._fed[key] = (said, device.rev, device.stage)
        if isinstance(said, ReportedConfig):
            error = "" if said.applied else "the device does not say why"
            return Configured(device.device, said.rev, said.error or error)
        return Reported(
            device=device.device,
            rev=said.rev,
            phase=str(said.phase)[:32],
            about=str(said.latest or ""),
            reason=said.reason[:512],
            percent=said.percent,
            runs=str(said.installed or ""),
        )

    def _ours(self, state: RolloutState) -> set[str]:
        """The devices whose last order came from this rollout."""
        wish, ours = state.plan.subject.threshold, set()
        for desire in self._store.intents.desired():
            message = desire.message
            if wish is None and isinstance(message, DesiredRelease):
                mine = message.rollout == state.id
            elif wish is not None and isinstance(message, DesiredConfig):
                mine = message.threshold == Threshold(
                    release=state.label, value=wish.value, false_rejects=wish.false_rejects
                )
            else:
                mine = False
            if mine:
                ours.add(desire.address.device)
        return ours
