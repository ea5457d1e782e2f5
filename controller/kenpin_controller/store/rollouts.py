"""Rollouts in the database. A step's state, its orders, its timeline and its audit line are one transaction."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Engine, select

from kenpin_controller.errors import NotFoundError
from kenpin_controller.rollouts.state import (
    DeviceState,
    Effect,
    Order,
    RestoreThreshold,
    RolloutState,
    Say,
    SendBack,
    SetThreshold,
)
from kenpin_controller.rollouts.views import TimelineEntry
from kenpin_controller.store import schema as t
from kenpin_controller.store.audit import Deed, writing
from kenpin_controller.store.database import upsert
from kenpin_controller.store.desired import Desire, load_config, load_release, next_rev, save_desire
from kenpin_controller.store.releases import find_file
from kenpin_wire.messages import Decision, DesiredConfig, DesiredRelease, Policy, Threshold
from kenpin_wire.messages import now as stamp
from kenpin_wire.topics import Address, Channel

_TEXT = 1024


@dataclass(frozen=True, slots=True)
class Reach:
    """Where a device stands, and the newest revisions that it has reported: the next ones are beyond them even if
    this database was lost and began again."""

    address: Address
    release_rev: int
    config_rev: int


@dataclass(frozen=True, slots=True)
class Change:
    """One step of a rollout. `before` is the state as stored; None for a new rollout."""

    before: RolloutState | None
    after: RolloutState
    effects: Sequence[Effect]


@dataclass(frozen=True, slots=True)
class Send:
    """Order a device to run a release, whatever rollouts there are."""

    device: str
    label: str


class Rollouts:
    """Any number of threads may read; whoever saves must hold the runner's lock."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._writer = engine.execution_options(writes=True)

    def save(
        self,
        changes: Sequence[Change],
        reach: Mapping[str, Reach],
        now_s: float,
        *deeds: Deed,
        sends: Sequence[Send] = (),
    ) -> tuple[list[RolloutState], list[Desire]]:
        """Store steps and all that follows from them, and orders beside them.

        Returns:
            The states with the new orders' revisions, and the desired messages to publish now.

        Raises:
            ConflictError: if a device's revisions are used up.
            StoreError: if it cannot be stored; nothing has changed then.
        """
        states: list[RolloutState] = []
        desires: list[Desire] = []
        with writing(self._writer, *deeds) as connection:
            for change in changes:
                writer = _Orders(connection, change.after, reach)
                for effect in change.effects:
                    writer.carry_out(effect, now_s)
                state = change.after.model_copy(update={"devices": writer.devices})
                _save_state(connection, change.before, state)
                states.append(state)
                desires += writer.desires
            desires += [_send(connection, send, reach[send.device]) for send in sends]
        return states, desires

    def unfinished(self) -> list[RolloutState]:
        """All that must be watched."""
        with self._engine.connect() as connection:
            ids = connection.scalars(select(t.rollouts.c.id).where(t.rollouts.c.over.is_(False))).all()
            return _load(connection, list(ids))

    def get(self, rollout_id: str) -> RolloutState | None:
        """One rollout."""
        with self._engine.connect() as connection:
            return next(iter(_load(connection, [rollout_id])), None)

    def newest(self, limit: int) -> list[RolloutState]:
        """Newest first."""
        with self._engine.connect() as connection:
            order = (t.rollouts.c.started_s.desc(), t.rollouts.c.id)
            ids = connection.scalars(select(t.rollouts.c.id).order_by(*order).limit(limit)).all()
            return _load(connection, list(ids))

    def timeline(self, rollout_id: str, limit: int = 2_000) -> list[TimelineEntry]:
        """Oldest first; the newest `limit`."""
        c = t.rollout_timeline.c
        query = select(t.rollout_timeline).where(c.rollout == rollout_id).order_by(c.id.desc()).limit(limit)
        with self._engine.connect() as connection:
            rows = connection.execute(query).all()
        return [TimelineEntry(row.time_s, row.who, row.text, row.device) for row in reversed(rows)]


