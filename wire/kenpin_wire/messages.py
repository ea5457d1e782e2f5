"""The messages, one pydantic model a channel.

The rules, kept by every model here so that agents and controllers of different ages understand each other:

- unknown fields are ignored;
- an enumerated field keeps a value it does not know, as a plain string;
- every field but identity (an id, a revision, a name, a hash) has a default;
- numbers are finite; times are RFC 3339 with a zone; units stand in the field's name.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, Any, Literal

import numpy as np
import numpy.typing as npt
from pydantic import (
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    FiniteFloat,
    field_validator,
)

WIRE_VERSION = 1
BLOCK_BYTES = 64 * 1024
MAX_BLOCKS_PER_REQUEST = 8

Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
MAX_WHOLE = 2**53 - 1
"""As large as JSON carries exactly everywhere (RFC 8259, 6), and any database holds."""
NonNegative = Annotated[int, Field(ge=0, le=MAX_WHOLE)]
Fraction = Annotated[FiniteFloat, Field(ge=0, le=1)]


class Verdict(StrEnum):
    """What was decided of a frame or part."""

    NORMAL = "normal"
    ANOMALY = "anomaly"


class Presence(StrEnum):
    """Whether an agent is on the broker; `OFFLINE` is also its will."""

    ONLINE = "online"
    OFFLINE = "offline"


class CameraState(StrEnum):
    """Whether frames come."""

    STARTING = "starting"
    OK = "ok"
    LOST = "lost"
    STOPPED = "stopped"
    ENDED = "ended"


class Phase(StrEnum):
    """Where a deployment stands on a device (design.md, section 4)."""

    IDLE = "idle"
    DOWNLOADING = "downloading"
    VERIFYING = "verifying"
    STAGED = "staged"
    SHADOWING = "shadowing"
    ACTIVATING = "activating"
    TRIAL = "trial"
    COMMITTED = "committed"
    REJECTED = "rejected"
    FAILED_NO_CHANGE = "failed_no_change"
    ROLLED_BACK = "rolled_back"
    ROLLBACK_FAILED = "rollback_failed"
    CANCELLED = "cancelled"
    TIMED_OUT = "timed_out"


class CommandState(StrEnum):
    """How far a command has come; thin-edge.io's four states."""

    INIT = "init"
    EXECUTING = "executing"
    SUCCESSFUL = "successful"
    FAILED = "failed"


def _text(value: object) -> object:
    """Reject what is not a string before a union would coerce it."""
    if isinstance(value, str):
        return value
    raise ValueError("a string is expected")


# An enumerated field on the wire: a known member, or whatever string a newer program sent.
AnyVerdict = Annotated[Verdict | str, Field(union_mode="left_to_right"), BeforeValidator(_text)]
AnyPresence = Annotated[Presence | str, Field(union_mode="left_to_right"), BeforeValidator(_text)]
AnyCameraState = Annotated[CameraState | str, Field(union_mode="left_to_right"), BeforeValidator(_text)]
AnyPhase = Annotated[Phase | str, Field(union_mode="left_to_right"), BeforeValidator(_text)]
AnyCommandState = Annotated[CommandState | str, Field(union_mode="left_to_right"), BeforeValidator(_text)]


def now() -> datetime:
    """The wall clock, in UTC. Stamps only; durations are monotonic."""
    return datetime.now(UTC)


class Part(BaseModel):
    """A nested object of a message."""

    model_config = ConfigDict(extra="ignore", frozen=True, ser_json_inf_nan="null")


class Message(Part):
    """What every JSON message carries: contract version, stamp, boot number and sequence number."""

    v: int = WIRE_VERSION
    ts: AwareDatetime = Field(default_factory=now)
    boot: NonNegative = 0
    seq: NonNegative = 0


class Score(Message):
    """One judged frame, live."""

    score: FiniteFloat = 0.0
    threshold: FiniteFloat | None = None
    verdict: AnyVerdict = Verdict.NORMAL
    frame: NonNegative = 0
    part: str | None = None
    """The part's own id, where the camera or trigger knows one; a picture's file name from a folder."""
    release: str = ""
    label: str | None = None
    """What the release's classifier takes a normal part for; none for an anomaly, or without a classifier."""
    confidence: Fraction | None = None
    """The classifier's, in `label`."""
    timings_ms: dict[str, FiniteFloat] = Field(default_factory=dict)


class ScoreAggregate(Message):
    """The scores of one second. `ts` is when that second began."""

    release: str = ""
    threshold: FiniteFloat | None = None
    n: NonNegative = 0
    mean: FiniteFloat = 0.0
    p95: FiniteFloat = 0.0
    max: FiniteFloat = 0.0
    anomalies: NonNegative = 0
    scores: str = ""
    """`pack_scores` of the n scores, in the order they were judged."""


