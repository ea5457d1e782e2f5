"""A page is only sent what it does not know yet."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from kenpin_controller.pages.live import ChartFeed, highest
from kenpin_controller.pages.words import count, phase_text, size_text
from kenpin_controller.views import DeviceView, HeatPoint, ScorePoint
from kenpin_wire.topics import Address

EMPTY = DeviceView(address=Address("mill", "stamping", "press-left"), threshold=1.6)


def points(*times: float) -> tuple[ScorePoint, ...]:
    return tuple(ScorePoint(t, t / 10) for t in times)


def test_the_first_news_is_everything_and_the_next_only_what_came_since() -> None:
    feed = ChartFeed()
    first = feed.scores(replace(EMPTY, scores=points(1, 2, 3)))
    assert first == {
        "id": "press-left",
        "reset": True,
        "points": [[1, 0.1], [2, 0.2], [3, 0.3]],
        "limit": 1.6,
    }
    second = feed.scores(replace(EMPTY, scores=points(2, 3, 4)))
    assert second is not None
    assert second["points"] == [[4, 0.4]]
    assert not second["reset"]


def test_nothing_new_is_not_sent() -> None:
    feed = ChartFeed()
    feed.scores(replace(EMPTY, scores=points(1)))
    assert feed.scores(replace(EMPTY, scores=points(1))) is None


def test_a_new_threshold_is_news() -> None:
    feed = ChartFeed()
    feed.scores(EMPTY)
    news = feed.scores(replace(EMPTY, threshold=2.0))
    assert news is not None
    assert news["limit"] == 2.0


def test_a_gap_filled_afterwards_is_sent_again_in_full() -> None:
    feed = ChartFeed()
    feed.scores(replace(EMPTY, scores=points(1, 9)))
    news = feed.scores(replace(EMPTY, scores=points(1, 5, 9), gaps_filled=1))
    assert news is not None
    assert news["reset"]
    assert len(news["points"]) == 3


def test_temperatures_come_once_and_missing_sensors_are_left_out() -> None:
    feed = ChartFeed()
    device = replace(EMPTY, heat=(HeatPoint(1, 55.0, 1.0), HeatPoint(2, None, 1.0)))
    news = feed.heat(device)
    assert news is not None
    assert news["points"] == [[1, 55.0]]
    assert feed.heat(device) is None


@given(st.lists(st.tuples(st.floats(0, 50), st.floats(0, 9)), max_size=60), st.floats(0.1, 5))
def test_thinning_never_loses_the_highest_score(raw: list[tuple[float, float]], step_s: float) -> None:
    given_points = [ScorePoint(t, s) for t, s in sorted(raw)]
    kept = list(highest(given_points, step_s))
    assert max((p.score for p in kept), default=None) == max((p.score for p in given_points), default=None)
    assert [p.time_s for p in kept] == sorted(p.time_s for p in kept)
    assert len(kept) <= 50 / step_s + 2


def test_words() -> None:
    assert count(1, "camera") == "1 camera"
    assert count(1234, "anomaly", "anomalies") == "1,234 anomalies"
    assert phase_text("levitating_now") == "Levitating now"
    assert size_text(3_870_000) == "3.9 MB"
