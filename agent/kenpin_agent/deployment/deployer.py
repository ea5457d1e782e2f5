"""Carries out what `machine` decides: stores the state first, then does the effects, one after another.

It runs on a thread of its own, so that fetching, unpacking and the golden pictures never stand between two
frames. The inspection loop is told of a release through `Switch` and answers with events.
"""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from kenpin_agent.deployment.deadline import MARGIN_S, Deadline
from kenpin_agent.deployment.download import Download
from kenpin_agent.deployment.events import (
    CommittedLost,
    Event,
    FetchFailed,
    NotTrusted,
    Ordered,
    RepositoryAway,
    Restarted,
    ShadowTimedOut,
    Stopping,
    TrialFailed,
    TrialPassed,
)
from kenpin_agent.deployment.loader import Loader, RealLoader, verify
from kenpin_agent.deployment.machine import IllegalEventError, advance
from kenpin_agent.deployment.slots import Slots, disk_reason
from kenpin_agent.deployment.standing import reported
from kenpin_agent.deployment.state import RESTING, Effect, Installed, State
from kenpin_agent.deployment.switch import Offer, Role, Switch
from kenpin_agent.heap import give_back
from kenpin_agent.release import Release, SlotDamagedError
from kenpin_agent.seams import Clock, Link, Outgoing, ReleaseCheck
from kenpin_wire.errors import ReleaseError, RepositoryAwayError, os_words
from kenpin_wire.messages import DesiredRelease, Phase
from kenpin_wire.topics import Channel

log = logging.getLogger(__name__)

_IDLE_S = 0.5  # how often the thread looks up when nothing comes
_BUSY_S = 0.1  # and while a file is fetched
_REPORT_STEP_PERCENT = 10.0
_READS = 3
_LONGEST_PAUSE_S = 60.0


@dataclass(frozen=True, slots=True)
class _BlockCame:
    sha256: str
    payload: bytes


