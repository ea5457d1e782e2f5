"""What a shadowing device says: the candidate beside the release that runs, on the camera's own live frames."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, FiniteFloat

from kenpin_wire.messages import Fraction, Message, NonNegative, Part, ReleaseName, Sha256

QUANTILES = (0.0, 0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99, 1.0)
"""Which quantiles of its scores a side reports."""
MAX_DISAGREEMENTS = 12
"""Frames a shadowing sends at most, and so at most 3.6 MB of pictures."""


class ShadowSide(Part):
    """One of the two releases.

    Attributes:
        quantiles: Of its scores, at `QUANTILES`.
        threshold: As last in force; the candidate's is the one that would be, were it to run.
        reject_rate: The share of frames over its threshold.
        latency_ms: Median of what a verdict took on this device, from preparing the picture to judging, without
            heatmaps and without waiting for the other release.
        latency_p95_ms: 95 % were faster.
    """

    release: ReleaseName | None = None
    threshold: FiniteFloat | None = None
    quantiles: list[FiniteFloat] = Field(default_factory=list)
    reject_rate: Fraction = 0.0
    latency_ms: FiniteFloat = 0.0
    latency_p95_ms: FiniteFloat = 0.0


class ShadowReport(Message):
    """How a shadowing stands.

    Two heads' scores have no common scale. So each score is first put on its own release's: as the false-reject rate
    that a threshold there would promise, by that release's held-out good pictures (`judge.false_reject_rates`). On
    frames that are like those pictures both sides' rates are spread evenly over 0 to 1, whatever the heads. If either
    release holds no such scores, the two are only compared as over or under their thresholds.

    Attributes:
        ks: Kolmogorov-Smirnov statistic between the two samples of such rates, 0 to 1.
        psi: Population-stability index between them; below 0.1 is no shift, above 0.25 a plain one.
        agree: The share of frames with the same verdict.
        only_incumbent, only_candidate: Frames that one alone would reject.
        memory_mb: What the agent takes more than before the candidate came.
        peak_c: The hottest reading while it ran.
        proposed_threshold: That holds the target false-reject rate on these frames but for those that both reject,
            for a person to approve; None with too few frames.
    """

    rollout: str = ""
    rev: NonNegative = 0
    frames: NonNegative = 0
    wanted: NonNegative = 0
    skipped: NonNegative = 0
    """Frames that the release that runs judged alone: the board was too warm, or the next frame would have waited."""
    finished: bool = False
    incumbent: ShadowSide = Field(default_factory=ShadowSide)
    candidate: ShadowSide = Field(default_factory=ShadowSide)
    ks: Fraction = 0.0
    psi: FiniteFloat = 0.0
    agree: Fraction = 1.0
    only_incumbent: NonNegative = 0
    only_candidate: NonNegative = 0
    memory_mb: FiniteFloat = 0.0
    peak_c: FiniteFloat | None = None
    proposed_threshold: FiniteFloat | None = None
    proposed_false_rejects: Fraction | None = None
    """The rate that the proposal is for."""


class Disagreement(Message):
    """A frame that the two judge differently. Its picture and both heatmaps come on `event/picture`, not on `picture`
    and `heatmap`: these are retained, and are the last anomaly's."""

    id: Annotated[str, Field(min_length=1, max_length=64)]
    rollout: str = ""
    frame: NonNegative = 0
    part: str | None = None
    incumbent: ReleaseName | None = None
    incumbent_score: FiniteFloat = 0.0
    incumbent_threshold: FiniteFloat | None = None
    candidate: ReleaseName | None = None
    candidate_score: FiniteFloat = 0.0
    candidate_threshold: FiniteFloat | None = None
    picture_sha256: Sha256 | None = None
    incumbent_heatmap_sha256: Sha256 | None = None
    candidate_heatmap_sha256: Sha256 | None = None
