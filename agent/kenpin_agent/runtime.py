"""The agent: the parts put together, and the loop that the sentence runs in.

Three threads share the work: the grabber waits for the camera, paho's thread for the network, and this loop
inspects. Two more sleep mostly: the deployer, unless a release is on its way, and the watchdog, unless a candidate
is tried. The loop owns the release and the judge; what others want of it they leave where it looks between two
frames.
"""

from __future__ import annotations

import logging
import threading
from collections import deque

from kenpin_agent.commands import Commands
from kenpin_agent.deployment.deployer import Deployer
from kenpin_agent.deployment.events import Activated
from kenpin_agent.deployment.switch import Role, Switch
from kenpin_agent.grabber import Grabber
from kenpin_agent.heat import HeatWatch
from kenpin_agent.inspect import Inspection, inspect
from kenpin_agent.judge import Judge, JudgeState
from kenpin_agent.probation import Probation
from kenpin_agent.release import Release
from kenpin_agent.reporting import Reporter
from kenpin_agent.seams import Clock, Frame, Incoming, Link, Outgoing
from kenpin_agent.settings_desk import SettingsDesk
from kenpin_agent.telemetry import Vitals
from kenpin_agent.watchdog import Watchdog
from kenpin_wire.errors import ConfigError
from kenpin_wire.messages import CameraState, Command, DesiredConfig, DesiredRelease, Telemetry, Verdict
from kenpin_wire.topics import Channel

log = logging.getLogger(__name__)

TELEMETRY_EVERY_S = 10.0
_LOOK_UP_S = 0.2  # how long the loop waits for a frame before it looks at everything else
_ERRORS_EVERY_S = 10.0
_LONGEST_REST_S = 5.0


