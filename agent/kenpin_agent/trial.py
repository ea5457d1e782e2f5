"""What a candidate must stand once it runs. Pure: time and readings are the caller's.

It is judged by its own live verdicts, never by whether a broker is there. What was so before the switch is not held
against it: heat, a camera that is lost, inspection switched off. Each failure is a sentence that a person can act on.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass

from kenpin_agent.live_time import LONGEST_PAUSE_S, LiveTime
from kenpin_wire.messages import CameraState, TrialPolicy

ALPHA = 0.001
"""How seldom a candidate that rejects just as many as it may is failed for it, each time that this is asked."""
FEWEST_VERDICTS = 20
"""Rates are told from so many on; it is asked at 20, 40, 80, ... verdicts, and at the end."""
LATE_SHARE = 0.1
TIMES_AS_MANY, LEAST_RATE = 3.0, 0.2
"""Without a rate in the policy, a candidate may reject three times as much as the release before it, or a fifth."""
READINGS_IN_A_ROW = 3
"""A reading a second; one that is off for a moment says nothing."""
HOTTER_C = 2.0
"""Above the reading at the switch: less is the sensor's, and the line's, own unrest."""
SILENT_S, SILENT_FRAMES = 30.0, 10
RECENT_VERDICTS = 1000


class RejectRate:
    """The share of rejects among the last `RECENT_VERDICTS`: of named parts each once, else of frames.

    A part that is seen in many frames would otherwise count as many times as it was slow.

    """

    def __init__(self) -> None:
        self._verdicts: deque[bool] = deque(maxlen=RECENT_VERDICTS)
        self._part: str | None = None

    @property
    def n(self) -> int:
        return len(self._verdicts)

    @property
    def rejects(self) -> int:
        return sum(self._verdicts)

    @property
    def rate(self) -> float:
        """0 without verdicts."""
        return self.rejects / self.n if self.n else 0.0

    def count(self, part: str | None, rejects: bool) -> None:
        if part is not None and part == self._part and self._verdicts:
            self._verdicts[-1] |= rejects
        else:
            self._verdicts.append(rejects)
        self._part = part


@dataclass(frozen=True, slots=True)
class Before:
    """How it was before the candidate.

    Attributes:
        reject_rate: Of the release that ran, over its last verdicts; None if none ran.
        memory_mb: The agent's.
        temperature_c: At the switch; None without a sensor.
        limit_c: The board's.
    """

    reject_rate: float | None = None
    memory_mb: float = 0.0
    temperature_c: float | None = None
    limit_c: float = 85.0


class Trial:
    """One candidate's trial: feed it, and ask `passed` and `failure` after each.

    Once either is told, it stays.

    Args:
        now_s: The monotonic clock at the switch.
        frames: What the camera had given by then.

    Attributes:
        rejects: Of its verdicts; what the next candidate is compared with, if it passes.
    """

    def __init__(self, policy: TrialPolicy, before: Before, *, now_s: float, frames: int) -> None:
        self.passed = False
        self.failure = ""
        self._policy = policy
        self._before = before
        self._time = LiveTime(now_s, frames)
        self._frames = self._judged_at = frames
        self._judged_live_s = 0.0
        self._verdicts = self._late = 0
        self.rejects = RejectRate()
        self._ask_at = FEWEST_VERDICTS
        self._hot = self._large = 0

    @property
    def over(self) -> bool:
        return self.passed or bool(self.failure)

    @property
    def paused(self) -> bool:
        """Whether its time stands still."""
        return self._time.paused

    def judged(self, *, rejects: bool, part: str | None, latency_ms: float) -> None:
        """It has judged a frame.

        Args:
            part: The part's name, if the camera knows it.
            latency_ms: From the frame's capture to its verdict.
        """
        self._verdicts += 1
        self._late += self._policy.late_ms is not None and latency_ms > self._policy.late_ms
        self.rejects.count(part, rejects)
        self._judged_at, self._judged_live_s = self._frames, self._time.live_s
        if self._verdicts >= self._ask_at:
            self._ask_at *= 2
            self._ask_rates()

    def broke(self, error: str) -> None:
        """It could not judge a frame."""
        self._fail(f"it failed on a live frame: {error}")

    def look(self, now_s: float, *, frames: int, camera: CameraState, inspection: bool) -> None:
        """Several times a second: how the line stands.

        Args:
            frames: What the camera has given by now.
            inspection: Whether frames can be judged: it is on, and no setting is in the way.
        """
        self._time.look(now_s, frames=frames, camera=camera, inspection=inspection)
        if not inspection:
            self._judged_at, self._judged_live_s = frames, self._time.live_s
        self._frames = frames
        if self.over:
            return
        policy, live_s = self._policy, self._time.live_s
        silent_s, unjudged = live_s - self._judged_live_s, frames - self._judged_at
        if self._verdicts >= policy.frames and live_s >= policy.min_s and not self._suspicious:
            self._ask_rates()
            self.passed = not self.failure
        elif silent_s >= SILENT_S and unjudged >= SILENT_FRAMES:
            self._fail(f"{unjudged} frames came in {silent_s:.0f} s, and it judged none of them")
        elif live_s >= policy.max_s:
            self._end_late()
        elif self._time.over:
            days = LONGEST_PAUSE_S / 86_400
            self._fail(
                f"the camera gave nothing or inspection was off for {days:.0f} days, so it could not be tried; "
                "order it again when the line runs"
            )

    def felt(self, *, memory_mb: float, temperature_c: float | None) -> None:
        """Once a second: how the device fares."""
        before, policy = self._before, self._policy
        more_mb = memory_mb - before.memory_mb
        self._large = self._large + 1 if policy.memory_mb is not None and more_mb > policy.memory_mb else 0
        limit_c = before.limit_c if policy.max_c is None else policy.max_c
        start_c = before.temperature_c
        hot = temperature_c is not None and temperature_c > limit_c
        if hot and start_c is not None and temperature_c is not None:
            hot = temperature_c > start_c + HOTTER_C
        self._hot = self._hot + 1 if hot else 0
        if self._large >= READINGS_IN_A_ROW:
            self._fail(
                f"the agent took {more_mb:.0f} MB more memory with it, and {policy.memory_mb:.0f} MB are allowed"
            )
        if self._hot >= READINGS_IN_A_ROW:
            since = f", from {start_c:.1f} °C at the switch" if start_c is not None else ""
            self._fail(
                f"the board reached {temperature_c:.1f} °C with it{since}; its limit is {limit_c:g} °C"
            )

    @property
    def _allowed_rate(self) -> float | None:
        """The share that it may reject; None if nothing is known to compare with."""
        if self._policy.reject_rate is not None:
            return self._policy.reject_rate
        rate = self._before.reject_rate
        return None if rate is None else min(1.0, max(TIMES_AS_MANY * rate, LEAST_RATE))

    @property
    def _suspicious(self) -> bool:
        """Whether more verdicts are to be seen before it passes, though it has enough: it has few, and too many of
        them are rejects or late."""
        allowed, rate = self._allowed_rate, self.rejects
        late = self._verdicts < FEWEST_VERDICTS and self._late > LATE_SHARE * self._verdicts
        return late or (rate.n < FEWEST_VERDICTS and allowed is not None and rate.rate > allowed)

    def _ask_rates(self) -> None:
        if self._late > LATE_SHARE * self._verdicts:
            self._fail(
                f"{self._late} of {self._verdicts} verdicts came later than {self._policy.late_ms:g} ms after "
                "their frames; it is too slow for this device"
            )
        allowed, rate = self._allowed_rate, self.rejects
        if allowed is not None and binomial_tail(rate.rejects, rate.n, allowed) < ALPHA:
            compared = ""
            if self._policy.reject_rate is None and self._before.reject_rate is not None:
                compared = f"; the release before it rejected {self._before.reject_rate:.0%}"
            self._fail(
                f"reject-rate explosion: it rejects {rate.rate:.0%} ({rate.rejects} of {rate.n}) where "
                f"{allowed:.0%} are allowed{compared}"
            )

    def _end_late(self) -> None:
        policy = self._policy
        if self._verdicts >= policy.frames and self._time.live_s >= policy.min_s:
            self._ask_rates()
            self.passed = not self.failure
        elif self._verdicts >= policy.frames:
            self._fail(
                f"its trial may last {policy.max_s:g} s, and must last {policy.min_s:g} s; correct the order"
            )
        else:
            self._fail(
                f"it judged {self._verdicts} frames in {policy.max_s:g} s of its trial, and {policy.frames} are "
                "wanted; give it longer, or ask for fewer frames"
            )

    def _fail(self, reason: str) -> None:
        if not self.over:
            self.failure = reason


def binomial_tail(k: int, n: int, p: float) -> float:
    """The probability of k or more hits in n independent tries with chance p each.

    Summed from k up, term by term, until nothing is added; 1 where k is no more than is to be expected, which is all
    that a one-sided test need know there.
    """
    if k <= n * p:
        return 1.0
    if p <= 0:
        return 0.0
    log_term = math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)
    log_term += k * math.log(p) + ((n - k) * math.log1p(-p) if k < n else 0.0)
    term = total = math.exp(log_term)
    for hits in range(k + 1, n + 1):
        term *= (n - hits + 1) / hits * p / (1 - p)
        total += term
        if term < 1e-12 * total:
            break
    return min(1.0, total)
