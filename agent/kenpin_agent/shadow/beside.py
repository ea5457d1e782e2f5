"""A shadow at work: what the inspection loop holds while a candidate judges beside the release that runs."""

from __future__ import annotations

import hashlib
import logging
import uuid
from collections.abc import Callable
from dataclasses import dataclass

from kenpin_agent.deployment.events import ShadowDone, ShadowFailed, ShadowTimedOut
from kenpin_agent.inspect import Inspection, inspect
from kenpin_agent.judge import Judge, JudgeState, judge
from kenpin_agent.live_time import LiveTime
from kenpin_agent.pictures import encode_jpeg
from kenpin_agent.release import Release
from kenpin_agent.seams import Allowance, Frame, Image, Outgoing
from kenpin_agent.shadow.budget import Budget
from kenpin_agent.shadow.evaluation import Shadow, Word
from kenpin_agent.shadow.gallery import Gallery, Kept
from kenpin_wire.contract import MAX_JPEG_BYTES
from kenpin_wire.errors import KenpinError
from kenpin_wire.messages import CameraState, Roi, ShadowPolicy
from kenpin_wire.shadow import MAX_DISAGREEMENTS, Disagreement
from kenpin_wire.topics import Channel

log = logging.getLogger(__name__)

REPORT_EVERY_S = 5.0


@dataclass(frozen=True, slots=True)
class Errand:
    """What is to be shadowed, and for whom."""

    candidate: Release
    policy: ShadowPolicy
    rollout: str
    rev: int


