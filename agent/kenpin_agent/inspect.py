"""The sentence: (capture,) encode, score, judge, (classify, decode, publish).

Does no I/O and reads no clock: frames, time and the wish for a heatmap come from the caller.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from kenpin_agent import heatmap
from kenpin_agent.classifier import Classification
from kenpin_agent.judge import Judge, JudgeState, judge
from kenpin_agent.prepare import prepare, region
from kenpin_agent.release import Release
from kenpin_agent.seams import Frame, Image
from kenpin_wire.messages import Roi, Verdict


@dataclass(frozen=True, slots=True)
class Inspection:
    """A frame and what was found of it.

    Attributes:
        score: Smoothed, as the verdict was reached.
        release: The label of the release that judged.
        heatmap: Drawn over the whole frame, blue-green-red; None when nobody wanted it.
        timings_ms: By stage (`prepare`, `encode`, `score`, `judge`, `classify`, `heatmap`), in their order.
        classification: What a part judged normal was taken for; None if the release has no classifier.
    """

    frame: Frame
    score: float
    verdict: Verdict
    threshold: float
    release: str
    heatmap: Image | None
    timings_ms: dict[str, float]
    classification: Classification | None = None


def inspect(
    frame: Frame,
    release: Release,
    state: JudgeState,
    by: Judge,
    *,
    wanted: Callable[[Verdict], bool],
    monotonic_s: Callable[[], float],
    roi: Roi | None = None,
) -> tuple[JudgeState, Inspection]:
    """Inspect one frame.

    Args:
        state: What the last call returned, or `JudgeState()` when the release is new.
        wanted: Whether a verdict's heatmap shall be drawn; asked once. The heat allowance speaks here.
        monotonic_s: A monotonic clock in seconds, for the timings only.
        roi: The region to inspect, in pixels of the frame.

    Raises:
        ConfigError: if `roi` leaves the frame.
        ReleaseError: if encoder, head, classifier or decoder fail, or the score is not finite.
    """
    stages = _Stages(monotonic_s)
    tensor = prepare(frame.image, release.manifest.input, roi)
    stages.done("prepare")
    features = release.encoder.encode(tensor)
    stages.done("encode")
    found = release.head.assess(features)
    stages.done("score")
    state, judgement = judge(by, state, found.score, frame.part)
    stages.done("judge")
    classification = None
    if release.classifier is not None and judgement.verdict is Verdict.NORMAL:
        classification = release.classifier.classify(frame.image, roi)
        stages.done("classify")
    picture = None
    if wanted(judgement.verdict):
        seen = region(frame.image, release.manifest.input, roi)
        patch_scores = release.patch_scores(tensor, features, found)
        picture = heatmap.render(frame.image, patch_scores, release.manifest.heatmap, seen)
        stages.done("heatmap")
    return state, Inspection(
        frame,
        judgement.score,
        judgement.verdict,
        by.threshold,
        release.label,
        picture,
        stages.timings_ms,
        classification,
    )


class _Stages:
    """Times one stage after the other."""

    def __init__(self, monotonic_s: Callable[[], float]) -> None:
        self._monotonic_s = monotonic_s
        self._last_s = monotonic_s()
        self.timings_ms: dict[str, float] = {}

    def done(self, stage: str) -> None:
        now_s = self._monotonic_s()
        self.timings_ms[stage] = (now_s - self._last_s) * 1000
        self._last_s = now_s
