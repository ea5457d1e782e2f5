"""What people asked for: desired settings and releases with their revisions, rollouts, and who did what.

Every change and its audit line are one transaction.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Engine, select, update
from sqlalchemy.exc import SQLAlchemyError

from kenpin_controller.errors import ConflictError
from kenpin_controller.operations import RolloutRecord
from kenpin_controller.store import schema as t
from kenpin_controller.store.database import store_error, upsert
from kenpin_controller.store.writes import SUPERSEDED
from kenpin_wire.messages import MAX_WHOLE, DesiredConfig, DesiredRelease, Message, Phase, ReleaseName
from kenpin_wire.topics import Address, Channel

ENDED = frozenset(
    {
        Phase.COMMITTED,
        Phase.REJECTED,
        Phase.FAILED_NO_CHANGE,
        Phase.ROLLED_BACK,
        Phase.ROLLBACK_FAILED,
        Phase.CANCELLED,
        Phase.TIMED_OUT,
        SUPERSEDED,
    }
)
"""The phases in which a device is done with a rollout, well or not."""

WAITING = "waiting"
"""The phase of a device that has not yet said anything about a rollout."""


@dataclass(frozen=True, slots=True)
class Deed:
    """Who did what, to be written down with it."""

    who: str
    action: str
    subject: str
    time_s: float
    detail: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Desire:
    """A retained message that a device, or a whole line, shall find."""

    address: Address
    channel: Channel
    message: Message


@dataclass(frozen=True, slots=True)
class Target:
    """A device of a rollout. `reported_rev` is the newest release revision it has reported: the next one is
    beyond it even if this database was lost and began again."""

    address: Address
    reported_rev: int


class Intents:
    """Desired state, rollouts and audit. Any number of threads."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._writer = engine.execution_options(writes=True)

    def change_config(
        self,
        address: Address,
        change: Callable[[DesiredConfig], DesiredConfig],
        *,
        reported_rev: int,
        deed: Deed,
    ) -> DesiredConfig:
        """Change a device's desired settings, or a line's; what `change` leaves alone stays as it was.

        Args:
            reported_rev: The newest settings revision that the device has reported.

        Returns:
            The whole desired state, with its new revision.

        Raises:
            StoreError: if it cannot be stored; nothing has changed then.
        """
        with self._write(deed) as connection:
            previous = _load(connection, address, Channel.SET_CONFIG)
            config = DesiredConfig.model_validate_json(previous) if previous else DesiredConfig(rev=0)
            rev = _next_rev(config.rev, reported_rev, address)
            config = DesiredConfig.model_validate(dict(change(config)) | {"rev": rev})
            _save(connection, Desire(address, Channel.SET_CONFIG, config), rev)
        return config

    def start_rollout(
        self, rollout: str, order: DesiredRelease, targets: list[Target], *, deed: Deed
    ) -> list[Desire]:
        """Give every target the order, each under a revision of its own; earlier rollouts let go of them.

        Raises:
            StoreError: if it cannot be stored; nothing has changed then.
        """
        desires = []
        with self._write(deed) as connection:
            connection.execute(
                t.rollouts.insert().values(
                    id=rollout,
                    name=order.release.name,
                    version=order.release.version,
                    sha256=order.sha256,
                    started_s=deed.time_s,
                    who=deed.who,
                )
            )
            for target in targets:
                previous = _load(connection, target.address, Channel.SET_RELEASE)
                stored_rev = DesiredRelease.model_validate_json(previous).rev if previous else 0
                rev = _next_rev(stored_rev, target.reported_rev, target.address)
                message = order.model_copy(update={"rev": rev, "rollout": rollout})
                desire = Desire(target.address, Channel.SET_RELEASE, message)
                _save(connection, desire, rev)
                _take_over(connection, rollout, target.address.device, deed.time_s)
                desires.append(desire)
        return desires

    def desired(self) -> list[Desire]:
        """All desired state, as it must stand on the broker."""
        with self._engine.connect() as connection:
            rows = connection.execute(select(t.desired)).all()
        return [
            Desire(
                Address(row.site, row.line, row.device),
                Channel(row.channel),
                _MODELS[Channel(row.channel)].model_validate_json(json.dumps(row.body)),
            )
            for row in rows
        ]

    def desired_config(self, address: Address) -> DesiredConfig | None:
        """A device's desired settings, or None if nobody ever set any."""
        with self._engine.connect() as connection:
            text = _load(connection, address, Channel.SET_CONFIG)
        return DesiredConfig.model_validate_json(text) if text else None

    def rollouts(self, limit: int = 50) -> list[RolloutRecord]:
        """Newest first."""
        with self._engine.connect() as connection:
            newest = select(t.rollouts).order_by(t.rollouts.c.started_s.desc()).limit(limit)
            rows = connection.execute(newest).all()
            c = t.rollout_devices.c
            of_these = select(t.rollout_devices).where(c.rollout.in_([row.id for row in rows]))
            devices: dict[str, dict[str, dict[str, Any]]] = {row.id: {} for row in rows}
            for row in connection.execute(of_these.order_by(c.device)):
                devices[row.rollout][row.device] = {
                    "phase": row.phase,
                    "reason": row.reason,
                    "percent": row.percent,
                    "updated_s": row.updated_s,
                }
        return [
            RolloutRecord(
                id=row.id,
                release=ReleaseName(name=row.name, version=row.version),
                started_s=row.started_s,
                who=row.who,
                devices=devices[row.id],
                finished=all(d["phase"] in ENDED for d in devices[row.id].values()),
            )
            for row in rows
        ]

    def note(self, deed: Deed) -> None:
        """Write down a deed that changes nothing here, such as a command.

        Raises:
            StoreError: if it cannot be stored.
        """
        with self._write(deed):
            pass

    @contextmanager
    def _write(self, deed: Deed) -> Iterator[Connection]:
        try:
            with self._writer.begin() as connection:
                yield connection
                connection.execute(
                    t.audit.insert().values(
                        time_s=deed.time_s,
                        who=deed.who,
                        action=deed.action,
                        subject=deed.subject,
                        detail=dict(deed.detail),
                    )
                )
        except SQLAlchemyError as error:
            raise store_error(error) from None


