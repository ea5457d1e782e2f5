"""The releases at `/releases`, and one at `/releases/NAME-VERSION`: what it is, who runs it, and its report."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any
from urllib.parse import quote

from nicegui import ui

from kenpin_controller.fleet import Fleet
from kenpin_controller.operations import Operations, ReleaseRecord
from kenpin_controller.pages import words
from kenpin_controller.pages.asking import ask_why
from kenpin_controller.pages.frame import top_bar
from kenpin_controller.pages.parts import (
    REPORTS_URL,
    WHO,
    Fact,
    Note,
    attempt,
    button,
    div,
    link,
    mark,
    release_url,
    text,
)
from kenpin_controller.pages.rollouts import RolloutList
from kenpin_controller.pages.start_rollout import StartRollout
from kenpin_controller.rollouts.views import RecallResult
from kenpin_controller.views import DeviceView
from kenpin_controller.why import score_text
from kenpin_wire.messages import Phase

REFRESH_S = 1.0
_RELEASES_EVERY_S = 5.0
_FILES_URL = "/api/v1/releases"


class ReleasesPage:
    """Every release that the controller has, newest first, and how many cameras run it."""

    def __init__(self, operations: Operations, fleet: Fleet, title: str) -> None:
        self._operations, self._fleet = operations, fleet
        self._shown: list[tuple[str, str]] | None = None
        with top_bar(title, (("Releases", ""),)):
            pass
        with div("k-page"):
            self._list = div("k-releases", "releases")
        ui.timer(0.05, self._load, once=True)
        ui.timer(_RELEASES_EVERY_S, self._load, immediate=False)

    async def _load(self) -> None:
        records = await attempt(self._operations.releases, quiet=True)
        if records is None:
            return
        devices = _devices(self._fleet)
        rows = [(record, _runs(str(record.release), devices)) for record in records]
        shown = [(record.sha256, runs) for record, runs in rows]
        if shown == self._shown:
            return
        self._shown = shown
        self._list.clear()
        with self._list:
            if not rows:
                with div("k-teach", "no-releases"):
                    text("No release yet.", "k-teach-title")
                    text("Make one from pictures of good parts, and give it to the controller:")
                    text(
                        "kenpin train GOOD_PICTURES -o NAME.kenpin\nkenpin release add NAME.kenpin", "k-code"
                    )
            for record, runs in sorted(rows, key=lambda row: -row[0].uploaded_s):
                _row(record, runs)


class ReleasePage:
    """One release."""

    def __init__(
        self, label: str, operations: Operations, fleet: Fleet, title: str, clock: Callable[[], float]
    ) -> None:
        self._label, self._operations, self._fleet, self._clock = label, operations, fleet, clock
        self._cameras: tuple[tuple[str, str], ...] | None = None
        self._crews: ui.element | None = None
        with top_bar(title, (("Releases", release_url()), (label, ""))):
            pass
        self._page = div("k-page")
        ui.timer(0.05, self._load, once=True)
        ui.timer(REFRESH_S, self.refresh, immediate=False)
        ui.timer(_RELEASES_EVERY_S, self._load_rollouts, immediate=False)

    async def _load(self) -> None:
        record = await attempt(lambda: self._operations.release(self._label))
        self._page.clear()
        with self._page:
            if record is None:
                with div("k-teach", "unknown-release"):
                    text(f"There is no release {self._label} here.", "k-teach-title")
                    with link(release_url()):
                        text("See those that are.", "k-link")
                return
            self._build(record)
        self.refresh()
        await self._load_rollouts()

    async def _load_rollouts(self) -> None:
        """What was rolled out of it, and whether somebody has recalled it meanwhile."""
        if self._crews is None:
            return
        views = await attempt(self._operations.rollouts, quiet=True)
        record = await attempt(lambda: self._operations.release(self._label), quiet=True)
        if views is not None:
            mine = [view for view in views if str(view.release) == self._label]
            self._rollouts.update(mine, self._clock())
            self._rollouts_panel.set_visibility(bool(mine))
        if record is not None:
            self._show_trust(record)

    def _show_trust(self, record: ReleaseRecord) -> None:
        recalled = record.recalled
        self._recalled.say(f"Recalled: {recalled}" if recalled else "", "alarm", "block")
        self._start_button.set_enabled(not recalled)
        self._recall_button.set_visibility(not recalled)
        if record.signed is None:
            self._signed.say("")
        elif record.signed:
            self._signed.say("Signed: the site's keys name this very file.", "ok", "verified_user")
        else:
            self._signed.say(
                f"Not signed: cameras with a pinned root refuse it. Sign it: kenpin release sign {self._label}",
                "warn",
                "gpp_maybe",
            )

    async def _recall(self) -> None:
        said = await ask_why(
            f"Recall {self._label}?",
            "No rollout may use it any more, and those that do are aborted.",
            "Recall it",
            option="Send the cameras that run it back to what ran before",
            chosen=True,
        )
        if said is None:
            return
        result = await attempt(
            lambda: self._operations.recall_release(
                self._label, send_back=said.option, why=said.reason, who=WHO
            )
        )
        if result is None:
            return
        ui.notify(recall_text(result), multi_line=True, timeout=12_000, close_button="OK")
        await self._load_rollouts()

    def refresh(self) -> None:
        """Show who runs it."""
        if self._crews is None:
            return
        cameras = tuple(_at_work(self._label, _devices(self._fleet)))
        if cameras == self._cameras:
            return
        self._cameras = cameras
        self._crews.clear()
        with self._crews:
            if not cameras:
                text("No camera runs it yet.", "k-quiet")
            for name, state in cameras:
                with link(f"/camera/{quote(name)}", "k-crew", f"runs-{name}"):
                    text(name, "k-trouble-name")
                    text(state, "k-quiet")

    def _build(self, record: ReleaseRecord) -> None:
        summary, label = record.summary, str(record.release)
        with div("k-hero"):
            text(label, "k-hero-name")
            with div("k-row k-push-right"):
                start = StartRollout(record.release, self._operations, self._fleet, self._clock)
                self._recall_button = button("Recall …", self._recall, "recall")
                self._start_button = button("Roll out …", start.open, "roll-out", icon="send", main=True)
        with div("k-trust"):
            self._signed = Note("signed")
            self._recalled = Note("recalled")
            with div("k-row k-push-right"):
                with link(f"{_FILES_URL}/{quote(label)}/file", "k-link", "release-file") as file:
                    file.props["download"] = f"{label}.kenpin"
                    text(f"Download ({words.size_text(record.size)})")
                if summary.get("report"):
                    with link(_report_url(label), "k-link", "release-report-alone") as alone:
                        alone.props.update({"target": "_blank", "rel": "noopener"})
                        text("Report alone")
        with div("k-release"):
            with div("k-panel", "release-summary"):
                text("What it is", "k-h2")
                with div("k-numbers is-wide"):
                    for name, value in _facts(record):
                        Fact(name).show(value, title=value)
            with div("k-panel", "release-runs"):
                text("Who runs it", "k-h2")
                self._crews = div("k-crews")
        with div("k-panel", "release-rollouts") as self._rollouts_panel:
            text("Its rollouts", "k-h2")
            self._rollouts = RolloutList()
        self._rollouts_panel.set_visibility(False)
        self._show_trust(record)
        if summary.get("report"):
            frame = mark(ui.element("iframe").classes("k-report"), "release-report")
            # No word but `sandbox`: no script, no form, no way to this page or its session.
            frame.props.update(
                {"sandbox": "", "src": _report_url(label), "title": f"Training report of {label}"}
            )
        else:
            with div("k-panel", "no-report"):
                text("It carries no report: it was made before trainers wrote them.", "k-quiet")


def recall_text(result: RecallResult) -> str:
    """What a recall did."""
    parts = [
        f"{result.release} is recalled.",
        f"{words.count(len(result.sent_back), 'camera')} of {len(result.running_on)} go back."
        if result.running_on
        else "No camera ran it.",
        *(f"{name}: {why.rstrip('.')}." for name, why in result.left.items()),
    ]
    return " ".join(parts)


def _row(record: ReleaseRecord, runs: str) -> None:
    label, summary = str(record.release), record.summary
    with link(release_url(label), "k-card k-release-row", f"release-{label}"):
        with div(""):
            text(label, "k-name")
            text(runs, "k-quiet")
        with div("k-numbers is-wide"):
            for name, value in _facts(record)[:4]:
                Fact(name).show(value, title=value)
        text("Report" if summary.get("report") else "", "k-quiet")


def _facts(record: ReleaseRecord) -> list[tuple[str, str]]:
    """Whatever its summary says; a release of another version may say less."""
    summary: dict[str, Any] = record.summary
    threshold, rate = summary.get("threshold"), summary.get("false_rejects")
    labels, decoder = summary.get("labels"), summary.get("decoder")
    fitted, held_out = summary.get("pictures"), summary.get("calibrated_on")
    uploaded = datetime.fromtimestamp(record.uploaded_s).strftime("%d %b %Y %H:%M")
    facts = [
        ("Head", summary.get("head")),
        ("Threshold", score_text(threshold) if isinstance(threshold, int | float) else None),
        ("Learned from", words.count(fitted, "picture") if isinstance(fitted, int) else None),
        ("Uploaded", uploaded),
        ("Held out", words.count(held_out, "picture") if isinstance(held_out, int) else None),
        ("Meant to reject", f"{100 * rate:g} % of good parts" if isinstance(rate, int | float) else None),
        ("Input", summary.get("input")),
        ("Encoder", summary.get("encoder")),
        ("Numbers", summary.get("precision")),
        ("Draws the heatmap", f"{decoder} decoder" if decoder else None),
        ("Names normal parts", words.count(labels, "label") if isinstance(labels, int) and labels else None),
        ("Size", words.size_text(record.size)),
        ("SHA-256", record.sha256[:12]),
    ]
    return [(name, str(value)) for name, value in facts if value not in (None, "")]


def _devices(fleet: Fleet) -> list[DeviceView]:
    return [device for line in fleet.lines() for device in line.devices]


def _runs(label: str, devices: Sequence[DeviceView]) -> str:
    n = sum(device.installed == label for device in devices)
    coming = sum(device.installed != label for device in devices if _coming(label, device))
    parts = [f"runs on {words.count(n, 'camera')}" if n else "", f"on its way to {coming}" if coming else ""]
    return " · ".join(part for part in parts if part) or "runs nowhere"


def _at_work(label: str, devices: Sequence[DeviceView]) -> list[tuple[str, str]]:
    """Each camera that has to do with it, and in a few words how."""
    found = []
    for device in devices:
        release = device.release
        if device.installed == label:
            found.append((device.name, f"runs it, on {device.address.line}"))
        elif _coming(label, device) and release is not None:
            percent = f" {release.percent:.0f} %" if release.phase == Phase.DOWNLOADING else ""
            reason = f": {release.reason}" if release.reason else ""
            found.append((device.name, f"{words.phase_text(device.phase).lower()}{percent}{reason}"))
    return found


def _coming(label: str, device: DeviceView) -> bool:
    release = device.release
    return release is not None and str(release.latest or "") == label and release.phase != Phase.IDLE


def _report_url(label: str) -> str:
    return f"{REPORTS_URL}/{quote(label)}"
