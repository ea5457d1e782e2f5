"""A camera's last anomalies, picture beside heatmap, and a closer look at each."""

from __future__ import annotations

from nicegui import ui

from kenpin_controller.operations import EventRecord, Operations
from kenpin_controller.pages import words
from kenpin_controller.pages.parts import Shots, attempt, div, mark, text
from kenpin_controller.views import Anomaly, DeviceView
from kenpin_controller.why import score_text

_AT_FIRST = 9


class Gallery:
    """What the store has, and what came since: an event is here before it is in the store."""

    def __init__(self, name: str, operations: Operations) -> None:
        self._name, self._operations = name, operations
        self._known: dict[str, Anomaly] = {}
        self._figures: dict[str, ui.element] = {}
        self._limit = _AT_FIRST
        self._captions: dict[str, ui.label] = {}
        self._now_s = 0.0
        with div("k-panel is-anomalies", "anomalies"):
            with div("k-panel-head"):
                text("Last anomalies", "k-h2")
                text("Click one to enlarge it", "k-quiet")
            self._none = text(
                "None yet. When a part is not like the good ones, its picture stands here beside a heatmap "
                "of where it differs.",
                "k-quiet",
                "no-anomalies",
            )
            self._grid = div("k-gallery")
            self._older = mark(ui.button("Older ones", color=None, on_click=self._show_older), "older")
            self._older.props("flat no-caps").classes("k-button")
            self._older.set_visibility(False)
        self._zoom = ui.dialog()
        ui.timer(0.05, self._load, once=True)

    def update(self, device: DeviceView, now_s: float) -> None:
        self._now_s = now_s
        for anomaly in device.anomalies:
            self._known[anomaly.id] = anomaly
        self._draw()

    async def _load(self) -> None:
        limit = self._limit + 1
        records = await attempt(lambda: self._operations.events(device=self._name, limit=limit))
        for record in records or []:
            self._known.setdefault(record.id, _anomaly(record))
        self._draw()

    async def _show_older(self) -> None:
        self._limit += _AT_FIRST
        await self._load()

    def _draw(self) -> None:
        newest = sorted(self._known.values(), key=lambda a: a.time_s, reverse=True)
        shown = newest[: self._limit]
        self._older.set_visibility(len(newest) > self._limit)
        self._none.set_visibility(not shown)
        for gone in self._figures.keys() - {anomaly.id for anomaly in shown}:
            self._figures.pop(gone).delete()
            del self._captions[gone]
        for place, anomaly in enumerate(shown):  # only what is new is drawn, where it belongs
            if anomaly.id not in self._figures:
                with self._grid:
                    self._figures[anomaly.id] = self._figure(anomaly)
                self._figures[anomaly.id].move(self._grid, place)
            self._captions[anomaly.id].set_text(words.when_text(anomaly.time_s, self._now_s))

    def _figure(self, anomaly: Anomaly) -> ui.element:
        with mark(ui.element("button").classes("k-event"), "anomaly") as button:
            button.props["data-event"] = anomaly.id
            button.props["type"] = "button"
            Shots().show(anomaly.picture_sha256, anomaly.heatmap_sha256, nothing="No picture")
            with div("k-caption"):
                text(f"score {score_text(anomaly.score, anomaly.threshold)}")
                self._captions[anomaly.id] = text("")
            if anomaly.part:
                text(f"part {anomaly.part}", "k-part")
        button.on("click", lambda: self._enlarge(anomaly))
        return button

    def _enlarge(self, anomaly: Anomaly) -> None:
        self._zoom.clear()
        with self._zoom, div("k-zoom", "zoom"):
            Shots().show(anomaly.picture_sha256, anomaly.heatmap_sha256, nothing="No picture")
            with div("k-zoom-foot"):
                limit = (
                    f", threshold {score_text(anomaly.threshold)}" if anomaly.threshold is not None else ""
                )
                release = f" · {anomaly.release}" if anomaly.release else ""
                when = words.when_text(anomaly.time_s, self._now_s)
                text(f"{when} · {words.anomaly_text(anomaly)}{limit}{release}")
                ui.button("Close", color=None, on_click=self._zoom.close).props("flat no-caps").classes(
                    "k-button"
                )
        self._zoom.open()


def _anomaly(record: EventRecord) -> Anomaly:
    return Anomaly(
        id=record.id,
        time_s=record.time_s,
        score=record.score,
        threshold=record.threshold,
        part=record.part,
        release=record.release,
        picture_sha256=record.picture_sha256,
        heatmap_sha256=record.heatmap_sha256,
    )
