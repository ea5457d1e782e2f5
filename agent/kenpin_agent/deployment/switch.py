"""Hands releases from the deployer to the inspection loop, which takes them between two frames."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from enum import Enum

from kenpin_agent.release import Release
from kenpin_wire.messages import ShadowPolicy, TrialPolicy


class Role(Enum):
    """What a release is offered as."""

    COMMITTED = "it is what the device runs"
    SHADOW = "it judges beside the one that runs, and decides nothing"
    TRIAL = "it runs, and must prove itself"


@dataclass(frozen=True, slots=True)
class Offer:
    """A release for the loop to run from its next frame on, or to shadow with.

    Attributes:
        release: None if there is none to run; with `Role.SHADOW`, the shadow ends.
        trial: What it must stand, with `Role.TRIAL`.
        shadow: How long it shall shadow, with `Role.SHADOW`.
        rev: Of the order that it came by; the loop's events name it, so that none is taken for another's.
    """

    release: Release | None
    role: Role
    trial: TrialPolicy | None = None
    shadow: ShadowPolicy | None = None
    rollout: str = ""
    rev: int = 0


class Switch:
    """Keeps the newest offer of what to run and, apart, of what to shadow with. Thread-safe.

    What to run is taken first. It ends a shadow, so that the loop, when it takes `COMMITTED` or `TRIAL`, drops the
    one that it has.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._run: Offer | None = None
        self._shadow: Offer | None = None

    def offer(self, offer: Offer) -> None:
        """Have the loop act on `offer` at its next frame. An older one that it has not taken is forgotten."""
        with self._lock:
            if offer.role is Role.SHADOW:
                self._shadow = offer
            else:
                self._run, self._shadow = offer, None

    def take(self) -> Offer | None:
        """The next offer that the loop has not seen, if any. Call it until there is none."""
        with self._lock:
            first = self._run or self._shadow
            if first is self._run:
                self._run = None
            else:
                self._shadow = None
        return first
