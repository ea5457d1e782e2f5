"""Gates: may the rollout go on? Each answers open, wait or closed, and why, in a sentence. Pure.

Counting stations are small: a camera may see a hundred parts an hour. So a gate that compares rates closes only
where chance is a poor excuse, and says how many parts it has seen.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from kenpin_controller.rollouts.plan import ApprovalGate, Gates, HeatGate, RejectGate, ShadowGate
from kenpin_controller.rollouts.views import GateState, GateView
from kenpin_wire.shadow import ShadowReport

PSI_BINS = 10
_OPEN, _WAIT, _CLOSED = GateState.OPEN, GateState.WAIT, GateState.CLOSED


@dataclass(frozen=True, slots=True)
class Counts:
    """Parts judged, and how many of them were rejected."""

    parts: int = 0
    rejects: int = 0

    @property
    def rate(self) -> float:
        return self.rejects / self.parts if self.parts else 0.0

    def __str__(self) -> str:
        return f"{self.rejects} of {self.parts}"


@dataclass(frozen=True, slots=True)
class CameraCounts:
    """A camera since its switch and before, and its siblings: cameras of its line that have not switched, over
    the same times."""

    now: Counts = Counts()
    before: Counts = Counts()
    siblings_now: Counts = Counts()
    siblings_before: Counts = Counts()


@dataclass(frozen=True, slots=True)
class Verdicts:
    """What people said of the disagreement frames."""

    new: int = 0
    old: int = 0
    open: int = 0


@dataclass(frozen=True, slots=True)
class Evidence:
    """What was measured, by device."""

    cameras: Mapping[str, CameraCounts] = field(default_factory=dict)
    peaks_c: Mapping[str, float] = field(default_factory=dict)
    throttled: frozenset[str] = frozenset()
    reports: Mapping[str, ShadowReport] = field(default_factory=dict)
    verdicts: Verdicts = Verdicts()


@dataclass(frozen=True, slots=True)
class Tally:
    """How many devices are done, failed, or may still become either; of all waves so far, and done in this one."""

    done: int
    failed: int
    pending: int
    done_here: int
    size_here: int


def success(gates: Gates, tally: Tally, *, wave_over: bool) -> GateView:
    """Whether enough of the devices so far have committed. Closed as soon as that cannot come about any more."""
    ended = tally.done + tally.failed
    possible = ended + tally.pending
    needed = min(gates.min_success, max(1, tally.size_here))
    if possible and tally.failed and (tally.done + tally.pending) / possible < gates.success:
        return _view(
            "success", _CLOSED, f"{tally.failed} of {possible} failed; {gates.success:.0%} must succeed"
        )
    if not wave_over:
        return _view("success", _WAIT, f"{tally.done} done, {tally.pending} to come")
    if tally.done_here < needed:
        return _view("success", _WAIT, f"{tally.done_here} of this wave have it, and {needed} must")
    if tally.done < gates.success * ended:
        return _view("success", _WAIT, f"{tally.done} of {ended} succeeded; {gates.success:.0%} must")
    return _view("success", _OPEN, f"{tally.done} of {ended} succeeded")


def soak(gates: Gates, last_switch_s: float | None, now_s: float) -> GateView:
    """Whether the wave was watched for long enough."""
    if gates.soak_s == 0 or last_switch_s is None:
        return _view("soak", _OPEN, "no time of watching was asked for")
    left_s = last_switch_s + gates.soak_s - now_s
    if left_s > 0:
        return _view("soak", _WAIT, f"watched for another {math.ceil(left_s)} s")
    return _view("soak", _OPEN, f"watched for {gates.soak_s:g} s")


def reject_rate(gate: RejectGate, cameras: Mapping[str, CameraCounts | None]) -> GateView:
    """Whether any camera rejects clearly more since its switch.

    A camera is suspected if its rate rose by `min_rise`, and beyond chance: against its own before by Fisher's exact
    test and, where its siblings tell how the parts changed meanwhile, by the difference of the two rises
    (normal approximation with Agresti and Caffo's added counts). Without a before, against its siblings now.
    `alpha` is shared between the cameras (Bonferroni). A camera that was not measured yet (None) is waited for.
    """
    if not cameras:
        return _view("reject rate", _OPEN, "no camera has switched yet")
    alpha = gate.alpha / len(cameras)
    short: list[str] = []
    compared = 0
    for name in sorted(cameras):
        counts = cameras[name]
        if counts is None:
            short.append(f"{name} has not been measured yet")
            continue
        enough = counts.now.parts >= gate.min_parts
        reference = _reference(gate, counts)
        if reference is None:
            continue
        compared += 1
        if not enough:
            short.append(f"{name} has judged {counts.now.parts} of {gate.min_parts} parts")
        elif _suspect(gate, counts, alpha):
            return _view(
                "reject rate",
                _CLOSED,
                f"{name} rejects {counts.now} parts since its switch, {reference}",
            )
    if short:
        more = f", and {len(short) - 1} more wait for parts" if len(short) > 1 else ""
        return _view("reject rate", _WAIT, short[0] + more)
    if not compared:
        return _view("reject rate", _OPEN, "there is nothing to compare with: no parts before, none beside")
    return _view("reject rate", _OPEN, f"no camera of {compared} rejects clearly more than before")


def heat(gate: HeatGate, peaks_c: Mapping[str, float], throttled: frozenset[str]) -> GateView:
    """Whether the boards stay cool."""
    if throttled and not gate.throttling:
        return _view("heat", _CLOSED, f"the firmware slows {min(throttled)} down")
    if not peaks_c:
        return _view("heat", _OPEN, "no board has told its temperature since the switch")
    name = max(sorted(peaks_c), key=lambda device: peaks_c[device])
    if peaks_c[name] > gate.max_c:
        return _view("heat", _CLOSED, f"{name} reached {peaks_c[name]:.0f} °C, limit {gate.max_c:g} °C")
    return _view("heat", _OPEN, f"the hottest, {name}, reached {peaks_c[name]:.0f} °C")


def shadow(gate: ShadowGate, report: ShadowReport | None) -> GateView:
    """Whether the candidate may take over on the device that reports.

    Two samples of n frames show a Kolmogorov-Smirnov distance of 1.63 √(2/n), and a population-stability index of
    χ²₀.₉₉(9) · 2/n (Yurdakul 2018), once in a hundred by chance; less than these closes nothing. Rejects are
    compared on the same frames, by McNemar's exact test.
    """
    if report is None or not report.finished:
        seen = f"{report.frames} of {report.wanted} frames" if report is not None else "no frame"
        return _view("shadow", _WAIT, f"{seen} judged beside the release that runs")
    n = report.frames
    if n < gate.min_frames:
        return _view("shadow", _CLOSED, f"it ended with {n} frames, {gate.min_frames} are needed")
    more = (report.only_candidate - report.only_incumbent) / n
    by_chance = binomial_tail(report.only_candidate, report.only_candidate + report.only_incumbent, 0.5)
    if more > gate.max_more_rejects and by_chance < 0.01:
        return _view(
            "shadow",
            _CLOSED,
            f"it alone rejects {report.only_candidate} of {n} frames, the other alone {report.only_incumbent}",
        )
    if report.ks > max(gate.max_ks, 1.63 * math.sqrt(2 / n)):
        return _view(
            "shadow", _CLOSED, f"its scores lie otherwise: KS {report.ks:.2f}, limit {gate.max_ks:g}"
        )
    if report.psi > max(gate.max_psi, _CHI2_99_9 * 2 / n):
        return _view(
            "shadow", _CLOSED, f"its scores lie otherwise: PSI {report.psi:.2f}, limit {gate.max_psi:g}"
        )
    late_ms = report.candidate.latency_p95_ms
    if gate.max_latency_ms is not None and late_ms > gate.max_latency_ms:
        return _view(
            "shadow", _CLOSED, f"its verdicts take {late_ms:.0f} ms, limit {gate.max_latency_ms:g} ms"
        )
    if gate.max_c is not None and report.peak_c is not None and report.peak_c > gate.max_c:
        return _view("shadow", _CLOSED, f"the board reached {report.peak_c:.0f} °C, limit {gate.max_c:g} °C")
    return _view("shadow", _OPEN, f"{report.agree:.0%} of {n} frames judged alike, KS {report.ks:.2f}")


def approval(gate: ApprovalGate, verdicts: Verdicts, *, approved_by: str) -> GateView:
    """Whether a person said yes: in a word, or frame by frame."""
    if approved_by:
        return _view("approval", _OPEN, f"approved by {approved_by}")
    judged = verdicts.new + verdicts.old
    if not judged and not verdicts.open:
        return _view("approval", _WAIT, "a person must approve the next wave")
    said = f"new is right in {verdicts.new} of {judged} judged disagreements"
    if verdicts.open:
        return _view("approval", _WAIT, f"{said}, {verdicts.open} to be judged")
    if verdicts.new >= gate.verdicts_share * judged:
        return _view("approval", _OPEN, said)
    return _view("approval", _WAIT, f"{said}, too few to go on: approve or abort")


def binomial_tail(k: int, n: int, p: float) -> float:
    """The probability of k or more of n."""
    return (
        min(1.0, math.fsum(math.comb(n, i) * p**i * (1 - p) ** (n - i) for i in range(k, n + 1)))
        if (n <= 1000)
        else _normal_tail((k - 0.5 - n * p) / math.sqrt(n * p * (1 - p)))
    )


def fisher_tail(a: Counts, b: Counts) -> float:
    """Fisher's exact test, one-sided: how likely a would have so many rejects or more, were both rates the same."""
    rejects, parts = a.rejects + b.rejects, a.parts + b.parts
    whole = _log_choose(parts, rejects)
    most = min(rejects, a.parts)
    terms = (
        math.exp(_log_choose(a.parts, k) + _log_choose(b.parts, rejects - k) - whole)
        for k in range(a.rejects, most + 1)
    )
    return min(1.0, math.fsum(terms))


_CHI2_99_9 = 21.67


def _view(name: str, state: GateState, sentence: str) -> GateView:
    return GateView(name, state, f"{sentence[0].upper()}{sentence[1:]}.")


def _reference(gate: RejectGate, counts: CameraCounts) -> str | None:
    """What a camera is compared with, in words; None if there is nothing."""
    if counts.before.parts >= gate.min_parts:
        beside = f"; its siblings {counts.siblings_now}" if counts.siblings_now.parts else ""
        return f"{counts.before} before{beside}"
    if counts.siblings_now.parts >= gate.min_parts:
        return f"its siblings {counts.siblings_now}"
    return None


def _suspect(gate: RejectGate, counts: CameraCounts, alpha: float) -> bool:
    own = counts.before.parts >= gate.min_parts
    beside = counts.siblings_now.parts >= gate.min_parts
    reference = counts.before if own else counts.siblings_now
    if counts.now.rate - reference.rate < gate.min_rise or fisher_tail(counts.now, reference) >= alpha:
        return False
    if own and beside and counts.siblings_before.parts >= gate.min_parts:
        return _rise_tail(counts) < alpha
    return True


def _rise_tail(counts: CameraCounts) -> float:
    """How likely the camera's rate would rise so much more than its siblings' did, by chance."""

    def moments(one: Counts) -> tuple[float, float]:
        rate = (one.rejects + 1) / (one.parts + 2)
        return rate, rate * (1 - rate) / (one.parts + 2)

    (now, v1), (before, v2) = moments(counts.now), moments(counts.before)
    (beside, v3), (beside_before, v4) = moments(counts.siblings_now), moments(counts.siblings_before)
    rise = (now - before) - (beside - beside_before)
    return _normal_tail(rise / math.sqrt(v1 + v2 + v3 + v4))


def _normal_tail(z: float) -> float:
    return 0.5 * math.erfc(z / math.sqrt(2))


def _log_choose(n: int, k: int) -> float:
    return math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)
