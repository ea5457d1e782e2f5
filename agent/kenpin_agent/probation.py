"""The candidate's side of the inspection loop: its shadow beside the release that runs, or its trial once it runs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from kenpin_agent.deployment.deployer import Deployer
from kenpin_agent.deployment.events import ShadowDone, ShadowFailed, TrialFailed, TrialPassed
from kenpin_agent.deployment.state import RESTING
from kenpin_agent.deployment.switch import Offer
from kenpin_agent.grabber import Grabber
from kenpin_agent.heat import HeatWatch
from kenpin_agent.inspect import Inspection
from kenpin_agent.release import Release
from kenpin_agent.seams import Clock, Link, Outgoing
from kenpin_agent.settings_desk import SettingsDesk
from kenpin_agent.shadow.beside import Beside, Errand
from kenpin_agent.telemetry import Vitals
from kenpin_agent.trial import Before, RejectRate, Trial
from kenpin_agent.watchdog import Watchdog
from kenpin_wire.messages import ShadowPolicy, TrialPolicy, Verdict


class Probation:
    """Feeds the pure `Trial` and `Shadow` from the loop's parts, and posts to the deployer how they end. Used by the
    inspection loop alone."""

    def __init__(
        self,
        *,
        deployer: Deployer,
        link: Link,
        grabber: Grabber,
        desk: SettingsDesk,
        heat: HeatWatch,
        vitals: Vitals,
        clock: Clock,
        watchdog: Watchdog,
        window: int,
    ) -> None:
        self._deployer = deployer
        self._link = link
        self._grabber = grabber
        self._desk = desk
        self._heat = heat
        self._vitals = vitals
        self._clock = clock
        self._watchdog = watchdog
        self._window = window
        self._offer: Offer | None = None
        self._trial: Trial | None = None
        self._beside: Beside | None = None
        self._rejects: RejectRate | None = None  # of the release that runs, once one does
        self._memory_before_mb: float | None = None
        self._hindered = False  # a setting keeps frames from being judged

    # What the loop is to do ------------------------------------------------------------------------------

    def began(self, offer: Offer) -> None:
        """The loop has switched to a candidate."""
        self._end_shadow()
        before = Before(
            reject_rate=self._rejects.rate if self._rejects is not None else None,
            memory_mb=self._memory_mb(),
            temperature_c=self._heat.reading.temperature_c,
            limit_c=self._heat.limit_c,
        )
        policy = offer.trial or TrialPolicy()
        self._offer, self._hindered = offer, False
        self._trial = Trial(policy, before, now_s=self._clock.monotonic_s(), frames=self._grabber.frames)

    def settled(self, release: Release | None) -> None:
        """The loop has switched to the committed release."""
        self._end_shadow()
        self._trial = None
        if release is not None:
            self._rejects = RejectRate()

    def shadow(self, offer: Offer, running: Release | None) -> None:
        """A candidate shall judge beside the release that runs; or, without one in the offer, no longer."""
        self._end_shadow()
        if offer.release is None:
            return
        if running is None:
            self._deployer.post(ShadowDone(offer.rev))  # there is nothing to compare it with
            return
        self._memory_mb()
        self._offer = offer
        self._beside = Beside(
            Errand(offer.release, offer.shadow or ShadowPolicy(), offer.rollout, offer.rev),
            running,
            window=self._window,
            frames=self._grabber.frames,
            monotonic_s=self._clock.monotonic_s,
        )

    # One frame -------------------------------------------------------------------------------------------

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Around the inspection of a frame: a candidate on trial that never returns from it has failed."""
        if self._trial is None:
            yield
            return
        with self._watchdog.over(lambda reason: self._hung(TrialFailed(reason, self._rev))):
            yield

    def judged(self, inspection: Inspection) -> None:
        """A verdict is out."""
        self._hindered = False
        rejects, frame = inspection.verdict is Verdict.ANOMALY, inspection.frame
        if self._trial is not None:
            latency_ms = (self._clock.monotonic_s() - frame.captured_s) * 1000
            self._trial.judged(rejects=rejects, part=frame.part, latency_ms=latency_ms)
            self.look()
        elif self._rejects is not None:
            self._rejects.count(frame.part, rejects)

    def broke(self, error: Exception) -> None:
        """A frame could not be judged."""
        if self._trial is not None:
            self._trial.broke(str(error) or type(error).__name__)
            self._end_trial(self._trial)

    def hindered(self) -> None:
        """A frame could not be judged, by no fault of a release's."""
        self._hindered = True

    def follow(self, inspection: Inspection, raw_score: float) -> None:
        """Have a shadow judge the frame too, if there is one and it may."""
        beside, offer = self._beside, self._offer
        if beside is None or offer is None or offer.release is None:
            return
        if not beside.may_follow(inspection.frame, self._heat.allowance):
            return
        threshold = self._desk.settings_for(offer.release.manifest).threshold
        assert threshold is not None  # there is a manifest
        with self._watchdog.over(lambda reason: self._hung(ShadowFailed(reason, self._rev))):
            beside.follow(inspection, raw_score, threshold, self._desk.current.roi)

    # Between frames --------------------------------------------------------------------------------------

    def look(self) -> None:
        """Several times a second: whether trial or shadow have come to their end."""
        frames, camera = self._grabber.frames, self._grabber.state
        inspection = self._desk.current.inspection and not self._hindered
        if self._beside is not None:
            self._beside.look(frames=frames, camera=camera, inspection=inspection)
            if (ending := self._beside.ending) is not None:
                self._end_shadow()
                self._deployer.post(ending)
        if self._trial is not None:
            now_s = self._clock.monotonic_s()
            self._trial.look(now_s, frames=frames, camera=camera, inspection=inspection)
            self._end_trial(self._trial)
        if any(probation is not None and probation.paused for probation in (self._trial, self._beside)):
            self._deployer.hold()

    def felt(self) -> None:
        """Once a second: how the device fares."""
        temperature_c = self._heat.reading.temperature_c
        if self._trial is None and self._beside is None:
            if self._deployer.state.phase in RESTING:
                self._memory_before_mb = self._vitals.memory_mb()
            return
        if self._trial is not None:
            self._trial.felt(memory_mb=self._vitals.memory_mb(), temperature_c=temperature_c)
            self._end_trial(self._trial)
        if self._beside is not None:
            more_mb = self._vitals.memory_mb() - self._memory_mb()
            self._publish(self._beside.felt(memory_mb=more_mb, temperature_c=temperature_c))

    @property
    def _rev(self) -> int:
        assert self._offer is not None
        return self._offer.rev

    def _end_trial(self, trial: Trial) -> None:
        if not trial.over:
            return
        self._trial, self._rejects = None, trial.rejects
        self._deployer.post(TrialPassed(self._rev) if trial.passed else TrialFailed(trial.failure, self._rev))

    def _memory_mb(self) -> float:
        """What the agent took before the candidate came; now, if that was never looked at."""
        if self._memory_before_mb is None:
            self._memory_before_mb = self._vitals.memory_mb()
        return self._memory_before_mb

    def _end_shadow(self) -> None:
        beside, self._beside = self._beside, None
        if beside is not None:
            self._publish(beside.close())

    def _hung(self, event: ShadowFailed | TrialFailed) -> None:
        """On the watchdog's thread, before the process ends: have the deployer store it, so that the next start is
        without the candidate already. Where it cannot, its own bound on restarts ends the matter."""
        self._deployer.post(event)
        self._deployer.stop()

    def _publish(self, messages: list[Outgoing]) -> None:
        for message in messages:
            self._link.publish(message)
