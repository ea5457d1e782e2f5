"""What a person can do with the fleet, whichever door they come through.

REST, pages and command line call these and nothing deeper; `kenpin_controller.site.Site` implements them on
the store and the broker. Times are UNIX seconds, UTC.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Protocol

from kenpin_controller.rollouts.plan import Plan
from kenpin_controller.rollouts.views import (
    AuditRecord,
    DisagreementRecord,
    Pin,
    RecallResult,
    RolloutView,
    WhoIsRight,
)
from kenpin_wire.messages import ReleaseName

MAX_RELEASE_BYTES = 64 << 20
"""The largest release file that is taken in; typical ones are 5 MB."""


@dataclass(frozen=True, slots=True)
class EventRecord:
    """An anomaly as the store keeps it. Picture and heatmap come by their hashes (`Operations.picture`)."""

    id: str
    time_s: float
    line: str
    device: str
    score: float
    threshold: float | None
    release: str
    part: str | None
    frame: int
    picture_sha256: str | None
    heatmap_sha256: str | None


@dataclass(frozen=True, slots=True)
class ReleaseRecord:
    """A release that was uploaded. `summary` is for the page: head, input size, threshold, number of pictures."""

    release: ReleaseName
    sha256: str
    size: int
    uploaded_s: float
    summary: dict[str, Any] = field(default_factory=dict)
    recalled: str = ""
    """Who recalled it and why; empty if nobody did."""
    signed: bool | None = None
    """Whether the site's TUF repository names this very file; None where the site has no keys, and in lists."""


@dataclass(frozen=True, slots=True)
class ScoreSecond:
    """One camera-second of scores."""

    time_s: float
    n: int
    mean: float
    p95: float
    max: float
    anomalies: int
    threshold: float | None


class Operations(Protocol):
    """Each raises a `KenpinError` that can be shown as it is."""

    def set_threshold(
        self, device: str, *, value: float | None = None, false_rejects: float | None = None, who: str
    ) -> int:
        """Ask a device for another threshold, for the release it runs now. Returns the revision that its
        `reported/config` will echo. With neither value nor rate, the release's own default."""

    def set_inspection(self, device: str, on: bool, *, who: str) -> int:
        """Start or stop judging on a device. Returns the revision."""

    def add_release(self, data: bytes, *, who: str) -> ReleaseRecord:
        """Take in a release file. The same file again is the same release; another file under a name and
        version that exist is refused."""

    def start_rollout(
        self, release: ReleaseName, *, devices: list[str] | None = None, line: str | None = None, who: str
    ) -> RolloutView:
        """Send a release to named devices, to a line, or (with neither) to every device: at once where there are
        no more than `rollouts.plan.FEW`, else a canary first."""

    def roll_out(self, plan: Plan, *, who: str) -> RolloutView:
        """Start a rollout as planned. Devices that are pinned are passed by, and said to be."""

    def rollout(self, rollout_id: str) -> RolloutView | None:
        """One rollout, with its timeline, shadow reports and gates."""

    def rollouts(self, *, limit: int = 50) -> list[RolloutView]:
        """Newest first, without their timelines."""

    def pause_rollout(self, rollout_id: str, *, who: str) -> RolloutView:
        """No new order goes out; what is under way goes on."""

    def resume_rollout(self, rollout_id: str, *, who: str) -> RolloutView: ...

    def abort_rollout(self, rollout_id: str, *, revert: bool, why: str, who: str) -> RolloutView:
        """End it: what has not switched stays as it is, what has goes back if `revert`."""

    def return_rollout(self, rollout_id: str, *, why: str, who: str) -> RolloutView:
        """Send every device that it switched back to what ran before, also after it has ended."""

    def approve_wave(self, rollout_id: str, *, who: str) -> RolloutView:
        """Say yes: all devices that wait staged may switch, and what the gates still wait for need not come."""

    def approve_device(
        self, rollout_id: str, device: str, *, with_threshold: bool = False, who: str
    ) -> RolloutView:
        """Let a device that waits staged switch, with the threshold that its shadowing proposed if asked."""

    def retry_device(self, rollout_id: str, device: str, *, who: str) -> RolloutView:
        """Ask a device that failed once more."""

    def skip_device(self, rollout_id: str, device: str, *, why: str, who: str) -> RolloutView:
        """Go on without a device that has not switched."""

    def return_device(self, device: str, *, why: str, who: str) -> int:
        """Send a device back to the release that ran before. Returns the new order's revision."""

    def pin(self, device: str, *, why: str, who: str) -> Pin:
        """Have rollouts pass a device by until it is unpinned."""

    def unpin(self, device: str, *, who: str) -> None: ...

    def pins(self) -> dict[str, Pin]:
        """By device."""

    def tag(self, device: str, tags: list[str], *, who: str) -> list[str]:
        """Set a device's tags to these. Returns them sorted."""

    def tags(self) -> dict[str, list[str]]:
        """By device, those that have any."""

    def recall_release(self, label: str, *, send_back: bool, why: str, who: str) -> RecallResult:
        """No rollout may use it any more; those that do are aborted. The devices that run it go back if asked."""

    def disagreements(
        self, *, rollout: str | None = None, device: str | None = None, limit: int = 200
    ) -> list[DisagreementRecord]:
        """Newest first."""

    def judge_disagreement(
        self, disagreement_id: str, right: WhoIsRight, *, who: str
    ) -> DisagreementRecord: ...

    def audit(self, *, limit: int = 100, before_id: int | None = None) -> list[AuditRecord]:
        """Newest first."""

    def send_command(self, device: str, verb: str, arguments: dict[str, Any], *, who: str) -> str:
        """Send a command. Returns its id."""

    def releases(self) -> list[ReleaseRecord]: ...

    def release(self, label: str) -> ReleaseRecord | None:
        """One of them by `NAME-VERSION`."""

    def release_report(self, label: str) -> bytes | None:
        """The report of a release's training, an HTML page that anybody may have written (see
        `kenpin_controller.reports`); None if there is no such release, or it carries none."""

    def events(
        self,
        *,
        line: str | None = None,
        device: str | None = None,
        limit: int = 50,
        before_s: float | None = None,
    ) -> list[EventRecord]:
        """Newest first."""

    def event(self, event_id: str) -> EventRecord | None: ...

    def picture(self, sha256: str) -> bytes | None:
        """A JPEG, picture or heatmap, by its hash."""

    def scores(self, device: str, *, since_s: float, until_s: float | None = None) -> list[ScoreSecond]:
        """Oldest first."""
