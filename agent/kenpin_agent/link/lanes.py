"""The order in which waiting messages leave, and the order in which they are given up for want of room."""

from __future__ import annotations

from enum import StrEnum

from kenpin_wire.contract import CONTRACT, WithoutBroker
from kenpin_wire.topics import Channel


class Lane(StrEnum):
    """A class of waiting messages; in the order of leaving."""

    EVENT = "event"
    REPLY = "reply"
    PICTURE = "picture"
    BULK = "bulk"


GIVE_UP_ORDER = (Lane.BULK, Lane.PICTURE, Lane.REPLY, Lane.EVENT)
"""When there is no room, the oldest of the first of these goes first."""


def lane_of(channel: Channel) -> Lane | None:
    """Where the channel's messages wait while the broker is away; None if they do not."""
    if channel is Channel.REPLY:
        return Lane.REPLY  # someone is waiting for it
    return {
        WithoutBroker.OUTBOX_FIRST: Lane.EVENT,
        WithoutBroker.OUTBOX_NEWEST: Lane.PICTURE,
        WithoutBroker.OUTBOX: Lane.BULK,
    }.get(CONTRACT[channel].without_broker)