class Agent:
    """One device at work.

    Every part comes from outside (`kenpin_agent.assembly` puts the real ones together), so that a test can
    run this very loop with any of them replaced.
    """

    def __init__(
        self,
        *,
        grabber: Grabber,
        link: Link,
        deployer: Deployer,
        switch: Switch,
        desk: SettingsDesk,
        heat: HeatWatch,
        reporter: Reporter,
        vitals: Vitals,
        clock: Clock,
        watchdog: Watchdog,
        window: int,
    ) -> None:
        self._grabber = grabber
        self._link = link
        self._deployer = deployer
        self._switch = switch
        self._desk = desk
        self._heat = heat
        self._reporter = reporter
        self._vitals = vitals
        self._clock = clock
        self._watchdog = watchdog
        self._window = window
        self._commands = Commands(link)
        self._probation = Probation(
            deployer=deployer,
            link=link,
            grabber=grabber,
            desk=desk,
            heat=heat,
            vitals=vitals,
            clock=clock,
            watchdog=watchdog,
            window=window,
        )
        self._release: Release | None = None
        self._judge: JudgeState = JudgeState()
        self._good_parts = 0
        self._began_s = clock.monotonic_s()
        self._verdicts_s: deque[float] = deque(maxlen=100)
        self._told_s = float("-inf")
        self._told: tuple[object, ...] = ()
        self._complained_s = float("-inf")

    def run(self, stop: threading.Event) -> None:
        """Inspect until `stop` is set. Returns with everything closed."""
        self._link.on_message(self._on_message)
        self._settle(self._deployer.load_committed())
        self._watchdog.start()
        self._grabber.start()
        self._link.start()
        self._deployer.start()
        try:
            while not stop.is_set():
                self._take_over()
                self._probation.look()
                if self._heat.tick():
                    self._probation.felt()
                    self._tell_telemetry()
                    # A second's roll-up must not wait for the next frame, which may never come.
                    self._publish(self._reporter.flush(until_s=int(self._clock.wall_s())))
                if self._commands.snapshot_wanted and (why := self._why_no_frame()):
                    self._publish(self._commands.refuse(why))
                if self._release is None or not self._desk.current.inspection or self._grabber.ended:
                    self._clock.wait(stop, _LOOK_UP_S)
                    continue
                frame = self._grabber.take(_LOOK_UP_S)
                if frame is not None:
                    rest_s = self._heat.worked(self._inspect(frame, self._release))
                    if rest_s > 0:
                        self._clock.wait(stop, min(rest_s, _LONGEST_REST_S))
        finally:
            self._watchdog.stop()
            self._grabber.stop()
            self._deployer.stop()
            self._publish(self._reporter.flush())
            self._link.stop()

    # One frame -------------------------------------------------------------------------------------------

    def _inspect(self, frame: Frame, release: Release) -> float:
        """Inspect and report, then let a shadow have its turn; returns the seconds it took. An error in it never
        ends the loop."""
        began_s = self._clock.monotonic_s()
        try:
            with self._probation.watched():
                inspection = self._judge_frame(frame, release)
        except ConfigError as error:  # a region outside the picture, say: no fault of a candidate's
            self._probation.hindered()
            self._complain(error)
        except Exception as error:  # noqa: BLE001  the line goes on whatever one frame or release brings
            self._probation.broke(error)
            self._complain(error)
        else:
            self._verdicts_s.append(self._clock.monotonic_s())
            self._probation.judged(inspection)
            self._probation.follow(inspection, self._judge.scores[-1])
        return self._clock.monotonic_s() - began_s

    def _judge_frame(self, frame: Frame, release: Release) -> Inspection:
        settings, allowance = self._desk.current, self._heat.allowance
        assert settings.threshold is not None  # there is a release
        asked = self._commands.snapshot_wanted

        def wanted(verdict: Verdict) -> bool:
            if verdict is Verdict.ANOMALY:
                return self._reporter.begins_event(verdict, frame.part) or asked
            every = settings.heatmap_every
            return asked or bool(every and allowance.heatmaps and self._good_parts % every == every - 1)

        self._judge, inspection = inspect(
            frame,
            release,
            self._judge,
            Judge(settings.threshold, self._window),
            wanted=wanted,
            roi=settings.roi,
            monotonic_s=self._clock.monotonic_s,
        )
        self._good_parts += inspection.verdict is Verdict.NORMAL
        self._publish(self._reporter.report(inspection, wall_s=self._clock.wall_s()))
        self._publish(self._commands.answer(inspection))
        return inspection

    def _complain(self, error: Exception) -> None:
        now_s = self._clock.monotonic_s()
        if now_s - self._complained_s >= _ERRORS_EVERY_S:
            self._complained_s = now_s
            log.error("a frame could not be judged: %s: %s", type(error).__name__, error)

    # Between frames --------------------------------------------------------------------------------------

    def _take_over(self) -> None:
        """Switch to the release that the deployer offers, if it does, or let one shadow."""
        while (offer := self._switch.take()) is not None:
            match offer.role:
                case Role.COMMITTED:
                    self._settle(offer.release)
                case Role.TRIAL:
                    self._run_release(offer.release)
                    self._probation.began(offer)
                    self._deployer.post(Activated(offer.rev))
                case Role.SHADOW:
                    self._probation.shadow(offer, self._release)

    def _settle(self, release: Release | None) -> None:
        self._run_release(release)
        self._probation.settled(release)

    def _run_release(self, release: Release | None) -> None:
        self._publish(self._reporter.flush())
        self._release = release
        self._judge = JudgeState()
        self._desk.release_changed(release.manifest if release else None)
        self._told = ()

    def _why_no_frame(self) -> str:
        """Why no frame will be inspected now, for a person; empty if one will."""
        if self._release is None:
            return "no release runs yet"
        if not self._desk.current.inspection:
            return "inspection is switched off"
        if self._grabber.state is CameraState.LOST:
            return f"the camera is lost: {self._grabber.detail}"
        return "the camera's pictures have ended" if self._grabber.ended else ""

    def _tell_telemetry(self) -> None:
        """Every ten seconds, and at once when something a person would act on has changed."""
        now_s = self._clock.monotonic_s()
        message = self._telemetry(now_s)
        said = (
            message.camera,
            message.camera_detail,
            message.throttle_bits,
            round(message.allowance, 1),
            message.fps > 0,
        )
        if said == self._told and now_s - self._told_s < TELEMETRY_EVERY_S:
            return
        self._told, self._told_s = said, now_s
        self._link.publish(Outgoing(Channel.TELEMETRY, message))

    def _telemetry(self, now_s: float) -> Telemetry:
        heat, grabber, times = self._heat, self._grabber, self._verdicts_s
        recent = [s for s in times if now_s - s <= TELEMETRY_EVERY_S]
        span_s = now_s - recent[0] if len(recent) > 1 else 0.0
        return Telemetry(
            temperature_c=heat.reading.temperature_c,
            throttle_bits=heat.reading.throttle_bits,
            fps=round((len(recent) - 1) / span_s, 2) if span_s > 1 else 0.0,  # of less, no rate can be told
            allowance=round(heat.allowance.rate, 3),
            reason=heat.allowance.reason,
            camera=grabber.state,
            camera_detail=grabber.detail,
            frames=grabber.frames,
            dropped=grabber.dropped,
            memory_mb=self._vitals.memory_mb(),
            disk_free_mb=self._vitals.disk_free_mb(),
            outbox=self._link.outbox_depth,
            uptime_s=round(now_s - self._began_s, 1),
            rejected_messages=self._link.rejected_messages,
        )

    def _publish(self, messages: list[Outgoing]) -> None:
        for message in messages:
            self._link.publish(message)

    # The link's thread -----------------------------------------------------------------------------------

    def _on_message(self, message: Incoming) -> None:
        match message.payload:
            case DesiredConfig() as wish:
                self._desk.wish(wish, whole_line=message.whole_line, anew=message.anew)
            case DesiredRelease() as order:
                self._deployer.order(order, anew=message.anew)
            case Command() as command:
                self._commands.take(message.argument, command)
            case bytes() as payload if message.channel is Channel.SET_BLOB:
                self._deployer.block_came(message.argument, payload)