class AnomalyData(Part):
    """What an anomaly event is about."""

    score: FiniteFloat = 0.0
    threshold: FiniteFloat | None = None
    frame: NonNegative = 0
    part: str | None = None
    release: str = ""
    heatmap_sha256: Sha256 | None = None
    picture_sha256: Sha256 | None = None


class AnomalyEvent(Message):
    """An anomaly, as a CloudEvents 1.0 event in JSON; `id` names it once and for all."""

    specversion: Literal["1.0"] = "1.0"
    id: Annotated[str, Field(min_length=1, max_length=64)]
    source: str = ""
    type: str = "kenpin.anomaly"
    time: AwareDatetime = Field(default_factory=now)
    datacontenttype: str = "application/json"
    data: AnomalyData = Field(default_factory=AnomalyData)


class Telemetry(Message):
    """How the device fares."""

    temperature_c: FiniteFloat | None = None
    fps: FiniteFloat = 0.0
    allowance: Fraction = 1.0
    """The share of its full frame rate that the governor allows."""
    reason: str = ""
    """Why the allowance is what it is, for a person."""
    throttle_bits: NonNegative = 0
    camera: AnyCameraState = CameraState.STARTING
    camera_detail: str = ""
    frames: NonNegative = 0
    dropped: NonNegative = 0
    memory_mb: FiniteFloat = 0.0
    disk_free_mb: FiniteFloat | None = None
    outbox: NonNegative = 0
    uptime_s: FiniteFloat = 0.0
    rejected_messages: NonNegative = 0
    """Messages to this device that broke the contract since it started."""


class Status(Message):
    """On the broker or not; the offline one is also the will."""

    state: AnyPresence = Presence.OFFLINE
    agent_version: str = ""
    release: str = ""


class Threshold(Part):
    """A threshold and the release whose scores it belongs to.

    With `value` it is a score; with `false_rejects`, the score above which that share of the release's
    held-out good pictures lies. With neither, the release's own default.
    """

    release: str
    value: FiniteFloat | None = None
    false_rejects: Annotated[FiniteFloat, Field(gt=0, lt=1)] | None = None


class Roi(Part):
    """A region of interest in pixels of the camera's frame."""

    x: NonNegative = 0
    y: NonNegative = 0
    width: Annotated[int, Field(gt=0)]
    height: Annotated[int, Field(gt=0)]


class DesiredConfig(Message):
    """What the settings shall be. `rev` only grows; a field that is absent is left to the next wider scope
    (the line's settings, then the device's own configuration file)."""

    rev: NonNegative
    expires: AwareDatetime | None = None
    """Not to be taken up after this; None for never."""
    threshold: Threshold | None = None
    inspection: bool | None = None
    heatmap_every: NonNegative | None = None
    """Also publish the heatmap of every Nth good part; 0 for none."""
    roi: Roi | None = None


class ReportedConfig(Message):
    """What the settings are, after `rev` was reconciled. `error` says what of it could not be applied."""

    rev: NonNegative
    line_rev: NonNegative = 0
    applied: bool = True
    error: str = ""
    release: str = ""
    threshold: FiniteFloat | None = None
    inspection: bool = True
    heatmap_every: NonNegative = 0
    roi: Roi | None = None


class ReleaseName(Part):
    """A release's name and version."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,47}$")]
    version: Annotated[str, Field(pattern=r"^[0-9A-Za-z][0-9A-Za-z.+-]{0,31}$")]

    def __str__(self) -> str:
        return f"{self.name}-{self.version}"


class ShadowPolicy(Part):
    """How long a candidate judges live frames beside the release that runs, before it takes over."""

    frames: Annotated[int, Field(ge=1, le=1_000_000)] = 300
    max_s: Annotated[FiniteFloat, Field(gt=0)] = 3600.0
    """It ends after so long with the frames that it has."""
    min_frames: Annotated[int, Field(ge=1)] = 30
    """With fewer by then, the deployment ends as timed out."""


class TrialPolicy(Part):
    """What a candidate must stand once it runs; until then the old release is put back by itself."""

    frames: Annotated[int, Field(ge=1, le=1_000_000)] = 10
    min_s: Annotated[FiniteFloat, Field(ge=0)] = 0.0
    """Live seconds that it must have run, however many frames it judged."""
    max_s: Annotated[FiniteFloat, Field(gt=0)] = 600.0
    """A trial that has not ended by then is failed; seconds in which the camera gave nothing or inspection was off
    don't count."""
    late_ms: Annotated[FiniteFloat, Field(gt=0)] | None = None
    """A verdict that comes later after its frame is late; more than one in ten fail the trial. None asks nothing."""
    memory_mb: Annotated[FiniteFloat, Field(gt=0)] | None = 100.0
    """It may take so much more memory than the agent took before."""
    max_c: FiniteFloat | None = None
    """The board's own limit if none."""
    reject_rate: Fraction | None = None
    """Rejecting clearly more than this share of frames fails the trial (a binomial test). With none, three times what
    the release before it rejected lately, or a fifth, whichever is more."""


