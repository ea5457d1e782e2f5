"""What of a deployment must survive a restart, and what can be done about it."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum, StrEnum

from kenpin_wire.messages import DesiredRelease, Phase, ReleaseName

MAX_FETCHES = 2
"""How often one order's file is fetched anew because its hash was wrong."""
MAX_CHECKS = 8
"""How often it is asked whether one order's release is signed, while nobody can say: about five minutes."""
MAX_STARTS = 3
"""How often one order's candidate is taken up again because the program died under it. A crash loop ends here. The
file is not quarantined, since power cuts look the same: a new order tries it again."""
MAX_QUARANTINE = 50

RESTING = (
    Phase.IDLE,
    Phase.COMMITTED,
    Phase.REJECTED,
    Phase.FAILED_NO_CHANGE,
    Phase.ROLLED_BACK,
    Phase.ROLLBACK_FAILED,
    Phase.CANCELLED,
    Phase.TIMED_OUT,
)
"""Phases in which nothing is under way."""


class Slot(StrEnum):
    A = "a"
    B = "b"

    @property
    def other(self) -> Slot:
        return Slot.B if self is Slot.A else Slot.A


@dataclass(frozen=True, slots=True)
class Installed:
    """A release that lies unpacked in a slot.

    Attributes:
        sha256: Of the file that it came out of.
        rev: Of the order it came by; 0 for a file given on the device itself.
        manifest_sha256: Of its manifest, which names the hashes of its other files. Empty if an older program put it
            there.
    """

    slot: Slot
    release: ReleaseName
    sha256: str
    rev: int = 0
    manifest_sha256: str = ""


@dataclass(frozen=True, slots=True)
class State:
    """All that must survive a restart.

    Attributes:
        committed: What the device runs and starts with.
        previous: What ran before it, whole in the other slot until a candidate has to go there.
        candidate: The order's release, once it lies in the other slot and was verified there.
        order: The order last taken up, whatever became of it.
        pending: An order that came while a candidate was being switched in; taken up after it.
        seen: The newest revision that was ever heard of; none that is not newer is taken up.
        reason: Why the deployment ended as it did.
        refusal: Why the last message was not acted on, if it was not.
        waited: Whether the candidate has shadowed and been approved, as far as its policy asks.
        fetches, checks, starts: How often this order's file was fetched anew, its signature asked for in vain, its
            candidate taken up again.
        stopped: Whether the program ended in an orderly way.
        quarantine: sha256 of files that failed on this device, with the reason. Not tried again, but when the
            operator gives one on the device itself.
    """

    phase: Phase = Phase.IDLE
    committed: Installed | None = None
    previous: Installed | None = None
    candidate: Installed | None = None
    order: DesiredRelease | None = None
    pending: DesiredRelease | None = None
    seen: int = 0
    reason: str = ""
    refusal: str = ""
    waited: bool = False
    fetches: int = 0
    checks: int = 0
    starts: int = 0
    stopped: bool = False
    quarantine: dict[str, str] = field(default_factory=dict)

    @property
    def candidate_slot(self) -> Slot:
        """Where the next release goes: the slot that is not committed."""
        return self.committed.slot.other if self.committed else Slot.A


class Effect(Enum):
    """What to do next. Each may be done again without harm."""

    FETCH = "fetch what is missing of the file, if it is signed"
    FETCH_LATER = "the same, after a pause"
    DISCARD = "delete the fetched file"
    VERIFY = "unpack into the other slot, unless it lies there; load; run the golden pictures"
    SHADOW = "have the loop shadow with the candidate"
    WITHDRAW = "end the shadow, let go of the candidate"
    ACTIVATE = "hand the candidate to the loop, if it is still signed"
    REVERT = "hand the committed release back to the loop"
    TAKE_PENDING = "take up the order that waited, if any"