class Beside:
    """One shadowing. Used by the inspection loop alone.

    Args:
        incumbent: The release that runs.
        frames: What the camera has given so far.
        monotonic_s: The monotonic clock.

    Attributes:
        ending: How it ended; None while it goes on. Take `close` then.
    """

    def __init__(
        self,
        errand: Errand,
        incumbent: Release,
        *,
        window: int,
        frames: int,
        monotonic_s: Callable[[], float],
    ) -> None:
        now_s = monotonic_s()
        self.ending: ShadowDone | ShadowFailed | ShadowTimedOut | None = None
        self._errand = errand
        self._incumbent = incumbent
        self._window = window
        self._monotonic_s = monotonic_s
        self._states = (JudgeState(), JudgeState())
        self._time = LiveTime(now_s, frames)
        self._budget = Budget(now_s)
        self._shadow = Shadow(incumbent.manifest, errand.candidate.manifest, wanted=errand.policy.frames)
        self._gallery: Gallery[list[Outgoing]] = Gallery(MAX_DISAGREEMENTS)
        self._reported_s = now_s

    def may_follow(self, frame: Frame, allowance: Allowance) -> bool:
        """Whether the candidate judges this frame too: if the heat allows full work, and the line has time. Ask once
        a frame, after its verdict is out."""
        self._budget.frame_came(frame.index, frame.captured_s)
        if self._budget.may_work(self._monotonic_s()) and allowance.rate >= 1.0:
            return True
        self._shadow.skip()
        return False

    def follow(self, inspection: Inspection, raw_score: float, threshold: float, roi: Roi | None) -> None:
        """Judge the frame that was just judged. An error of the candidate's ends the shadow, and nothing else.

        Both sides' scores are averaged here over the frames that both saw: were frames left out on one side only,
        the averages would differ for that alone.

        Args:
            raw_score: The running release's for this frame, not smoothed.
            threshold: The candidate's.
        """
        began_s = self._monotonic_s()
        try:
            self._compare(inspection, raw_score, threshold, roi)
        except Exception as error:  # noqa: BLE001  whatever a candidate brings, the line goes on
            self.ending = ShadowFailed(f"it failed on a live frame: {error}", self._errand.rev)
        self._budget.worked(began_s, self._monotonic_s())

    @property
    def paused(self) -> bool:
        """Whether its time stands still."""
        return self._time.paused

    def look(self, *, frames: int, camera: CameraState, inspection: bool) -> None:
        """Several times a second: how the line stands; see `LiveTime.look`."""
        self._time.look(self._monotonic_s(), frames=frames, camera=camera, inspection=inspection)
        policy, rev, seen = self._errand.policy, self._errand.rev, self._shadow
        if self.ending is not None:
            return
        if seen.frames >= policy.frames:
            self.ending = ShadowDone(rev)
        elif self._time.live_s >= policy.max_s or self._time.over:
            enough = seen.frames >= min(policy.min_frames, policy.frames)
            self.ending = ShadowDone(rev) if enough else ShadowTimedOut(self._too_few(), rev)

    def felt(self, *, memory_mb: float, temperature_c: float | None) -> list[Outgoing]:
        """Once a second: how the device fares; returns the report when one is due."""
        self._shadow.felt(memory_mb=memory_mb, temperature_c=temperature_c)
        now_s = self._monotonic_s()
        if now_s - self._reported_s < REPORT_EVERY_S:
            return []
        self._reported_s = now_s
        return [self._report(finished=False)]

    def close(self) -> list[Outgoing]:
        """The last report, and the disagreements with their pictures."""
        shots = [message for kept in self._gallery.all() for message in kept.what]
        return [*shots, self._report(finished=True)]

    def _compare(self, inspection: Inspection, raw_score: float, threshold: float, roi: Roi | None) -> None:
        frame, candidate = inspection.frame, self._errand.candidate
        state, judgement = judge(
            Judge(inspection.threshold, self._window), self._states[0], raw_score, frame.part
        )
        candidate_state, found = inspect(
            frame,
            candidate,
            self._states[1],
            Judge(threshold, self._window),
            wanted=lambda _: False,
            monotonic_s=self._monotonic_s,
            roi=roi,
        )
        self._states = (state, candidate_state)
        words = (
            Word(judgement.score, inspection.threshold, _verdict_ms(inspection)),
            Word(found.score, threshold, _verdict_ms(found)),
        )
        self._shadow.saw(*words)
        only_candidate, strength = words[1].rejects, self._shadow.strength(*words)
        if words[0].rejects != only_candidate and self._gallery.wants(only_candidate, strength):
            shot = self._shot(inspection, words, roi)
            self._gallery.add(Kept(only_candidate, strength, shot))

    def _shot(self, inspection: Inspection, words: tuple[Word, Word], roi: Roi | None) -> list[Outgoing]:
        """The event and its pictures, at most 300 KB: a dozen of a camera's frames would not fit in memory."""
        frame = inspection.frame
        theirs = _drawn(frame, self._errand.candidate, roi, self._monotonic_s)
        ours = inspection.heatmap
        if ours is None:
            try:
                ours = _drawn(frame, self._incumbent, roi, self._monotonic_s)
            except KenpinError as error:  # not the candidate's failure
                log.warning("no heatmap of a disagreement by the release that runs: %s", error)
        jpegs = [
            encode_jpeg(image, max_bytes=MAX_JPEG_BYTES) if image is not None else None
            for image in (frame.image, ours, theirs)
        ]
        sha256 = [hashlib.sha256(jpeg).hexdigest() if jpeg is not None else None for jpeg in jpegs]
        event = Disagreement(
            id=uuid.uuid4().hex,
            rollout=self._errand.rollout,
            frame=frame.index,
            part=frame.part,
            incumbent=self._incumbent.manifest.release,
            incumbent_score=words[0].score,
            incumbent_threshold=words[0].threshold,
            candidate=self._errand.candidate.manifest.release,
            candidate_score=words[1].score,
            candidate_threshold=words[1].threshold,
            picture_sha256=sha256[0],
            incumbent_heatmap_sha256=sha256[1],
            candidate_heatmap_sha256=sha256[2],
        )
        pictures = [Outgoing(Channel.EVENT_PICTURE, jpeg) for jpeg in jpegs if jpeg is not None]
        return [Outgoing(Channel.EVENT_DISAGREEMENT, event), *pictures]

    def _report(self, *, finished: bool) -> Outgoing:
        errand = self._errand
        report = self._shadow.report(rollout=errand.rollout, rev=errand.rev, finished=finished)
        return Outgoing(Channel.REPORTED_SHADOW, report)

    def _too_few(self) -> str:
        seen, policy = self._shadow, self._errand.policy
        return (
            f"it judged {seen.frames} live frames in {self._time.live_s:.0f} s and {policy.min_frames} are wanted; "
            f"{seen.skipped} were left out because the board was too warm or the line had no time"
        )


def _drawn(frame: Frame, release: Release, roi: Roi | None, monotonic_s: Callable[[], float]) -> Image | None:
    """A release's heatmap of a frame."""
    nothing = Judge(0.0)
    _, found = inspect(
        frame, release, JudgeState(), nothing, wanted=lambda _: True, monotonic_s=monotonic_s, roi=roi
    )
    return found.heatmap


def _verdict_ms(inspection: Inspection) -> float:
    return sum(ms for stage, ms in inspection.timings_ms.items() if stage != "heatmap")
