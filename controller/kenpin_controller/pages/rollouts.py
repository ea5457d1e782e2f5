"""The rollouts at `/rollouts`, newest first: what, who, why, how far, and what each one waits for."""

from __future__ import annotations

from collections.abc import Callable

from nicegui import ui

from kenpin_controller.operations import Operations
from kenpin_controller.pages import words
from kenpin_controller.pages.frame import top_bar
from kenpin_controller.pages.parts import StatePill, attempt, div, link, release_url, rollout_url, text
from kenpin_controller.pages.rollout_words import (
    shares,
    status_shown,
    subject_text,
    targets_text,
    wave_title,
)
from kenpin_controller.pages.waves import WaveBar
from kenpin_controller.rollouts.views import RolloutView

REFRESH_S = 2.0
_MOST = 50


class RolloutsPage:
    """The page of one open browser tab."""

    def __init__(self, operations: Operations, title: str, clock: Callable[[], float]) -> None:
        self._operations, self._clock = operations, clock
        with top_bar(title, (("Rollouts", ""),)):
            pass
        with div("k-page"):
            self._none = div("k-teach", "no-rollouts")
            with self._none:
                text("Nothing was rolled out yet.", "k-teach-title")
                with link(release_url()):
                    text("Choose a release, and send it from its page.", "k-link")
            self._none.set_visibility(False)
            self._list = RolloutList("rollouts")
        ui.timer(0.05, self._load, once=True)
        ui.timer(REFRESH_S, self._load, immediate=False)

    async def _load(self) -> None:
        views = await attempt(lambda: self._operations.rollouts(limit=_MOST), quiet=True)
        if views is not None:
            self._none.set_visibility(not views)
            self._list.update(views, self._clock())


class RolloutList:
    """Rollouts as rows; each is drawn once and then only changed."""

    def __init__(self, testid: str = "") -> None:
        self._box = div("k-releases", testid)
        self._rows: dict[str, _Row] = {}

    def update(self, views: list[RolloutView], now_s: float) -> None:
        for gone in self._rows.keys() - {view.id for view in views}:
            self._rows.pop(gone).card.delete()
        for place, view in enumerate(views):
            if view.id not in self._rows:
                with self._box:
                    self._rows[view.id] = _Row(view)
                self._rows[view.id].card.move(self._box, place)
            self._rows[view.id].update(view, now_s)


class _Row:
    def __init__(self, view: RolloutView) -> None:
        self.card = link(rollout_url(view.id), "k-card k-rollout", f"rollout-{view.id}")
        with self.card:
            with div("k-rollout-what"):
                text(subject_text(view.plan), "k-name")
                self._who = text("", "k-quiet")
                if view.plan.why:
                    text(view.plan.why, "k-rollout-why")
            with div("k-rollout-how"):
                with div("k-rollout-state"):
                    self._pill = StatePill(f"status-{view.id}")
                    self._sentence = text("", "k-rollout-sentence")
                with div("k-wavebars"):
                    self._bars = []
                    for wave in view.waves:
                        with div("k-wavebar-box").style(f"flex-grow: {max(1, len(wave.devices)) ** 0.5:.2f}"):
                            self._bars.append(WaveBar())
                            text(wave_title(wave, view.waves), "k-wavebar-name")
        self._to = targets_text(view.plan.targets)

    def update(self, view: RolloutView, now_s: float) -> None:
        shown = status_shown(view)
        self._pill.say(shown.word, shown.level, shown.icon)
        self._sentence.set_text(view.sentence)
        when = words.when_text(view.started_s, now_s)
        who = f"{view.who}, " if view.who else ""
        self._who.set_text(f"{who}{when} · to {self._to}")
        for wave, bar in zip(view.waves, self._bars, strict=True):
            bar.show(shares(wave, view.devices))
