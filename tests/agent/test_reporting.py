"""What is said of inspections: each score once in a roll-up, and one event for one anomaly."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kenpin_agent.inspect import Inspection
from kenpin_agent.reporting import LIVE_SCORES_PER_S, Reporter
from kenpin_agent.seams import Frame, Outgoing
from kenpin_wire.messages import AnomalyEvent, ScoreAggregate, Verdict, unpack_scores
from kenpin_wire.topics import Address, Channel

IMAGE = np.full((48, 64, 3), 128, np.uint8)
ADDRESS = Address("s", "l", "d")


def inspection(
    score: float, at_s: float, *, part: str | None = None, release: str = "part-1", threshold: float = 1.0
) -> Inspection:
    bad = score > threshold
    frame = Frame(IMAGE, index=round(at_s * 100), captured_s=at_s, part=part)
    verdict = Verdict.ANOMALY if bad else Verdict.NORMAL
    return Inspection(frame, score, verdict, threshold, release, IMAGE if bad else None, {})


def said(reporter: Reporter, *inspections: Inspection) -> list[Outgoing]:
    return [out for each in inspections for out in reporter.report(each, wall_s=each.frame.captured_s)]


def of(messages: list[Outgoing], channel: Channel) -> list[Outgoing]:
    return [message for message in messages if message.channel is channel]


@given(
    st.lists(
        st.tuples(
            st.floats(0, 2, width=32),
            st.floats(0.01, 3),
            st.sampled_from(["part-1", "part-2"]),
            st.sampled_from([0.5, 1.0]),
        ),
        min_size=1,
        max_size=40,
    )
)
def test_every_score_is_in_exactly_one_roll_up_with_its_release_and_threshold(
    frames: list[tuple[float, float, str, float]],
) -> None:
    reporter, at_s, out = Reporter(ADDRESS), 1000.0, []
    for score, wait_s, release, threshold in frames:
        at_s += wait_s
        out += said(reporter, inspection(score, at_s, release=release, threshold=threshold))
    out += reporter.flush()
    rolled: list[tuple[float, str, float | None]] = []
    for message in of(out, Channel.SCORE_AGG):
        aggregate = message.payload
        assert isinstance(aggregate, ScoreAggregate)
        scores = unpack_scores(aggregate.scores)
        assert aggregate.n == len(scores)
        assert aggregate.max == pytest.approx(float(scores.max()))
        rolled += [(float(score), aggregate.release, aggregate.threshold) for score in scores]
    assert rolled == [(score, release, threshold) for score, _, release, threshold in frames]


def test_each_anomalous_part_is_one_event() -> None:
    frames = [inspection(2.0, 1 + i / 10, part=part) for i, part in enumerate(["a", "a", "b", "a"])]
    events = of(said(Reporter(ADDRESS), *frames), Channel.EVENT_ANOMALY)
    assert [e.payload.data.part for e in events if isinstance(e.payload, AnomalyEvent)] == ["a", "b", "a"]
    assert len({e.event_id for e in events}) == 3


def test_a_part_that_wavers_about_the_threshold_is_one_event() -> None:
    frames = [inspection(score, 1 + i / 10, part="a") for i, score in enumerate([2.0, 0.5, 2.0])]
    assert len(of(said(Reporter(ADDRESS), *frames), Channel.EVENT_ANOMALY)) == 1


def test_a_view_without_parts_is_one_event_until_it_was_normal_again() -> None:
    scores = [0.5, 2.0, 2.0, 2.0, 0.5, 2.0]
    frames = [inspection(score, 1 + i / 10) for i, score in enumerate(scores)]
    assert len(of(said(Reporter(ADDRESS), *frames), Channel.EVENT_ANOMALY)) == 2


def test_an_event_names_its_pictures_by_their_hashes_and_comes_before_them() -> None:
    out = said(Reporter(ADDRESS), inspection(2.0, 1.0, part="a"))
    channels = [message.channel for message in out]
    assert channels.index(Channel.EVENT_ANOMALY) < channels.index(Channel.PICTURE)
    event = of(out, Channel.EVENT_ANOMALY)[0].payload
    assert isinstance(event, AnomalyEvent)
    for channel, sha256 in (
        (Channel.PICTURE, event.data.picture_sha256),
        (Channel.HEATMAP, event.data.heatmap_sha256),
    ):
        jpeg = of(out, channel)[0].payload
        assert isinstance(jpeg, bytes)
        assert hashlib.sha256(jpeg).hexdigest() == sha256


def test_live_scores_are_thinned_but_roll_ups_are_not() -> None:
    frames = [inspection(0.5, 1000 + i / 200) for i in range(200)]
    reporter = Reporter(ADDRESS)
    out = said(reporter, *frames) + reporter.flush()
    assert len(of(out, Channel.SCORE)) <= LIVE_SCORES_PER_S + 1
    aggregate = of(out, Channel.SCORE_AGG)[0].payload
    assert isinstance(aggregate, ScoreAggregate)
    assert aggregate.n == 200
