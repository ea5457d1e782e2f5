"""What an open page does not know yet of the charts it shows: only that is sent to it.

Pure: no element is touched here. `kenpin.js` draws what these make.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from typing import Any

from kenpin_controller.views import DeviceView, ScorePoint

HEAT_LIMIT_C = 80.0  # where the firmware of every Pi begins to slow the clock


class ChartFeed:
    """The charts of one open page.

    Args:
        step_s: Of scores closer together than this only the highest is drawn; 0 draws them all.
    """

    def __init__(self, step_s: float = 0.0) -> None:
        self._step_s = step_s
        self._sent_s: dict[str, float] = {}
        self._limits: dict[str, float | None] = {}
        self._filled: dict[str, int] = {}

    def scores(self, device: DeviceView) -> dict[str, Any] | None:
        """New scores and a changed threshold as `{id, reset, points: [[time_s, score], ...], limit}`;
        None if there is nothing to tell."""
        chart = device.name
        reset = self._filled.get(chart) != device.gaps_filled
        sent_s = float("-inf") if reset else self._sent_s.get(chart, float("-inf"))
        fresh = device.scores[bisect_right(device.scores, sent_s, key=lambda p: p.time_s) :]
        limit_changed = chart not in self._limits or self._limits[chart] != device.threshold
        if not (fresh or reset or limit_changed):
            return None
        self._filled[chart], self._limits[chart] = device.gaps_filled, device.threshold
        if fresh:
            self._sent_s[chart] = fresh[-1].time_s
        points = [[round(p.time_s, 2), float(f"{p.score:.5g}")] for p in highest(fresh, self._step_s)]
        return {"id": chart, "reset": reset, "points": points, "limit": device.threshold}

    def heat(self, device: DeviceView) -> dict[str, Any] | None:
        """New temperatures, in the same form; the chart's id is `NAME/heat`."""
        chart = f"{device.name}/heat"
        sent_s = self._sent_s.get(chart, float("-inf"))
        fresh = [h for h in device.heat if h.time_s > sent_s]
        if not fresh:
            return None
        self._sent_s[chart] = fresh[-1].time_s
        points = [[round(h.time_s, 1), h.temperature_c] for h in fresh if h.temperature_c is not None]
        return {"id": chart, "reset": False, "points": points, "limit": HEAT_LIMIT_C}


def highest(points: Sequence[ScorePoint], step_s: float) -> Iterable[ScorePoint]:
    """The highest score of each `step_s`: thinning must not lose the one part that matters."""
    if step_s <= 0:
        yield from points
        return
    best: ScorePoint | None = None
    for point in points:
        if best is not None and int(point.time_s / step_s) != int(best.time_s / step_s):
            yield best
            best = None
        if best is None or point.score > best.score:
            best = point
    if best is not None:
        yield best
