"""What can happen to a deployment.

The loop's events name by `rev` the offer that they are about (`switch.Offer.rev`); one about another offer than the
current one comes too late and is ignored. None is taken for the current one's.
"""

from __future__ import annotations

from dataclasses import dataclass

from kenpin_wire.messages import DesiredRelease, Phase


@dataclass(frozen=True, slots=True)
class Ordered:
    """The controller (or the operator on the device, with rev 0) wants this release, or decides about it.

    Attributes:
        refusal: Why it is not to be taken up, if it is not: it has expired, say.
        anew: Whether it is signed by a key that replaced the one that spoke here before. Revisions begin anew then.
    """

    order: DesiredRelease
    refusal: str = ""
    anew: bool = False


@dataclass(frozen=True, slots=True)
class NotTrusted:
    """The site's keys have not signed it. That may change, so the file is not quarantined."""

    reason: str


@dataclass(frozen=True, slots=True)
class RepositoryAway:
    """Whether it is signed cannot be known just now."""

    reason: str


@dataclass(frozen=True, slots=True)
class Fetched:
    """The whole file lies on this device."""


@dataclass(frozen=True, slots=True)
class FetchFailed:
    """The file cannot be had, or not be written; it is nobody's fault in the file.

    Attributes:
        phase: The end that it comes to.
    """

    reason: str
    phase: Phase = Phase.FAILED_NO_CHANGE


@dataclass(frozen=True, slots=True)
class HashDiffers:
    """What was fetched is not what was ordered."""


@dataclass(frozen=True, slots=True)
class SlotDamaged:
    """What lay unpacked in the candidate's slot is no longer what was put there."""

    reason: str


@dataclass(frozen=True, slots=True)
class Verified:
    """It lies in the candidate's slot and is loaded, and its golden pictures gave their scores.

    Attributes:
        manifest_sha256: Of the slot's manifest, which names the hashes of all the slot's other files.
    """

    manifest_sha256: str = ""


@dataclass(frozen=True, slots=True)
class Refused:
    """It is not a release that can run here."""

    reason: str


@dataclass(frozen=True, slots=True)
class ShadowDone:
    """The candidate has judged live frames beside the release that runs, and the report is out."""

    rev: int | None = None


@dataclass(frozen=True, slots=True)
class ShadowFailed:
    """The candidate failed on a live frame beside the release that runs."""

    reason: str
    rev: int | None = None


@dataclass(frozen=True, slots=True)
class ShadowTimedOut:
    """Too few frames came to say anything."""

    reason: str
    rev: int | None = None


@dataclass(frozen=True, slots=True)
class Activated:
    """The inspection loop has switched to the candidate, between two frames."""

    rev: int | None = None


@dataclass(frozen=True, slots=True)
class TrialPassed:
    """The candidate has stood its trial."""

    rev: int | None = None


@dataclass(frozen=True, slots=True)
class TrialFailed:
    """The candidate failed its trial."""

    reason: str
    rev: int | None = None


@dataclass(frozen=True, slots=True)
class CommittedLost:
    """The committed release can no longer be loaded from its slot (a damaged card, say)."""

    reason: str


@dataclass(frozen=True, slots=True)
class Stopping:
    """The program is about to end in an orderly way."""


@dataclass(frozen=True, slots=True)
class Restarted:
    """The program has just started; no candidate is loaded."""


FromLoop = ShadowDone | ShadowFailed | ShadowTimedOut | Activated | TrialPassed | TrialFailed
"""What the inspection loop posts."""

Event = (
    Ordered
    | NotTrusted
    | RepositoryAway
    | Fetched
    | FetchFailed
    | HashDiffers
    | SlotDamaged
    | Verified
    | Refused
    | FromLoop
    | CommittedLost
    | Stopping
    | Restarted
)