class _Orders:
    """Carries a step's effects out within the transaction."""

    def __init__(self, connection: Connection, state: RolloutState, reach: Mapping[str, Reach]) -> None:
        self._connection = connection
        self._state = state
        self._reach = reach
        self.devices = dict(state.devices)
        self.desires: list[Desire] = []

    def carry_out(self, effect: Effect, now_s: float) -> None:
        match effect:
            case Order(device, decision):
                self._order(device, self._state.label, decision)
            case SendBack(device):
                self._order(device, self.devices[device].before, Decision.INSTALL)
            case SetThreshold(device, threshold):
                self._threshold(device, threshold, remember=True)
            case RestoreThreshold(device):
                self._threshold(device, self.devices[device].before_threshold, remember=False)
            case Say(text, device, who):
                row = {"rollout": self._state.id, "time_s": now_s, "who": who[:64], "device": device}
                self._connection.execute(t.rollout_timeline.insert().values(**row, text=text[:_TEXT]))

    def _order(self, device: str, label: str, decision: Decision) -> None:
        plan = self._state.plan
        policy = Policy(trial=plan.policy.trial)
        if label == self._state.label:
            policy = plan.policy.model_copy(update={"approval": plan.waits_staged})
        desire = _order(
            self._connection,
            self._reach[device],
            label,
            {"rollout": self._state.id, "decision": decision, "policy": policy},
        )
        self.desires.append(desire)
        self.devices[device] = self.devices[device].model_copy(update={"rev": desire.message.rev})

    def _threshold(self, device: str, threshold: Threshold | None, *, remember: bool) -> None:
        reach = self._reach[device]
        config = load_config(self._connection, reach.address) or DesiredConfig(rev=0)
        rev = next_rev(config.rev, reach.config_rev, reach.address)
        state = self.devices[device]
        fields: dict[str, Any] = {"remembered": remember}
        if remember and not state.remembered:
            fields["before_threshold"] = config.threshold
        if self._state.plan.subject.threshold is not None:
            fields["rev"] = rev
        self.devices[device] = state.model_copy(update=fields)
        changed = config.model_copy(update={"rev": rev, "threshold": threshold, "ts": stamp()})
        desire = Desire(reach.address, Channel.SET_CONFIG, changed)
        save_desire(self._connection, desire, rev)
        self.desires.append(desire)


def _send(connection: Connection, send: Send, reach: Reach) -> Desire:
    return _order(connection, reach, send.label, {})


def _order(connection: Connection, reach: Reach, label: str, fields: dict[str, Any]) -> Desire:
    """The next desired release of a device.

    Raises:
        NotFoundError: if the controller does not have that release.
    """
    file = find_file(connection, label)
    if file is None:
        raise NotFoundError(
            "the controller does not have this release's file", where=label, remedy="Add it again."
        )
    previous = load_release(connection, reach.address)
    rev = next_rev(previous.rev if previous else 0, reach.release_rev, reach.address)
    message = DesiredRelease(rev=rev, release=file.release, sha256=file.sha256, size=file.size, **fields)
    desire = Desire(reach.address, Channel.SET_RELEASE, message)
    save_desire(connection, desire, rev)
    return desire


def _save_state(connection: Connection, before: RolloutState | None, after: RolloutState) -> None:
    """Write what differs: a fleet's devices are many, and one report moves one of them."""
    row = {
        "id": after.id,
        "release": after.label,
        "started_s": after.started_s,
        "over": after.over,
        "body": after.model_dump(mode="json", exclude={"devices"}, exclude_none=True),
    }
    upsert(connection, t.rollouts, row)
    known: Mapping[str, DeviceState] = before.devices if before is not None else {}
    for position, (name, device) in enumerate(after.devices.items()):
        if known.get(name) is device:
            continue
        body = device.model_dump(mode="json", exclude_none=True)
        upsert(
            connection,
            t.rollout_devices,
            {"rollout": after.id, "device": name, "position": position, "body": body},
        )


def _load(connection: Connection, ids: list[str]) -> list[RolloutState]:
    c = t.rollout_devices.c
    devices: dict[str, dict[str, Any]] = {rollout_id: {} for rollout_id in ids}
    for row in connection.execute(
        select(t.rollout_devices).where(c.rollout.in_(ids)).order_by(c.rollout, c.position)
    ):
        devices[row.rollout][row.device] = row.body
    bodies = {
        row.id: row.body for row in connection.execute(select(t.rollouts).where(t.rollouts.c.id.in_(ids)))
    }
    return [
        RolloutState.model_validate_json(json.dumps(bodies[rollout_id] | {"devices": devices[rollout_id]}))
        for rollout_id in ids
        if rollout_id in bodies
    ]
