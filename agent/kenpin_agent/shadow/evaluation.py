"""What two releases said of the same frames, and what follows from it. Pure."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from kenpin_agent.judge import LOWEST_RATE, false_reject_rates, false_reject_threshold
from kenpin_agent.shadow.statistics import Sample, kolmogorov_smirnov, population_stability
from kenpin_wire.manifest import Manifest
from kenpin_wire.shadow import QUANTILES, ShadowReport, ShadowSide

MOST_KEPT = 10_000
"""Frames whose scores are kept, 400 KB; beyond, an even sample of all (Vitter's algorithm R)."""
FEWEST_FOR_THRESHOLD = 30


@dataclass(frozen=True, slots=True)
class Word:
    """What one release says of a frame.

    Attributes:
        score: Smoothed, as it is compared with the threshold.
        latency_ms: What the verdict took.
    """

    score: float
    threshold: float
    latency_ms: float

    @property
    def rejects(self) -> bool:
        return self.score > self.threshold


class Shadow:
    """Gathers both sides' words and reports on them at any time; see `kenpin_wire.shadow.ShadowReport`.

    Args:
        wanted: Frames that it shall see.
    """

    def __init__(self, incumbent: Manifest, candidate: Manifest, *, wanted: int) -> None:
        self.frames = self.skipped = 0
        self._manifests = (incumbent, candidate)
        self._wanted = wanted
        self._kept = np.empty((min(wanted, MOST_KEPT), 4))  # two scores, two latencies
        self._keep = np.empty(len(self._kept), dtype=np.bool_)  # whether only one or neither rejects
        self._rng = np.random.default_rng(0)
        self._rejects = [0, 0]
        self._only = [0, 0]
        self._thresholds: tuple[float, float] | None = None
        self._memory_mb = 0.0
        self._peak_c: float | None = None

    def saw(self, incumbent: Word, candidate: Word) -> None:
        """Both have judged a frame."""
        at = self.frames if self.frames < len(self._kept) else int(self._rng.integers(self.frames + 1))
        self.frames += 1
        both = incumbent.rejects, candidate.rejects
        for side, rejects in enumerate(both):
            self._rejects[side] += rejects
            self._only[side] += rejects and not both[1 - side]
        self._thresholds = (incumbent.threshold, candidate.threshold)
        if at < len(self._kept):
            self._kept[at] = (
                incumbent.score,
                candidate.score,
                incumbent.latency_ms,
                candidate.latency_ms,
            )
            self._keep[at] = not all(both)

    def skip(self) -> None:
        """A frame was left to the release that runs alone."""
        self.skipped += 1

    def felt(self, *, memory_mb: float, temperature_c: float | None) -> None:
        """How the device fares while it runs.

        Args:
            memory_mb: What the agent takes more than before the candidate came.
        """
        self._memory_mb = max(self._memory_mb, memory_mb)
        if temperature_c is not None:
            self._peak_c = max(temperature_c, self._peak_c if self._peak_c is not None else temperature_c)

    def strength(self, incumbent: Word, candidate: Word) -> float:
        """How plainly two words differ: how far each is from its own threshold, in powers of e of the false-reject
        rate, added. 0 if the verdicts are the same."""
        if incumbent.rejects == candidate.rejects:
            return 0.0
        return sum(
            abs(float(np.diff(np.log(self._rates(side, np.array([word.score, word.threshold]))))[0]))
            for side, word in enumerate((incumbent, candidate))
        )

    def report(self, *, rollout: str = "", rev: int = 0, finished: bool = False) -> ShadowReport:
        """How it stands."""
        rows = min(self.frames, len(self._kept))
        kept = self._kept[:rows]
        standard = [self._rates(side, kept[:, side]) for side in (0, 1)]
        proposal, rate = self._proposal(kept[self._keep[:rows], 1])
        return ShadowReport(
            rollout=rollout,
            rev=rev,
            frames=self.frames,
            wanted=self._wanted,
            skipped=self.skipped,
            finished=finished,
            incumbent=self._side(0, kept),
            candidate=self._side(1, kept),
            ks=kolmogorov_smirnov(standard[0], standard[1]),
            psi=population_stability(standard[0], standard[1]),
            agree=1.0 - sum(self._only) / self.frames if self.frames else 1.0,
            only_incumbent=self._only[0],
            only_candidate=self._only[1],
            memory_mb=round(self._memory_mb, 1),
            peak_c=self._peak_c,
            proposed_threshold=proposal,
            proposed_false_rejects=rate,
        )

    def _side(self, side: int, kept: npt.NDArray[np.float64]) -> ShadowSide:
        release = self._manifests[side].release
        if not len(kept):
            return ShadowSide(release=release)
        assert self._thresholds is not None
        median_ms, slow_ms = np.quantile(kept[:, 2 + side], (0.5, 0.95))
        return ShadowSide(
            release=release,
            threshold=self._thresholds[side],
            quantiles=[float(score) for score in np.quantile(kept[:, side], QUANTILES)],
            reject_rate=self._rejects[side] / self.frames,
            latency_ms=round(float(median_ms), 3),
            latency_p95_ms=round(float(slow_ms), 3),
        )

    def _rates(self, side: int, scores: Sample) -> Sample:
        """Scores on their release's own scale; see the report."""
        calibrations = [manifest.calibration.scores for manifest in self._manifests]
        if all(calibrations):
            return false_reject_rates(calibrations[side], scores)
        threshold = self._thresholds[side] if self._thresholds else 0.0
        return np.where(scores > threshold, LOWEST_RATE, 1.0)

    def _proposal(self, scores: Sample) -> tuple[float | None, float | None]:
        """The candidate's threshold for its own target rate on these frames."""
        if len(scores) < FEWEST_FOR_THRESHOLD:
            return None, None
        target = self._manifests[1].calibration.false_rejects
        return false_reject_threshold(scores.tolist(), target), target
