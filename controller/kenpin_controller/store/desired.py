"""Desired state in the database: what each device, or line, shall find retained on the broker."""

from __future__ import annotations

import json
from dataclasses import dataclass

from sqlalchemy import Connection, select

from kenpin_controller.errors import ConflictError
from kenpin_controller.store import schema as t
from kenpin_controller.store.database import upsert
from kenpin_wire.messages import MAX_WHOLE, DesiredConfig, DesiredRelease
from kenpin_wire.topics import Address, Channel


@dataclass(frozen=True, slots=True)
class Desire:
    """A retained message that a device, or a whole line, shall find."""

    address: Address
    channel: Channel
    message: DesiredConfig | DesiredRelease


def load_config(connection: Connection, address: Address) -> DesiredConfig | None:
    """The desired settings, or None if nobody ever set any."""
    text = _load(connection, address, Channel.SET_CONFIG)
    return DesiredConfig.model_validate_json(text) if text else None


def load_release(connection: Connection, address: Address) -> DesiredRelease | None:
    """The desired release, or None if there never was any."""
    text = _load(connection, address, Channel.SET_RELEASE)
    return DesiredRelease.model_validate_json(text) if text else None


def next_rev(stored: int, reported: int, address: Address) -> int:
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


def save_desire(connection: Connection, desire: Desire, rev: int) -> None:
    """Put it in the place of what was desired there before."""
    row = {
        "site": desire.address.site,
        "line": desire.address.line,
        "device": desire.address.device,
        "channel": desire.channel.value,
        "rev": rev,
        "body": desire.message.model_dump(mode="json", exclude_none=True),
    }
    upsert(connection, t.desired, row)


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
