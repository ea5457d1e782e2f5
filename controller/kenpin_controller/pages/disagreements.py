"""The frames that candidate and incumbent judge differently. Saying which of the two is right is the approval."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial

from nicegui import ui

from kenpin_controller.operations import Operations
from kenpin_controller.pages import words
from kenpin_controller.pages.parts import WHO, attempt, button, div, mark, picture_url, text
from kenpin_controller.pages.rollout_words import answers_text, judged_text, verdict_text
from kenpin_controller.rollouts.views import DisagreementRecord, RolloutView, WhoIsRight

_AT_FIRST = 6
_MOST = 200
_ANSWERS = ((WhoIsRight.OLD, "Old is right"), (WhoIsRight.NEW, "New is right"))

Judge = Callable[[str, WhoIsRight], Awaitable[bool]]


class Disagreements:
    """Newest first; hidden while there are none."""

    def __init__(self, rollout_id: str, operations: Operations, clock: Callable[[], float]) -> None:
        self._rollout, self._operations, self._clock = rollout_id, operations, clock
        self._records: dict[str, DisagreementRecord] = {}
        self._figures: dict[str, _Figure] = {}
        self._limit = _AT_FIRST
        with div("k-panel is-gallery", "disagreements") as self._panel:
            with div("k-panel-head"):
                text("Where the two disagree", "k-h2")
                self._sum = text("", "k-quiet", "judged")
            self._count = text("", "k-quiet", "what-answers-do")
            self._grid = div("k-disputes")
            self._older = button("Older ones", self._show_more, "older-disagreements")
        self._panel.set_visibility(False)
        self._closer = _Closer(self.judge, self._next_open)

    def update(self, view: RolloutView) -> None:
        """Say what the answers do in this rollout."""
        self._count.set_text(answers_text(view.plan))

    async def load(self) -> None:
        records = await attempt(
            lambda: self._operations.disagreements(rollout=self._rollout, limit=_MOST), quiet=True
        )
        if records is not None:
            self._records = {record.id: record for record in records}
            self._draw()

    async def judge(self, record_id: str, right: WhoIsRight) -> bool:
        """Say who is right. False if it was refused."""
        record = await attempt(lambda: self._operations.judge_disagreement(record_id, right, who=WHO))
        if record is None:
            return False
        self._records[record.id] = record
        self._draw()
        return True

    def _draw(self) -> None:
        shown = list(self._records.values())[: self._limit]
        self._panel.set_visibility(bool(shown))
        self._older.set_visibility(len(self._records) > self._limit)
        self._sum.set_text(judged_text(self._records.values()))
        for gone in self._figures.keys() - {record.id for record in shown}:
            self._figures.pop(gone).box.delete()
        now_s = self._clock()
        for place, record in enumerate(shown):
            if record.id not in self._figures:
                with self._grid:
                    figure = _Figure(record, self.judge, self._closer.show)
                self._figures[record.id] = figure
                figure.box.move(self._grid, place)
            self._figures[record.id].update(record, now_s)

    def _show_more(self) -> None:
        self._limit += _AT_FIRST
        self._draw()

    def _next_open(self, after: str) -> DisagreementRecord | None:
        """The one to look at next: the first open one behind it, or else the first of all."""
        ids = list(self._records)
        at = ids.index(after) + 1 if after in self._records else 0
        around = [self._records[i] for i in (*ids[at:], *ids[:at])]
        return next((record for record in around if record.right is None), None)


class _Figure:
    """One frame: the part, both heatmaps, both verdicts, and the two buttons."""

    def __init__(
        self, record: DisagreementRecord, judge: Judge, enlarge: Callable[[DisagreementRecord], None]
    ) -> None:
        with div("k-dispute", "disagreement") as self.box:
            self.box.props["data-event"] = record.id
            with mark(ui.element("button").classes("k-event"), "look-closer") as closer:
                closer.props["type"] = "button"
                closer.props["aria-label"] = f"Enlarge frame {record.frame} of {record.device}"
                pictures(record)
            closer.on("click", lambda: enlarge(record))
            with div("k-caption"):
                part = f"part {record.part}" if record.part else f"frame {record.frame}"
                text(f"{record.device} · {part}")
                self._when = text("")
            with div("k-rights"):
                self._buttons = _answers(lambda right: judge(record.id, right))
        self._right: WhoIsRight | None = None

    def update(self, record: DisagreementRecord, now_s: float) -> None:
        by = f" · {record.judged_by}" if record.judged_by else ""
        self._when.set_text(words.when_text(record.time_s, now_s) + by)
        if record.right == self._right:
            return
        self._right = record.right
        _press(self._buttons, record.right)


class _Closer:
    """One frame, large; an answer brings the next that nobody has looked at."""

    def __init__(self, judge: Judge, following: Callable[[str], DisagreementRecord | None]) -> None:
        self._judge, self._following = judge, following
        self._dialog = ui.dialog()

    def show(self, record: DisagreementRecord) -> None:
        self._dialog.clear()
        with self._dialog, div("k-zoom", "dispute-zoom"):
            pictures(record)
            with div("k-zoom-foot"):
                part = f"part {record.part}" if record.part else f"frame {record.frame}"
                text(f"{record.device} · {part} · {record.incumbent} against {record.candidate}")
                with div("k-rights"):
                    _press(_answers(lambda right: self._answer(record, right)), record.right)
                    button("Close", self._dialog.close)
        self._dialog.open()

    async def _answer(self, record: DisagreementRecord, right: WhoIsRight) -> None:
        if not await self._judge(record.id, right):
            return
        following = self._following(record.id)
        if following is None:
            self._dialog.close()
        else:
            self.show(following)


def pictures(record: DisagreementRecord) -> None:
    """Part, old heatmap, new heatmap, with what each release made of it below."""
    old_over = _over(record.incumbent_score, record.incumbent_threshold)
    new_over = _over(record.candidate_score, record.candidate_threshold)
    with div("k-trio"):
        _shot(record.picture_sha256, "the part", "", "Part")
        _shot(
            record.incumbent_heatmap_sha256,
            verdict_text(record.incumbent_score, record.incumbent_threshold),
            "is-over" if old_over else "",
            "Old",
        )
        _shot(
            record.candidate_heatmap_sha256,
            verdict_text(record.candidate_score, record.candidate_threshold),
            "is-over" if new_over else "",
            "New",
        )


def _shot(sha256: str | None, caption: str, style: str, head: str) -> None:
    with div(""):
        with div("k-shot"):
            if sha256 is None:
                text("No heatmap" if head != "Part" else "No picture")
            else:
                image = ui.element("img")
                image.props.update(
                    {"src": picture_url(sha256), "alt": f"{head}: {caption}", "decoding": "async"}
                )
        with div(f"k-trio-caption {style}"):
            text(head, "k-trio-head")
            text(caption)


def _over(score: float, threshold: float | None) -> bool:
    return threshold is not None and score > threshold


def _answers(say: Callable[[WhoIsRight], Awaitable[object]]) -> dict[WhoIsRight, ui.button]:
    """The two buttons."""
    return {
        right: button(label, partial(say, right), f"{right.value}-is-right", icon="check")
        for right, label in _ANSWERS
    }


def _press(buttons: dict[WhoIsRight, ui.button], right: WhoIsRight | None) -> None:
    """Show which of the two was chosen."""
    for which, made in buttons.items():
        chosen = which == right
        made.props["aria-pressed"] = "true" if chosen else "false"
        made.classes(add="is-pressed" if chosen else "", remove="" if chosen else "is-pressed")
