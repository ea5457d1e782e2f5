"""What the runner does at each phase: what it offers to the loop, whom it asks, what it reports, and when it gives up.

Step by step in the test's own thread, on a simulated disk; `test_deployer` runs the real thing."""

from __future__ import annotations

import random
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from kenpin_agent.deployment.deadline import HELD_S, MARGIN_S
from kenpin_agent.deployment.deployer import Deployer
from kenpin_agent.deployment.events import (
    Activated,
    Event,
    ShadowDone,
    ShadowFailed,
    TrialFailed,
    TrialPassed,
)
from kenpin_agent.deployment.slots import Slots
from kenpin_agent.deployment.state import MAX_CHECKS, Slot
from kenpin_agent.deployment.switch import Offer, Role, Switch
from kenpin_agent.testing.clock import FakeClock
from kenpin_agent.testing.link import FakeLink
from kenpin_wire.blocks import Block, pack_block
from kenpin_wire.errors import RepositoryAwayError, TrustError
from kenpin_wire.messages import (
    BlockRequest,
    Decision,
    DesiredRelease,
    Phase,
    Policy,
    ReportedRelease,
    ShadowPolicy,
    TrialPolicy,
)
from kenpin_wire.topics import Channel
from support.sim_device import File, SimLoader
from support.sim_disk import Faults, SimDisk

ONE, TWO, THREE = File("1"), File("2"), File("3")
SHADOW = ShadowPolicy(frames=50, max_s=600.0)


class Check:
    """A site's signatures, in the test's hands."""

    def __init__(self) -> None:
        self.asked = 0
        self.error: Exception | None = None

    def check(self, order: DesiredRelease) -> None:
        self.asked += 1
        if self.error:
            raise self.error


class Device:
    """A deployer that is stepped, with a controller that serves every block at once."""

    def __init__(self, disk: SimDisk | None = None, check: Check | None = None) -> None:
        self.disk = disk or SimDisk(Faults(), random.Random(0))
        self.link, self.clock, self.switch = FakeLink(), FakeClock(), Switch()
        self.link.start()
        self.deployer = Deployer(
            Slots(Path("/device"), self.disk),
            self.link,
            self.clock,
            self.switch,
            threads=1,
            check=check,
            loader=SimLoader(self.disk),
        )
        self.started_with = self.deployer.load_committed()
        self._read = 0
        self.files = {file.sha256: file for file in (ONE, TWO, THREE)}
        self.settle()

    def settle(self) -> None:
        """Until nothing moves without time, the loop or the controller."""
        for _ in range(400):
            self.deployer.step()
            for message in self.link.published[self._read :]:
                request = message.payload
                if isinstance(request, BlockRequest) and request.sha256 in self.files:
                    self._answer(request)
            self._read = len(self.link.published)

    def _answer(self, request: BlockRequest) -> None:
        data = self.files[request.sha256].data
        for index in range(request.start, request.start + request.count):
            chunk = data[index * request.block_size :][: request.block_size]
            self.deployer.block_came(request.sha256, pack_block(Block(index, chunk)))

    def order(
        self, file: File, rev: int, policy: Policy | None = None, decision: Decision = Decision.INSTALL
    ) -> None:
        self.deployer.order(file.order(rev, policy or Policy(), decision))
        self.settle()

    def say(self, *events: Event) -> None:
        for event in events:
            self.deployer.post(event)
        self.settle()

    def install(self, file: File, rev: int) -> None:
        self.order(file, rev)
        self.say(Activated(rev), TrialPassed(rev))
        assert self.phase is Phase.COMMITTED

    def wait(self, seconds: float, *, held: bool = False) -> None:
        for _ in range(int(seconds)):
            self.clock.advance(1.0)
            if held:
                self.deployer.hold()
            self.deployer.step()

    def offers(self) -> list[Offer]:
        taken = []
        while (offer := self.switch.take()) is not None:
            taken.append(offer)
        return taken

    @property
    def phase(self) -> Phase:
        return self.deployer.state.phase

    @property
    def report(self) -> ReportedRelease:
        payload = self.link.of(Channel.REPORTED_RELEASE)[-1].payload
        assert isinstance(payload, ReportedRelease)
        return payload

    def requests(self) -> int:
        return len(self.link.of(Channel.BLOB_REQ))


@pytest.fixture
def device() -> Device:
    """Release 1 runs."""
    device = Device()
    device.install(ONE, 1)
    device.offers()
    return device


def version(offer: Offer) -> Any:
    release: Any = offer.release
    return release.version if release else None


# What is offered --------------------------------------------------------------------------------------------


