"""Who signs what, until when, and what is due, for a person. Pure."""

from __future__ import annotations

import json
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta

from kenpin_controller.trust.keys import CONTROLLER, ROLES
from kenpin_controller.trust.metadata import RENEW, VALID, Books


@dataclass(frozen=True, slots=True)
class KeyStatus:
    """How it stands with a role, or with the controller's own key.

    Attributes:
        keys: The public keys in force, in hex.
        here: Whether the controller has the private key at hand.
        version: Of the role's metadata.
        expires: When that ends; None for the controller's key, which is in force as long as targets names it.
        due: What a person has to do; empty for nothing.
    """

    name: str
    keys: tuple[str, ...]
    here: bool
    version: int | None
    expires: datetime | None
    due: str


def status_of(books: Books, at_hand: Collection[str], controller: bytes, *, now: datetime) -> list[KeyStatus]:
    """The roles in TUF's order, then the controller's key.

    Args:
        at_hand: The roles whose keys are here.
        controller: The content of `controller.json`.
    """
    found = []
    for role in ROLES:
        signed = books.of(role).signed
        due = _due(role, books, at_hand, now)
        found.append(
            KeyStatus(
                role, tuple(sorted(books.public(role))), role in at_hand, signed.version, signed.expires, due
            )
        )
    keys = tuple(json.loads(controller)["keys"])
    found.append(KeyStatus(CONTROLLER, keys, True, None, None, ""))
    return found


def _due(role: str, books: Books, at_hand: Collection[str], now: datetime) -> str:
    left = books.of(role).signed.expires - now
    if left > VALID[role] + _SLACK:
        return (
            f"the clock here went back, or was ahead as this was signed: if it is right now, {_AGAIN[role]}"
        )
    if left >= RENEW[role]:
        return ""
    if role in at_hand and left.total_seconds() > 0:
        return ""  # the controller does it by itself
    if left.total_seconds() <= 0:
        return f"it has ended, and devices take nothing new: {_HOW[role]}"
    return f"it ends in {left.days} days: {_HOW[role]}"


_SLACK = timedelta(hours=1)
_AGAIN = {role: f"run `kenpin keys rotate {role}`" for role in ROLES}
_HOW = {
    "root": f"{_AGAIN['root']} with the root key",
    "targets": "run `kenpin release sign` with the targets key, and publish it",
    "snapshot": "start the controller; if it runs, put its key back or rotate it",
    "timestamp": "start the controller; if it runs, put its key back or rotate it",
}
