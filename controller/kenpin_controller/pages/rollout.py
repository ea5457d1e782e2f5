"""A rollout's page at `/rollouts/ID`: is it going well, and what is it waiting for?"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from nicegui import ui

from kenpin_controller.operations import Operations
from kenpin_controller.pages import words
from kenpin_controller.pages.disagreements import Disagreements
from kenpin_controller.pages.frame import top_bar
from kenpin_controller.pages.parts import (
    Fact,
    Levelled,
    StatePill,
    attempt,
    button,
    div,
    link,
    release_url,
    rollout_url,
    text,
)
from kenpin_controller.pages.rollout_words import (
    clock_text,
    entry_text,
    status_shown,
    subject_text,
    switched,
    targets_text,
)
from kenpin_controller.pages.shadows import Shadows
from kenpin_controller.pages.verbs import Verbs, offers
from kenpin_controller.pages.waves import Waves
from kenpin_controller.rollouts.plan import OnFailure, Plan
from kenpin_controller.rollouts.views import RolloutView, TimelineEntry
from kenpin_controller.why import ago

REFRESH_S = 1.0
_DISAGREEMENTS_EVERY_S = 3.0
_LABELS = {
    "approve": "Approve",
    "resume": "Go on",
    "pause": "Pause",
    "abort": "Abort …",
    "return": "Send back …",
}
_ICONS = {
    "approve": "check",
    "resume": "play_arrow",
    "pause": "pause",
    "abort": "cancel",
    "return": "undo",
}


class RolloutPage:
    """The page of one open browser tab."""

    def __init__(
        self, rollout_id: str, operations: Operations, title: str, clock: Callable[[], float]
    ) -> None:
        self._id, self._operations, self._clock = rollout_id, operations, clock
        self._title = title
        self._view: RolloutView | None = None
        self._offered: tuple[str, ...] = ()
        self._verbs = Verbs(rollout_id, operations, self.refresh)
        with top_bar(title, (("Rollouts", rollout_url()), (rollout_id, ""))):
            pass
        self._page = div("k-page")
        ui.timer(0.05, self.refresh, once=True)
        ui.timer(REFRESH_S, self.refresh, immediate=False)
        ui.timer(_DISAGREEMENTS_EVERY_S, self._load_disagreements, immediate=False)

    async def refresh(self) -> None:
        """Ask how it stands, and show what changed."""
        view = await attempt(lambda: self._operations.rollout(self._id), quiet=self._view is not None)
        if view is None:
            if self._view is None:
                self._say_unknown()
            return
        if self._view is None:
            self._page.clear()
            with self._page:
                self._build(view)
            ui.timer(0.01, self._load_disagreements, once=True)
        self._view = view
        self._show(view, self._clock())

    async def _load_disagreements(self) -> None:
        if self._view is not None:
            await self._gallery.load()

    def _say_unknown(self) -> None:
        self._page.clear()
        with self._page, div("k-teach", "unknown-rollout"):
            text(f"There is no rollout {self._id} here.", "k-teach-title")
            with link(rollout_url()):
                text("See those that are.", "k-link")

    def _build(self, view: RolloutView) -> None:
        plan = view.plan
        with div("k-answer k-going", "answer") as box:
            with div("k-going-head"):
                with link(release_url(str(view.release)), "k-going-name"):
                    text(subject_text(plan), "", "subject")
                self._pill = StatePill("status")
            self._sentence = text("", "k-going-sentence", "sentence")
            with div("k-going-foot"):
                text(f"To {targets_text(plan.targets)}{f' · {plan.why}' if plan.why else ''}", "k-quiet")
                self._buttons = div("k-row", "verbs")
        box.props["role"] = "status"
        self._level = Levelled(box)
        with div("k-columns"):
            with div("k-column"):
                self._waves = Waves(self._verbs)
                self._shadows = Shadows(self._verbs)
                self._gallery = Disagreements(self._id, self._operations, self._clock)
            with div("k-column"):
                self._timeline = Timeline()
                self._build_plan(view)
        ui.page_title(f"{subject_text(plan)} · {self._title}")

    def _build_plan(self, view: RolloutView) -> None:
        with div("k-panel is-plan", "plan"):
            text("What was asked for", "k-h2")
            with div("k-numbers is-wide"):
                for name, value in plan_facts(view.plan):
                    Fact(name).show(value, title=value)
                Fact("Started by").show(view.who or "nobody")
                self._took = Fact("Took")

    def _show(self, view: RolloutView, now_s: float) -> None:
        shown = status_shown(view)
        self._pill.say(shown.word, shown.level, shown.icon)
        self._level.set(shown.level)
        self._sentence.set_text(view.sentence)
        self._waves.update(view)
        self._shadows.update(view)
        self._gallery.update(view)
        self._timeline.update((_beginning(view), *view.timeline), now_s)
        self._took.show(ago((view.ended_s or now_s) - view.started_s))
        offered = offers(view)
        if offered != self._offered:
            self._offered = offered
            self._buttons.clear()
            with self._buttons:
                for offer in offered:
                    button(
                        _LABELS[offer],
                        self._actions()[offer],
                        f"verb-{offer}",
                        icon=_ICONS[offer],
                        main=offer == "approve",
                    )

    def _actions(self) -> dict[str, Callable[[], Awaitable[None]]]:
        return {
            "approve": self._verbs.approve,
            "resume": self._verbs.resume,
            "pause": self._verbs.pause,
            "abort": self._verbs.abort,
            "return": self._send_back,
        }

    async def _send_back(self) -> None:
        devices = self._view.devices.values() if self._view is not None else ()
        await self._verbs.send_back(sum(switched(device) for device in devices))


class Timeline:
    """Who did what, when and why; the newest on top."""

    _MOST = 60

    def __init__(self) -> None:
        with div("k-panel is-timeline", "timeline-panel"):
            text("Timeline", "k-h2")
            self._list = div("k-timeline", "timeline")
            self._list.props["role"] = "list"
        self._known = 0
        self._rows: list[ui.element] = []

    def update(self, entries: tuple[TimelineEntry, ...], now_s: float) -> None:
        if len(entries) < self._known:  # another rollout's controller: begin again
            self._list.clear()
            self._rows, self._known = [], 0
        for entry in entries[max(self._known, len(entries) - self._MOST) :]:
            with self._list:
                row = _entry(entry, now_s)
            row.move(self._list, 0)
            self._rows.append(row)
        self._known = len(entries)
        while len(self._rows) > self._MOST:
            self._rows.pop(0).delete()


def _beginning(view: RolloutView) -> TimelineEntry:
    why = f": {view.plan.why}" if view.plan.why else ""
    return TimelineEntry(view.started_s, view.who, f"started it, to {targets_text(view.plan.targets)}{why}")


def plan_facts(plan: Plan) -> list[tuple[str, str]]:
    """A plan in a few words, for those parts of it that matter to this rollout."""
    shadow, gates = plan.policy.shadow, plan.gates
    trial = plan.policy.trial
    reject = gates.reject_rate
    return [
        fact
        for fact in (
            ("Shadow", f"{words.count(shadow.frames, 'frame')}" if shadow else "none"),
            ("Trial", words.count(trial.frames, "frame")),
            ("Must succeed", f"{gates.success:.0%}"),
            ("Watched for", ago(gates.soak_s)) if gates.soak_s else None,
            ("Rejects may rise", f"{reject.min_rise:.0%}" if reject else "unwatched"),
            ("Boards at most", f"{gates.heat.max_c:g} °C") if gates.heat else None,
            ("Asks a person", "before each wave") if gates.approval else None,
            ("A yes for each", "camera") if plan.policy.approval else None,
            ("Hours", str(plan.window)) if plan.window else None,
            ("If a gate closes", "goes back" if plan.on_failure is OnFailure.HALT_AND_REVERT else "halts"),
        )
        if fact is not None
    ]


def _entry(entry: TimelineEntry, now_s: float) -> ui.element:
    with div("k-entry") as row:
        row.props["role"] = "listitem"
        text(clock_text(entry.time_s, now_s), "k-entry-time")
        with div("k-entry-what"):
            for who in (entry.who, entry.device):
                if who:
                    text(who, "k-entry-who")
            text(entry_text(entry), "k-entry-text")
    return row
