"""The sentence, and the heatmap at its end."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kenpin_agent.heatmap import LIMIT_LEVEL, render, upsample
from kenpin_agent.inspect import inspect
from kenpin_agent.judge import Judge, JudgeState
from kenpin_agent.prepare import Region
from kenpin_agent.release import Release, load_release, unpack_release
from kenpin_agent.seams import Frame
from kenpin_wire.errors import ConfigError
from kenpin_wire.manifest import Heatmap
from kenpin_wire.messages import Roi, Verdict
from support.small_release import part, write_release

SCALE = Heatmap(normal=1.0, limit=3.0)


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> Release:
    folder = tmp_path_factory.mktemp("inspect")
    unpack_release(write_release(folder / "r.kenpin"), folder / "slot")
    return load_release(folder / "slot")


def by(release: Release) -> Judge:
    return Judge(release.manifest.calibration.threshold)


def ticking() -> Callable[[], float]:
    """A clock that goes on by a millisecond each time it is read."""
    ticks = iter(range(1000))
    return lambda: next(ticks) / 1000


def only_anomalies(verdict: Verdict) -> bool:
    return verdict is Verdict.ANOMALY


def test_a_good_part_is_normal_and_costs_no_heatmap(release: Release) -> None:
    frame = Frame(part(40), 5, 1.0, part="40")
    _, found = inspect(
        frame, release, JudgeState(), by(release), wanted=only_anomalies, monotonic_s=ticking()
    )
    assert found.verdict is Verdict.NORMAL
    assert found.heatmap is None
    assert found.frame is frame
    assert found.release == "discs-1"
    assert found.threshold == release.manifest.calibration.threshold
    assert found.timings_ms == pytest.approx({"prepare": 1, "encode": 1, "score": 1, "judge": 1})


def test_a_scratch_is_an_anomaly_and_is_coloured_where_it_is(release: Release) -> None:
    frame = Frame(part(40, scratched=True), 0, 0.0)
    _, found = inspect(
        frame, release, JudgeState(), by(release), wanted=only_anomalies, monotonic_s=ticking()
    )
    assert found.verdict is Verdict.ANOMALY
    assert found.heatmap is not None
    assert found.heatmap.shape == frame.image.shape
    assert list(found.timings_ms)[-1] == "heatmap"
    change = np.abs(found.heatmap.astype(int) - frame.image).sum(axis=2)
    assert change[30:66, 40:90].mean() > 5 * change[:12].mean() + 1


def test_the_state_smooths_over_frames(release: Release) -> None:
    judge_of_three, state, raw = Judge(1e9, window=3), JudgeState(), []
    for number in (40, 41, 42):
        image = part(number)
        raw.append(release.score(image))
        state, found = inspect(
            Frame(image, 0, 0.0),
            release,
            state,
            judge_of_three,
            wanted=only_anomalies,
            monotonic_s=ticking(),
        )
    assert found.score == pytest.approx(np.mean(raw))


def test_only_the_region_is_inspected_and_coloured(release: Release) -> None:
    image = np.zeros((200, 300, 3), np.uint8)
    image[40:136, 100:228] = part(40, scratched=True)
    roi = Roi(x=100, y=40, width=128, height=96)
    _, found = inspect(
        Frame(image, 0, 0.0),
        release,
        JudgeState(),
        by(release),
        wanted=lambda _: True,
        monotonic_s=ticking(),
        roi=roi,
    )
    assert found.score == pytest.approx(release.score(part(40, scratched=True)))
    assert found.heatmap is not None
    outside = found.heatmap.copy()
    outside[40:136, 100:228] = 0
    assert not outside.any()
    assert found.heatmap[40:136, 100:228].any()


def test_a_region_outside_the_frame_is_the_operators_error(release: Release) -> None:
    with pytest.raises(ConfigError, match="leaves the picture"):
        inspect(
            Frame(part(0), 0, 0.0),
            release,
            JudgeState(),
            by(release),
            wanted=only_anomalies,
            monotonic_s=ticking(),
            roi=Roi(width=999, height=9),
        )


def test_the_picture_itself_is_never_drawn_on() -> None:
    image = part(0)
    before = image.copy()
    render(image, np.full((4, 4), 9, np.float32), SCALE)
    np.testing.assert_array_equal(image, before)


def test_a_calm_part_stays_as_it_is() -> None:
    image = part(0)
    calm = np.random.default_rng(0).uniform(0.5, 2.0, (8, 8)).astype(np.float32)
    np.testing.assert_array_equal(render(image, calm, SCALE), image)


def test_a_colour_means_the_same_on_every_picture() -> None:
    black = np.zeros((64, 64, 3), np.uint8)
    alone, beside = np.zeros((8, 8), np.float32), np.zeros((8, 8), np.float32)
    alone[:2, :2] = beside[:2, :2] = SCALE.limit
    beside[6:, 6:] = 100 * SCALE.limit
    here, there = render(black, alone, SCALE), render(black, beside, SCALE)
    np.testing.assert_array_equal(here[:30, :30], there[:30, :30])
    assert here[2, 2].any()


def test_more_is_never_drawn_fainter() -> None:
    black = np.zeros((16, 16, 3), np.uint8)
    strengths = [
        int(render(black, np.full((2, 2), s, np.float32), SCALE)[8, 8].max()) for s in (1.5, 2.2, 2.6, 3.0)
    ]
    assert strengths == sorted(strengths)
    assert strengths[-1] > 120


@given(
    st.tuples(st.integers(1, 9), st.integers(1, 9)),
    st.tuples(st.integers(9, 90), st.integers(9, 90)),
    st.integers(0, 99),
    st.floats(0, 1),
)
@settings(deadline=None)
def test_colouring_in_whole_numbers_is_blending_every_pixel(
    patches: tuple[int, int], size: tuple[int, int], seed: int, odd: float
) -> None:
    rng = np.random.default_rng(seed)
    image = rng.integers(0, 256, (*size, 3), dtype=np.uint8)
    scores = np.where(rng.random(patches) < odd, rng.uniform(2, 5, patches), 1).astype(np.float32)
    levels = upsample(np.clip((scores - 1) / 2 * LIMIT_LEVEL, 0, 1), *size)[..., np.newaxis]
    colours = cv2.applyColorMap((levels * 255).astype(np.uint8), cv2.COLORMAP_TURBO)
    opacity = np.clip((levels - 0.35) / (LIMIT_LEVEL - 0.35), 0, 1) * 0.6
    blended = image * (1 - opacity) + colours * opacity
    assert np.abs(render(image, scores, SCALE) - blended).max() < 8  # a level is one of 256


def test_what_is_no_number_is_drawn_as_the_most() -> None:
    black = np.zeros((16, 16, 3), np.uint8)
    unknown = render(black, np.full((2, 2), np.nan, np.float32), SCALE)
    np.testing.assert_array_equal(unknown, render(black, np.full((2, 2), 99, np.float32), SCALE))


def test_a_large_picture_is_made_smaller_first() -> None:
    large = np.zeros((1080, 1920, 3), np.uint8)
    drawn = render(large, np.ones((8, 8), np.float32), SCALE, Region(1900, 1070, 20, 10))
    assert drawn.shape == (360, 640, 3)


def test_patch_scores_are_spread_over_the_picture() -> None:
    scores = np.array([[0, 1], [0, 1]], np.float32)
    spread = upsample(scores, 40, 60)
    assert spread.shape == (40, 60)
    assert spread[:, 0].max() == 0
    assert spread[:, -1].min() == 1
    assert (np.diff(spread, axis=1) >= 0).all()


def test_a_release_is_not_altered_by_inspecting(release: Release) -> None:
    again = load_release(Path(release.folder))
    image = part(44, scratched=True)
    assert again.score(image) == release.score(image)
