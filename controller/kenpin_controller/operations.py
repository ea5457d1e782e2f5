"""What a person can do with the fleet, whichever door they come through.

REST, pages and command line call these and nothing deeper; `kenpin_controller.site.Site` implements them on
the store and the broker. Times are UNIX seconds, UTC.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Protocol

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


@dataclass(frozen=True, slots=True)
class RolloutRecord:
    """A release on its way to devices. `devices` gives each one's phase and reason, as last reported."""

    id: str
    release: ReleaseName
    started_s: float
    who: str
    devices: dict[str, dict[str, Any]]
    finished: bool


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
    ) -> RolloutRecord:
        """Send a release to named devices, to a line, or (with neither) to every device."""

    def send_command(self, device: str, verb: str, arguments: dict[str, Any], *, who: str) -> str:
        """Send a command. Returns its id."""

    def releases(self) -> list[ReleaseRecord]: ...

    def release(self, label: str) -> ReleaseRecord | None:
        """One of them by `NAME-VERSION`."""

    def release_report(self, label: str) -> bytes | None:
        """The report of a release's training, an HTML page that anybody may have written (see
        `kenpin_controller.reports`); None if there is no such release, or it carries none."""

    def rollouts(self) -> list[RolloutRecord]: ...

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