class Policy(Part):
    """How a release gets from a device's disk to its line."""

    shadow: ShadowPolicy | None = None
    approval: bool = False
    """Wait in `staged` for an order of the same release whose `decision` is `activate`."""
    trial: TrialPolicy = Field(default_factory=TrialPolicy)


class Decision(StrEnum):
    """What a desired release asks for."""

    INSTALL = "install"
    ACTIVATE = "activate"
    """Of the release that waits, staged or shadowing: switch to it now."""
    CANCEL = "cancel"
    """Of the release that is on its way: leave everything as it is."""


AnyDecision = Annotated[Decision | str, Field(union_mode="left_to_right"), BeforeValidator(_text)]


class DesiredRelease(Message):
    """Which release the device shall run; it fetches the file itself, by its hash. A newer `rev` about the release
    that is on its way decides about it; about the one that ran before, it is the way back."""

    rev: NonNegative
    release: ReleaseName
    sha256: Sha256
    size: Annotated[int, Field(gt=0)]
    block_size: Annotated[int, Field(gt=0, le=BLOCK_BYTES)] = BLOCK_BYTES
    rollout: str = ""
    decision: AnyDecision = Decision.INSTALL
    policy: Policy = Field(default_factory=Policy)
    expires: AwareDatetime | None = None
    """Not to be taken up after this; None for never."""


class ReportedRelease(Message):
    """How the device's deployment stands."""

    rev: NonNegative = 0
    installed: ReleaseName | None = None
    previous: ReleaseName | None = None
    """What ran before, and lies in the other slot still: the way back needs no fetching."""
    latest: ReleaseName | None = None
    """The one last asked for, whatever became of it."""
    sha256: Sha256 | None = None
    """Of `latest`."""
    phase: AnyPhase = Phase.IDLE
    reason: str = ""
    percent: Annotated[FiniteFloat, Field(ge=0, le=100)] = 0.0
    rollout: str = ""


class BlockRequest(Message):
    """Asks for `count` blocks of a file, from block `start` on."""

    sha256: Sha256
    start: NonNegative = 0
    count: Annotated[int, Field(ge=1, le=MAX_BLOCKS_PER_REQUEST)] = 1
    block_size: Annotated[int, Field(gt=0, le=BLOCK_BYTES)] = BLOCK_BYTES


class MetadataRequest(Message):
    """Asks for a part of a metadata file of the site's TUF repository; answered on `set/meta` under the same `id`."""

    id: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")]
    name: Annotated[str, Field(pattern=r"^[0-9a-z_.-]{1,80}$")]
    """Such as `timestamp.json` or `3.root.json`."""
    offset: NonNegative = 0


class EventAck(Message):
    """The controller has stored these events; the agent may forget them."""

    ids: list[str] = Field(default_factory=list, max_length=500)


class Command(Message):
    """Do something once; the verb is in the topic."""

    id: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")]
    arguments: dict[str, Any] = Field(default_factory=dict)


class Reply(Message):
    """How a command fares; its id is in the topic too."""

    id: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")]
    state: AnyCommandState = CommandState.INIT
    reason: str = ""
    result: dict[str, Any] = Field(default_factory=dict)


class LogLine(Message):
    """A warning or worse, for the person who cannot log in to the Pi."""

    level: str = "WARNING"
    logger: str = ""
    message: str = ""

    @field_validator("message")
    @classmethod
    def _shorten(cls, value: str) -> str:
        return value if len(value) <= 2000 else value[:1999] + "…"


def pack_scores(scores: Sequence[float]) -> str:
    """Scores as little-endian float32 in base64: 4 bytes each, and a replay judges as the agent did."""
    return base64.b64encode(np.asarray(scores, dtype="<f4").tobytes()).decode("ascii")


def unpack_scores(packed: str) -> npt.NDArray[np.float32]:
    """The inverse of `pack_scores`.

    Raises:
        ValueError: if it is not base64 of whole float32 values.
    """
    raw = base64.b64decode(packed, validate=True)
    return np.frombuffer(raw, dtype="<f4").astype(np.float32)
