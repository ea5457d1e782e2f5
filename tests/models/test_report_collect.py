"""What the report shows of pictures and time, from trainings on rendered and on real parts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from kenpin_agent.pictures import list_pictures
from kenpin_models.report import Example, Examples, Pictures, ReportData, Scores, render
from kenpin_models.report.collect import EACH, JPEG_BYTES, LONG_SIDE_PX, collect
from kenpin_models.report.page import MAX_BYTES
from support import require
from support.rendered_parts import Parts
from support.training_report import gather


@pytest.fixture(scope="module")
def told(parts: Parts) -> ReportData:
    """With bad parts shown."""
    return gather(list_pictures(parts.good), parts.bad)


@pytest.fixture(scope="module")
def alone(parts: Parts) -> ReportData:
    """With good parts only."""
    return gather(list_pictures(parts.good))


def falling(examples: Sequence[Example]) -> bool:
    scores = [example.score for example in examples]
    return scores == sorted(scores, reverse=True)


def test_the_worst_good_parts_come_first(told: ReportData) -> None:
    assert falling(told.examples.good)
    assert [e.score for e in told.examples.good] == sorted(told.scores.held_out, reverse=True)[:EACH]


def test_bad_parts_are_shown_once_the_least_found_first(told: ReportData) -> None:
    least, most = told.examples.least_found, told.examples.most_found
    assert not told.examples.synthetic
    assert falling(least[::-1])
    assert falling(most)
    assert len({e.name for e in (*least, *most)}) == len(least) + len(most) == 5


def test_without_bad_parts_one_defect_of_a_kind_is_painted_and_ringed(alone: ReportData) -> None:
    least, most = alone.examples.least_found, alone.examples.most_found
    assert alone.examples.synthetic
    for group in (least, most):
        kinds = [example.defect[0] for example in group if example.defect]
        assert len(set(kinds)) == len(kinds) == EACH
    assert max(e.score for e in least) < max(e.score for e in most)
    assert not {(e.name, e.defect) for e in least} & {(e.name, e.defect) for e in most}
    ringed, heatmap = (decode(jpeg) for jpeg in (most[0].picture, most[0].heatmap))
    assert (ringed.min(axis=2) > 225).any(), "the ring is white, and nothing of the part is"
    assert not (heatmap.min(axis=2) > 225).any()


def test_a_bad_part_s_heatmap_is_coloured_and_a_good_one_s_is_not(told: ReportData) -> None:
    """As the agent draws them: calm where it is good."""
    good, bad = told.examples.good[-1], told.examples.most_found[0]
    changed = [float(np.abs(decode(e.picture) - decode(e.heatmap)).mean()) for e in (good, bad)]
    assert changed[0] < 4 < changed[1]


def test_where_nothing_was_held_out_nothing_is_shown(told: ReportData) -> None:
    nothing = collect(lambda image: (0.0, image), [], [], np.random.default_rng(0))
    assert nothing == Examples()
    page = render(replace(told, examples=nothing, scores=Scores(), pictures=Pictures(fitted=3, held_out=0)))
    assert 'id="pictures"' not in page
    assert "none held out" in page


def test_pictures_are_small(told: ReportData) -> None:
    for example in (*told.examples.good, *told.examples.least_found):
        for jpeg in (example.picture, example.heatmap):
            assert len(jpeg) <= JPEG_BYTES
            assert max(decode(jpeg).shape) <= LONG_SIDE_PX


def test_every_stage_of_a_frame_has_its_cost(told: ReportData) -> None:
    cost = told.cost
    assert cost is not None
    assert min(cost.prepare_ms, cost.encoder_ms, cost.head_ms, cost.heatmap_ms) > 0
    assert cost.budget_ms == 50
    assert cost.machine


def test_the_heaviest_pictures_still_make_a_light_page(told: ReportData) -> None:
    """Noise compresses worst."""
    noise = np.random.default_rng(0).integers(0, 256, (270, 360, 3), np.uint8)
    jpeg = cv2.imencode(".jpg", noise, [cv2.IMWRITE_JPEG_QUALITY, 90])[1].tobytes()[:JPEG_BYTES]
    assert len(jpeg) == JPEG_BYTES
    heavy = (Example("x" * 255, 1.0, jpeg, jpeg, ("scratch", 0.04)),) * EACH
    examples = replace(told.examples, good=heavy, least_found=heavy, most_found=heavy)
    warnings = tuple(f"left out: {'w' * 255}" for _ in range(5000))
    assert len(render(replace(told, examples=examples, warnings=warnings)).encode()) < MAX_BYTES


@pytest.mark.parametrize(("pictures", "with_bad"), [("aliens", True), ("cookie", False)])
def test_a_report_of_real_parts_is_light_and_whole(pictures: str, with_bad: bool) -> None:
    folder = Path(require("data")) / pictures
    data = gather(list_pictures(folder / "good")[:10], folder / "bad" if with_bad else None)
    page = render(data)
    assert len(page.encode()) < MAX_BYTES
    assert page.count("<img ") == 2 * (min(5, EACH) + 2 * EACH)
    assert 'id="defects"' in page


def decode(jpeg: bytes) -> np.ndarray:
    return np.asarray(cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR), np.float32)