class Deployer:
    """A device's deployment.

    Args:
        switch: Where the inspection loop waits for a release.
        threads: Inference threads that a loaded release gets.
        check: Says whether a release is signed; None where no root is pinned. A file that is given on the device
            itself need not be.
        reference_s: The time that an order's expiry is held against, in seconds since 1970; the wall clock's if None.
        loader: The real one if None.
    """

    def __init__(
        self,
        slots: Slots,
        link: Link,
        clock: Clock,
        switch: Switch,
        *,
        threads: int,
        check: ReleaseCheck | None = None,
        reference_s: Callable[[], float] | None = None,
        loader: Loader | None = None,
    ) -> None:
        self._slots = slots
        self._link = link
        self._clock = clock
        self._switch = switch
        self._check = check
        self._reference_s = reference_s or clock.wall_s
        self._loader = loader or RealLoader(threads)
        self._inbox: queue.Queue[Event | _BlockCame | None] = queue.Queue()
        self.post(Restarted())  # what was under way when the program ended comes before anything new
        self._state = slots.load()
        self._download: Download | None = None
        self._fetch_at_s: float | None = None
        self._deadline: Deadline | None = None
        self._held_s = float("-inf")
        self._committed: Release | None = None
        self._candidate: Release | None = None
        self._stored = True
        self._reported_percent = 0.0
        self._untidy = True
        self._thread = threading.Thread(target=self._run, name="deployer", daemon=True)

    @property
    def state(self) -> State:
        """As last stored."""
        return self._state

    def load_committed(self) -> Release | None:
        """Load the release to start with, once however often this is called. Before `start`.

        One that can no longer be loaded gives way to the one that ran before, and is fetched anew; if that one is
        gone too, there is none until then.
        """
        while self._committed is None and (committed := self._state.committed) is not None:
            try:
                self._committed = self._load(committed)
            except ReleaseError as error:
                log.error("the committed release cannot be loaded: %s", error)
                self._state, _ = advance(self._state, CommittedLost(str(error)))
                self._store()
        return self._committed

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """End in an orderly way, so that the next start is not taken for a crash of a candidate's."""
        self._inbox.put(None)
        if self._thread.is_alive():
            self._thread.join(timeout=5)

    def post(self, event: Event) -> None:
        """Tell the deployment what happened. From any thread."""
        self._inbox.put(event)

    def order(self, order: DesiredRelease, *, anew: bool = False) -> None:
        """A desired release has come over the network. From any thread.

        Args:
            anew: See `events.Ordered`.
        """
        own = "revision 0 is for a file that is given on the device itself" if order.rev == 0 else ""
        self.post(Ordered(order, own, anew))

    def hold(self) -> None:
        """The trial stands still just now: no camera, or inspection is off. Say it again at least each
        `deadline.HELD_S` for as long as that lasts, so that a loop that hangs is not held for ever. From any
        thread."""
        self._held_s = self._clock.monotonic_s()

    def block_came(self, sha256: str, payload: bytes) -> None:
        """A block's message. From any thread."""
        self._inbox.put(_BlockCame(sha256, payload))

    def install_file(self, order: DesiredRelease, copy_to: Callable[[Path], object]) -> None:
        """Order a release whose file is on this device already. Called before `start`.

        Where the disk does not take it, the deployment fails, and says so.
        """
        self.post(Ordered(order))
        blob = self._slots.blob(order.sha256)
        try:
            copy_to(blob)
        except OSError as error:
            blob.unlink(missing_ok=True)
            self.post(FetchFailed(disk_reason(error, 2 * order.size)))

    def report(self) -> None:
        """Publish how the deployment stands."""
        message = reported(self._state, self._download.percent if self._download else None)
        self._reported_percent = message.percent
        self._link.publish(Outgoing(Channel.REPORTED_RELEASE, message))

    def step(self, *, wait_s: float = 0.0) -> bool:
        """Take one thing from the inbox, waiting so long for it, and look up. The thread does nothing but this; a
        test may do it in its stead. Returns whether to go on."""
        try:
            item = self._inbox.get(timeout=wait_s) if wait_s else self._inbox.get_nowait()
        except queue.Empty:
            if not self._stored:
                self._store()
            self._tidy()
        else:
            if item is None:
                self._happen(Stopping())
                return False
            if isinstance(item, _BlockCame):
                self._take_block(item)
            else:
                self._happen(item)
        self._look_up()
        return True

    # The thread ----------------------------------------------------------------------------------------

    def _run(self) -> None:
        while True:
            try:
                if not self.step(wait_s=_BUSY_S if self._download else _IDLE_S):
                    return
            except Exception:
                log.exception("a step of the deployment failed")

    def _happen(self, event: Event) -> None:
        """Advance, store, act; the effects' own events follow at once."""
        before = self._state
        if isinstance(event, Ordered) and not event.refusal:
            event = replace(event, refusal=self._expired(event.order))
        try:
            self._state, effects = advance(self._state, event)
        except IllegalEventError as error:
            log.debug("ignored: %s", error)
            return
        if self._state != before:
            self._store()
        if isinstance(event, TrialPassed):
            self._committed, self._candidate = self._candidate, None
        self._tell(before, event)
        for effect in effects:
            follow = self._do(effect)
            if follow is not None:
                self._happen(follow)

    def _tell(self, before: State, event: Event) -> None:
        state = self._state
        if state.refusal != before.refusal:
            if state.refusal:
                log.warning("%s", state.refusal)
        elif state.phase is before.phase and state.order == before.order:
            if isinstance(event, Restarted):
                self.report()
            return
        else:
            log.info(
                "deployment of %s: %s%s",
                state.order.release if state.order else "nothing",
                state.phase.value,
                f" ({state.reason})" if state.reason else "",
            )
        if state.phase is not Phase.DOWNLOADING:
            self._download, self._fetch_at_s = None, None
        if state.phase not in (Phase.SHADOWING, Phase.ACTIVATING, Phase.TRIAL):
            self._deadline = None
        self._untidy = True
        self.report()

    def _store(self) -> None:
        """Store the state. One that the disk does not take is in force all the same, and stored once it does:
        from the older one a restart comes to the same end, since until then no slot is cleared (`_verify`)."""
        try:
            self._slots.store(self._state)
        except OSError as error:
            if self._stored:
                log.error(
                    "the deployment's state cannot be stored (%s); tried again until it can", os_words(error)
                )
            self._stored = False
        else:
            self._stored = True

    def _do(self, effect: Effect) -> Event | None:
        match effect:
            case Effect.FETCH:
                return self._begin_fetch()
            case Effect.FETCH_LATER:
                pause_s = min(2.0**self._state.checks, _LONGEST_PAUSE_S)
                self._fetch_at_s = self._clock.monotonic_s() + pause_s
            case Effect.DISCARD:
                self._slots.discard_blobs()
            case Effect.VERIFY:
                return self._verify()
            case Effect.SHADOW:
                self._offer(Role.SHADOW)
            case Effect.WITHDRAW:
                self._candidate = None
                self._switch.offer(Offer(None, Role.SHADOW))
            case Effect.ACTIVATE:
                return self._activate()
            case Effect.REVERT:
                self._candidate = None
                self._switch.offer(Offer(self._committed, Role.COMMITTED))
            case Effect.TAKE_PENDING if self._state.pending is not None:
                return Ordered(self._state.pending)
        return None

    def _look_up(self) -> None:
        """What depends on time alone."""
        now_s = self._clock.monotonic_s()
        follow: Event | None = None
        if self._fetch_at_s is not None and now_s >= self._fetch_at_s:
            follow = self._begin_fetch()
        elif self._download is not None:
            follow = self._download.look_up()
        elif self._deadline is not None:
            self._deadline.held_s = self._held_s
            if self._deadline.passed(now_s):
                self._deadline = None
                follow = self._too_late()
        if follow is not None:
            self._happen(follow)

    def _too_late(self) -> Event:
        if self._state.phase is Phase.SHADOWING:
            return ShadowTimedOut("its shadow did not end in time; the inspection does not answer")
        return TrialFailed("its trial did not end in time; the inspection does not answer")

    def _tidy(self) -> None:
        """When all is done and quiet, and the loop has let go of the release that ran before: its memory goes
        back to the system, and what verifying took."""
        if self._untidy and self._state.phase in RESTING:
            self._untidy = False
            give_back()

    # Effects -------------------------------------------------------------------------------------------

    def _load(self, installed: Installed) -> Release:
        """A card that fails to be read once is no reason to give up what a line runs."""
        for _ in range(_READS - 1):
            with suppress(SlotDamagedError):
                return self._loader.load(self._slots.check(installed))
        return self._loader.load(self._slots.check(installed))

    def _begin_fetch(self) -> Event | None:
        order = self._order
        self._fetch_at_s = None
        try:
            self._check_signed(order)
        except RepositoryAwayError as error:
            log.warning("%s is not fetched yet: %s", order.release, error)
            return RepositoryAway(str(error))
        except ReleaseError as error:
            return NotTrusted(str(error))
        self._download = Download(order, self._slots, self._link, self._clock)
        return self._download.begin()

    def _take_block(self, came: _BlockCame) -> None:
        download = self._download
        if download is None or came.sha256 != download.sha256:
            return
        follow = download.take(came.payload)
        if follow is not None:
            self._happen(follow)
        elif download.percent - self._reported_percent >= _REPORT_STEP_PERCENT:
            self.report()

    def _verify(self) -> Event:
        if not self._stored:
            try:
                self._slots.store(self._state)
            except OSError as error:
                return FetchFailed(disk_reason(error, 2 * self._order.size))
            self._stored = True
        self._candidate = None
        event, self._candidate = verify(self._state, self._slots, self._loader)
        return event

    def _activate(self) -> Event | None:
        """What was signed when it was fetched may have been recalled since. Where nobody can say, it stands."""
        try:
            self._check_signed(self._order)
        except RepositoryAwayError as error:
            log.info("not asked once more whether %s is signed: %s", self._order.release, error)
        except ReleaseError as error:
            return NotTrusted(str(error))
        self._offer(Role.TRIAL)
        return None

    def _offer(self, role: Role) -> None:
        order, policy = self._order, self._order.policy
        shadow = policy.shadow if role is Role.SHADOW else None
        trial = policy.trial if role is Role.TRIAL else None
        limit_s = shadow.max_s if shadow else policy.trial.max_s
        self._deadline = Deadline(limit_s + MARGIN_S, self._clock.monotonic_s())
        self._switch.offer(Offer(self._candidate, role, trial, shadow, order.rollout, order.rev))

    def _check_signed(self, order: DesiredRelease) -> None:
        if self._check is not None and order.rev > 0:
            self._check.check(order)

    def _expired(self, order: DesiredRelease) -> str:
        """Why it is too late for it; empty if it is not."""
        if order.expires is None or order.expires > datetime.fromtimestamp(self._reference_s(), UTC):
            return ""
        return f"it expired at {order.expires:%Y-%m-%d %H:%M} UTC"

    @property
    def _order(self) -> DesiredRelease:
        assert self._state.order is not None
        return self._state.order