_MODELS: dict[Channel, type[DesiredConfig] | type[DesiredRelease]] = {
    Channel.SET_CONFIG: DesiredConfig,
    Channel.SET_RELEASE: DesiredRelease,
}


def _load(connection: Connection, address: Address, channel: Channel) -> str:
    c = t.desired.c
    body = connection.scalar(
        select(c.body).where(
            c.site == address.site,
            c.line == address.line,
            c.device == address.device,
            c.channel == channel.value,
        )
    )
    return json.dumps(body) if body is not None else ""


def _next_rev(stored: int, reported: int, address: Address) -> int:
    """Beyond what was asked for and what the device says: it ignores whatever is not newer.

    Raises:
        ConflictError: if there is none. Nobody counts that far; somebody said so in the device's name.
    """
    rev = max(stored, reported) + 1
    if rev > MAX_WHOLE:
        raise ConflictError(
            f"it reports revision {reported}, and there is none after that",
            where=address.device,
            remedy="Restrict who may speak in its name on the broker, and give the device a new name.",
        )
    return rev


def _save(connection: Connection, desire: Desire, rev: int) -> None:
    row = {
        "site": desire.address.site,
        "line": desire.address.line,
        "device": desire.address.device,
        "channel": desire.channel.value,
        "rev": rev,
        "body": desire.message.model_dump(mode="json", exclude_none=True),
    }
    upsert(connection, t.desired, row)


def _take_over(connection: Connection, rollout: str, device: str, time_s: float) -> None:
    c = t.rollout_devices.c
    connection.execute(
        update(t.rollout_devices)
        .where(c.device == device, c.phase.not_in(ENDED))
        .values(phase=SUPERSEDED, reason=f"rollout {rollout} took its place", updated_s=time_s)
    )
    connection.execute(
        t.rollout_devices.insert().values(
            rollout=rollout, device=device, phase=WAITING, reason="", percent=0.0, updated_s=time_s
        )
    )
