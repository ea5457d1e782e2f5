"""A device that answers orders as an agent does, over a test's own connection."""

from __future__ import annotations

import threading

from kenpin_wire.messages import Decision, DesiredRelease, ReleaseName, ReportedConfig, ReportedRelease
from kenpin_wire.shadow import ShadowReport
from kenpin_wire.topics import Channel

OLD, NEW = ReleaseName(name="metal", version="1"), ReleaseName(name="metal", version="2")


class Obedient:
    """Answers orders as an agent does, on a thread of its own. `fails` is the phase in which a new release ends."""

    def __init__(self, agent, *, fails: str = "") -> None:
        self.agent, self.fails = agent, fails
        self.runs, self.previous = OLD, None
        self.switched_to: list[str] = []
        self.config_rev = 0
        self.orders: list[DesiredRelease] = []
        self._seq, self._stop, self._answered = 100, threading.Event(), 0
        self.say(0, OLD, "committed")
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def say(self, rev, about, phase, reason=""):
        self._seq += 1
        report = ReportedRelease(
            rev=rev,
            installed=self.runs,
            previous=self.previous,
            latest=about,
            phase=phase,
            reason=reason,
            boot=1,
            seq=self._seq,
        )
        self.agent.say(Channel.REPORTED_RELEASE, report)

    def shadow(self, **fields):
        order = self.agent.of(Channel.SET_RELEASE)[-1]
        self._seq += 1
        report = ShadowReport(
            rollout=order.rollout, rev=order.rev, frames=300, wanted=300, finished=True, boot=1, seq=self._seq
        ).model_copy(update=fields)
        self.agent.say(Channel.REPORTED_SHADOW, report)

    def stop(self):
        self._stop.set()
        self._thread.join(5)

    def _run(self):
        while not self._stop.wait(0.02):
            heard = self.agent.of(Channel.SET_RELEASE)
            for order in heard[self._answered :]:
                if (
                    not self.orders or order.rev > self.orders[-1].rev
                ):  # the broker says what it retains again
                    self.orders.append(order)
                    self._answer(order)
            self._answered = len(heard)
            configs = self.agent.of(Channel.SET_CONFIG)
            if configs and configs[-1].rev != self.config_rev:
                self.config_rev = configs[-1].rev
                self._seq += 1
                self.agent.say(
                    Channel.REPORTED_CONFIG, ReportedConfig(rev=self.config_rev, boot=1, seq=self._seq)
                )

    def _answer(self, order):
        if order.decision == Decision.CANCEL and order.release == self.runs:
            return None  # nothing of it is on its way: refused
        if order.decision == Decision.CANCEL:
            return self.say(order.rev, order.release, "cancelled", "cancelled by an order")
        waits = order.policy.approval and order.decision == Decision.INSTALL and order.release != self.runs
        if waits:
            return self.say(order.rev, order.release, "staged")
        if order.release == NEW and self.fails:
            return self.say(order.rev, order.release, self.fails, "late verdicts")
        if order.release != self.runs:
            self.previous, self.runs = self.runs, order.release
            self.switched_to.append(str(order.release))
        return self.say(order.rev, order.release, "committed")