def test_a_candidate_shadows_waits_for_approval_and_is_tried(device: Device) -> None:
    policy = Policy(shadow=SHADOW, approval=True, trial=TrialPolicy(frames=7))
    device.order(TWO, 2, policy)
    (offer,) = device.offers()
    assert (version(offer), offer.role, offer.shadow, offer.rev) == ("2", Role.SHADOW, SHADOW, 2)
    device.say(ShadowDone(2))
    assert (device.phase, device.report.phase, device.report.percent) == (Phase.STAGED, "staged", 100.0)
    assert [(version(o), o.role) for o in device.offers()] == [(None, Role.SHADOW)]
    requests = device.requests()
    device.order(TWO, 3, policy, Decision.ACTIVATE)
    (offer,) = device.offers()
    assert (version(offer), offer.role, offer.trial, offer.rev) == ("2", Role.TRIAL, TrialPolicy(frames=7), 3)
    device.say(Activated(3), TrialPassed(3))
    assert (str(device.report.installed), str(device.report.previous)) == ("part-2", "part-1")
    assert device.requests() == requests


def test_the_way_back_is_taken_from_the_other_slot_without_the_controller(device: Device) -> None:
    device.install(TWO, 2)
    device.offers()
    requests = device.requests()
    device.order(ONE, 3)
    (offer,) = device.offers()
    assert (version(offer), offer.role) == ("1", Role.TRIAL)
    device.say(Activated(3), TrialPassed(3))
    assert (str(device.report.installed), str(device.report.previous)) == ("part-1", "part-2")
    assert device.requests() == requests


def test_a_damaged_way_back_is_fetched_instead(device: Device) -> None:
    device.install(TWO, 2)
    device.disk.write(Path("/device/slots/a/head"), b"rotten")
    requests = device.requests()
    device.order(ONE, 3)
    assert device.phase is Phase.ACTIVATING
    assert device.requests() > requests


def test_a_manifest_that_was_altered_with_its_files_is_not_run(device: Device) -> None:
    device.install(TWO, 2)
    for name in ("head", "manifest.json"):  # sound in itself: release 2 in release 1's place
        device.disk.write(
            Path("/device/slots/a") / name, device.disk.read(Path("/device/slots/b") / name) + b" "
        )
    requests = device.requests()
    device.order(ONE, 3)
    assert device.requests() > requests


def test_a_release_that_can_no_longer_be_read_gives_way_to_the_one_before(device: Device) -> None:
    device.install(TWO, 2)
    device.disk.write(Path("/device/slots/b/head"), b"rotten")
    again = Device(device.disk)
    started_with: Any = again.started_with
    assert started_with.version == "1"
    assert again.phase is Phase.ACTIVATING  # release 2, fetched anew
    again.say(Activated(), TrialPassed())
    assert str(again.report.installed) == "part-2"


def test_a_shadow_that_is_cancelled_is_withdrawn(device: Device) -> None:
    device.order(TWO, 2, Policy(shadow=SHADOW))
    device.order(TWO, 3, decision=Decision.CANCEL)
    assert device.phase is Phase.CANCELLED
    assert [(version(o), o.role) for o in device.offers()] == [(None, Role.SHADOW)]


def test_a_shadow_that_fails_is_withdrawn_and_reported(device: Device) -> None:
    device.order(TWO, 2, Policy(shadow=SHADOW))
    device.offers()
    device.say(ShadowFailed("it raised", 2))
    assert [(version(o), o.role) for o in device.offers()] == [(None, Role.SHADOW)]
    assert (device.report.phase, device.report.reason) == ("rejected", "it raised")


def test_a_trial_that_the_operator_ends_puts_the_old_release_back(device: Device) -> None:
    device.order(TWO, 2)
    device.say(Activated(2))
    device.offers()
    device.order(TWO, 3, decision=Decision.CANCEL)
    assert [(version(o), o.role) for o in device.offers()] == [("1", Role.COMMITTED)]
    assert (device.report.phase, device.report.reason) == ("rolled_back", "taken back by order 3")


def test_offers_of_one_frame_do_not_overwrite_each_other_wrongly() -> None:
    switch, run = Switch(), Offer(None, Role.TRIAL, rev=5)
    shadow, withdrawn = Offer(None, Role.SHADOW, rev=3), Offer(None, Role.SHADOW)
    for offers, taken in [
        ([shadow, withdrawn, run], [run]),  # taking it ends the shadow
        ([run, shadow], [run, shadow]),
        ([shadow, withdrawn], [withdrawn]),
        ([run, Offer(None, Role.COMMITTED)], [Offer(None, Role.COMMITTED)]),
    ]:
        for offer in offers:
            switch.offer(offer)
        assert [switch.take() for _ in range(3)] == [*taken, *[None] * (3 - len(taken))]


# What is refused --------------------------------------------------------------------------------------------


def test_an_order_that_has_expired_is_refused_and_said_so(device: Device) -> None:
    order = TWO.order(2, Policy())
    late = order.model_copy(update={"expires": datetime.fromtimestamp(device.clock.wall_s() - 60, UTC)})
    device.deployer.order(late)
    device.settle()
    assert device.phase is Phase.COMMITTED
    assert (device.report.rev, str(device.report.installed)) == (2, "part-1")
    assert "order 2 of part-2 was not taken up: it expired at 20" in device.report.reason
    device.deployer.order(order)  # the same revision, with a longer life
    device.settle()
    assert device.phase is Phase.COMMITTED


def test_the_network_cannot_pass_for_the_operator_on_the_device(device: Device) -> None:
    device.order(TWO, 0)
    assert device.phase is Phase.COMMITTED
    assert "given on the device itself" in device.report.reason


def test_a_refusal_is_forgotten_with_the_next_order(device: Device) -> None:
    device.order(TWO, 2, decision=Decision.CANCEL)
    assert "nothing of part-2 is on its way" in device.report.reason
    device.install(TWO, 3)
    assert device.report.reason == ""


# Signatures -------------------------------------------------------------------------------------------------


def test_what_is_not_signed_is_never_asked_for() -> None:
    check = Check()
    check.error = TrustError("part-1.kenpin is not among the signed releases")
    device = Device(check=check)
    device.order(ONE, 1)
    assert (device.phase, device.requests()) == (Phase.REJECTED, 0)
    assert "not among the signed releases" in device.report.reason
    assert not device.deployer.state.quarantine


def test_a_repository_that_is_away_is_asked_again_and_not_for_ever() -> None:
    check = Check()
    check.error = RepositoryAwayError("nobody answers")
    device = Device(check=check)
    device.order(ONE, 1)
    device.wait(20)
    assert (device.phase, device.requests()) == (Phase.DOWNLOADING, 0)
    asked = check.asked
    assert asked > 1
    again = Device(device.disk, check)  # a restart does not begin the count anew
    again.wait(400)
    assert again.phase is Phase.FAILED_NO_CHANGE
    assert check.asked == MAX_CHECKS + 1
    assert "nobody answers" in again.report.reason


def test_a_repository_that_comes_back_lets_the_fetch_begin() -> None:
    check = Check()
    check.error = RepositoryAwayError("nobody answers")
    device = Device(check=check)
    device.order(ONE, 1)
    check.error = None
    device.wait(5)
    device.settle()
    assert device.phase is Phase.ACTIVATING


def test_a_release_that_was_recalled_while_it_waited_is_not_activated() -> None:
    check = Check()
    device = Device(check=check)
    device.install(ONE, 1)
    device.order(TWO, 2, Policy(approval=True))
    check.error = TrustError("part-2.kenpin is not among the signed releases")
    device.order(TWO, 3, Policy(approval=True), Decision.ACTIVATE)
    assert device.phase is Phase.REJECTED
    assert all(o.role is not Role.TRIAL or version(o) == "1" for o in device.offers())


def test_the_way_back_stands_though_nobody_can_say_whether_it_is_signed() -> None:
    check = Check()
    device = Device(check=check)
    device.install(ONE, 1)
    device.install(TWO, 2)
    check.error = RepositoryAwayError("nobody answers")
    device.order(ONE, 3)
    assert device.phase is Phase.ACTIVATING


# A loop that does not answer, and orderly ends --------------------------------------------------------------


def test_a_loop_that_hangs_in_a_trial_is_reverted_for_the_next_start(device: Device) -> None:
    device.order(TWO, 2, Policy(trial=TrialPolicy(max_s=60)))
    device.say(Activated(2))
    device.wait(60 + MARGIN_S - 2)
    assert device.phase is Phase.TRIAL
    device.wait(3)
    assert device.phase is Phase.ROLLED_BACK
    assert "does not answer" in device.report.reason
    started_with: Any = Device(device.disk).started_with
    assert started_with.version == "1"


def test_a_trial_that_stands_still_is_not_held_against_its_time(device: Device) -> None:
    device.order(TWO, 2, Policy(trial=TrialPolicy(max_s=60)))
    device.say(Activated(2))
    device.wait(500, held=True)
    assert device.phase is Phase.TRIAL
    device.wait(60 + MARGIN_S + HELD_S + 1)
    assert device.phase is Phase.ROLLED_BACK


def test_a_shadow_of_which_nothing_is_heard_times_out(device: Device) -> None:
    device.order(TWO, 2, Policy(shadow=SHADOW))
    device.wait(SHADOW.max_s + MARGIN_S + 1)
    assert (device.phase, device.deployer.state.quarantine) == (Phase.TIMED_OUT, {})


def test_an_orderly_stop_in_a_trial_is_no_crash(device: Device) -> None:
    device.order(TWO, 2)
    device.say(Activated(2))
    for _ in range(6):
        device.deployer.stop()
        while device.deployer.step():
            pass
        device = Device(device.disk)
        assert (device.phase, device.deployer.state.starts) == (Phase.ACTIVATING, 0)
        device.say(Activated(2))
    crashed = Device(device.disk)
    assert crashed.deployer.state.starts == 1


def test_a_failed_trial_leaves_the_other_slot_out_of_what_is_reported(device: Device) -> None:
    device.order(TWO, 2)
    device.say(Activated(2), TrialFailed("it raised", 2))
    assert device.report.previous is None
    assert device.deployer.state.committed is not None
    assert device.deployer.state.committed.slot is Slot.A


def test_blocks_are_asked_for_as_large_as_the_broker_takes_them() -> None:
    device = Device()
    device.link.max_packet_bytes = 544
    device.order(ONE, 1)
    request = device.link.of(Channel.BLOB_REQ)[0].payload
    assert isinstance(request, BlockRequest)
    assert request.block_size == 32
    assert device.phase is Phase.ACTIVATING
