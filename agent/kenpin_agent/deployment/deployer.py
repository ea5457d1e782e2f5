"""Carries out what `machine` decides: stores the state first, then does the effects, one after another.

It runs on a thread of its own, so that fetching, unpacking and the golden pictures never stand between two
frames. The inspection loop is told of a release through `Switch` and answers with events.
"""

from __future__ import annotations

import errno
import hashlib
import logging
import queue
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from kenpin_agent.deployment.events import (
    CommittedLost,
    Event,
    Fetched,
    FetchFailed,
    HashDiffers,
    Ordered,
    Refused,
    Restarted,
    TrialPassed,
    Verified,
)
from kenpin_agent.deployment.fetch import Fetch
from kenpin_agent.deployment.machine import RESTING, Effect, IllegalEventError, State, advance
from kenpin_agent.deployment.slots import Slots
from kenpin_agent.deployment.switch import Offer, Role, Switch
from kenpin_agent.heap import give_back
from kenpin_agent.release import Release, check_golden, load_release, unpack_release
from kenpin_agent.seams import Clock, Link, Outgoing
from kenpin_wire.blocks import unpack_block
from kenpin_wire.errors import ReleaseError, WireError, os_words
from kenpin_wire.messages import BlockRequest, DesiredRelease, Phase, ReportedRelease
from kenpin_wire.topics import Channel

log = logging.getLogger(__name__)

_IDLE_S = 0.5  # how often the thread looks up when nothing comes
_REPORT_STEP_PERCENT = 10.0
HELD_S = 5.0
"""How long a trial stands still after the loop has last said so."""


@dataclass(frozen=True, slots=True)
class _BlockCame:
    sha256: str
    payload: bytes


class Deployer:
    """A device's deployment.

    Args:
        switch: Where the inspection loop waits for a release.
        threads: Inference threads that a loaded release gets.
    """

    def __init__(self, slots: Slots, link: Link, clock: Clock, switch: Switch, *, threads: int) -> None:
        self._slots = slots
        self._link = link
        self._clock = clock
        self._switch = switch
        self._threads = threads
        self._inbox: queue.Queue[Event | _BlockCame | None] = queue.Queue()
        self.post(Restarted())  # what was under way when the program ended comes before anything new
        self._state = slots.load()
        self._fetch: Fetch | None = None
        self._asked_s = 0.0
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

        One that can no longer be loaded is fetched anew; until then there is none.
        """
        committed = self._state.committed
        if committed is None or self._committed is not None:
            return self._committed
        try:
            self._committed = load_release(self._slots.slot(committed.slot), threads=self._threads)
        except ReleaseError as error:
            log.error("the committed release cannot be loaded: %s", error)
            self._state, _ = advance(self._state, CommittedLost(str(error)))
            self._store()
        return self._committed

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._inbox.put(None)
        if self._thread.is_alive():
            self._thread.join(timeout=5)

    def post(self, event: Event) -> None:
        """Tell the deployment what happened. From any thread."""
        self._inbox.put(event)

    def hold(self) -> None:
        """The trial stands still just now: no camera, or inspection is off. Say it again at least each
        `HELD_S` for as long as that lasts, so that a loop that hangs is not held for ever. From any thread."""
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
            self.post(FetchFailed(_disk_reason(error, 2 * order.size)))

    def report(self) -> None:
        """Publish how the deployment stands."""
        state = self._state
        percent = self._fetch.percent if self._fetch else 100.0 * (state.phase in _FETCHED)
        self._reported_percent = percent
        message = ReportedRelease(
            rev=state.order.rev if state.order else 0,
            installed=state.committed.release if state.committed else None,
            latest=state.order.release if state.order else None,
            sha256=state.order.sha256 if state.order else None,
            phase=state.phase,
            reason=state.reason,
            percent=round(percent, 1),
            rollout=state.order.rollout if state.order else "",
        )
        self._link.publish(Outgoing(Channel.REPORTED_RELEASE, message))

    # The thread ----------------------------------------------------------------------------------------

    def _run(self) -> None:
        while True:
            try:
                item = self._inbox.get(timeout=_IDLE_S)
            except queue.Empty:
                if not self._stored:
                    self._store()
                self._ask_again()
                self._tidy()
                continue
            if item is None:
                return
            try:
                if isinstance(item, _BlockCame):
                    self._take_block(item)
                else:
                    self._happen(item)
            except OSError as error:
                log.error("the deployment's files cannot be written: %s", error)

    def _happen(self, event: Event) -> None:
        """Advance, store, act; the effects' own events follow at once."""
        before = self._state
        try:
            self._state, effects = advance(self._state, event)
        except IllegalEventError as error:
            log.debug("ignored: %s", error)
            return
        if self._state != before:
            self._store()
        if isinstance(event, TrialPassed):
            self._committed, self._candidate = self._candidate, None
        if isinstance(event, Restarted):
            self.report()
        if self._state.phase is not before.phase or self._state.order != before.order:
            log.info(
                "deployment of %s: %s%s",
                self._state.order.release if self._state.order else "nothing",
                self._state.phase.value,
                f" ({self._state.reason})" if self._state.reason else "",
            )
            if self._state.phase is not Phase.DOWNLOADING:
                self._fetch = None
            self._untidy = True
            self.report()
        for effect in effects:
            follow = self._do(effect)
            if follow is not None:
                self._happen(follow)

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
            case Effect.DISCARD:
                self._slots.discard_blobs()
            case Effect.VERIFY:
                return self._verify()
            case Effect.ACTIVATE:
                order = self._order()
                self._switch.offer(
                    Offer(self._candidate, Role.TRIAL, order.policy.trial, None, order.rollout, order.rev)
                )
            case Effect.REVERT:
                self._candidate = None
                self._switch.offer(Offer(self._committed, Role.COMMITTED))
            case Effect.TAKE_PENDING if self._state.pending is not None:
                return Ordered(self._state.pending)
        return None

    def _tidy(self) -> None:
        """When all is done and quiet, and the loop has let go of the release that ran before: its memory goes
        back to the system, and what verifying took."""
        if self._untidy and self._state.phase in RESTING:
            self._untidy = False
            give_back()

    # Fetching ------------------------------------------------------------------------------------------

    def _begin_fetch(self) -> Event | None:
        """Go on from what is there already."""
        order = self._order()
        self._slots.discard_blobs(keep=order.sha256)
        blob = self._slots.blob(order.sha256)
        try:
            there = blob.stat().st_size if blob.exists() else 0
            if there == order.size:
                return Fetched()
            fetch = Fetch(order.size, order.block_size, written=min(there, order.size) // order.block_size)
            self._slots.check_space(2 * order.size - there)  # the file, and what is unpacked from it
            with blob.open("ab") as file:
                file.truncate(fetch.written * order.block_size)
        except OSError as error:
            return FetchFailed(_disk_reason(error, order.size))
        self._fetch = fetch
        self._ask()
        return None

    def _ask(self) -> None:
        assert self._fetch is not None
        self._asked_s = self._clock.monotonic_s()
        if not self._link.connected:
            return  # a broker that is away is no failed try
        order, ask = self._order(), self._fetch.ask()
        request = BlockRequest(
            sha256=order.sha256, start=ask.start, count=ask.count, block_size=order.block_size
        )
        self._link.publish(Outgoing(Channel.BLOB_REQ, request))

    def _ask_again(self) -> None:
        """Called when nothing came for a moment."""
        fetch = self._fetch
        if fetch is None or self._clock.monotonic_s() - self._asked_s < fetch.patience_s:
            return
        if fetch.hopeless:
            reason = f"no block came after {fetch.tries} requests; is the controller running, with this file?"
            self._happen(FetchFailed(reason, Phase.TIMED_OUT))
        else:
            self._ask()

    def _take_block(self, came: _BlockCame) -> None:
        fetch = self._fetch
        if fetch is None or came.sha256 != self._order().sha256:
            return
        try:
            block = unpack_block(came.payload)
        except WireError as error:
            log.warning("%s; asked for again", error)
            self._ask()
            return
        ready = fetch.take(block.index, block.data)
        if not ready:
            return
        try:
            with self._slots.blob(came.sha256).open("ab") as file:
                file.write(ready)
        except OSError as error:
            self._happen(FetchFailed(_disk_reason(error, fetch.size)))
            return
        if fetch.complete:
            self._happen(Fetched())
        elif fetch.window_done:
            self._ask()
        if fetch.percent - self._reported_percent >= _REPORT_STEP_PERCENT and not fetch.complete:
            self.report()

    # Verifying -----------------------------------------------------------------------------------------

    def _verify(self) -> Event:
        """Hash, unpack into the candidate's slot, load, golden pictures."""
        order, blob = self._order(), self._slots.blob(self._order().sha256)
        try:
            if _sha256(blob) != order.sha256:
                return HashDiffers()
            if not self._stored:
                self._slots.store(self._state)
            slot = self._slots.clear(self._state.candidate_slot)
            manifest = unpack_release(blob, slot)
            if manifest.release != order.release:
                return Refused(f"the file holds {manifest.release}, not {order.release}")
            candidate = load_release(slot, threads=self._threads)
            check_golden(candidate)
            self._candidate = candidate
            give_back()  # two releases are in memory now; what unpacking took need not be besides
        except ReleaseError as error:
            return Refused(str(error))
        except FileNotFoundError:
            return HashDiffers()
        except OSError as error:
            return FetchFailed(_disk_reason(error, 2 * order.size))
        except MemoryError:
            return FetchFailed("this device's memory does not hold it beside the release that runs")
        except Exception as error:  # noqa: BLE001  this thread must outlive whatever a release brings
            return Refused(f"it cannot be tried out here: {type(error).__name__}: {error}")
        return Verified()

    def _order(self) -> DesiredRelease:
        assert self._state.order is not None
        return self._state.order


_FETCHED = (Phase.VERIFYING, Phase.ACTIVATING, Phase.TRIAL, Phase.COMMITTED)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _disk_reason(error: OSError, needed_bytes: int) -> str:
    if error.errno == errno.ENOSPC:
        return f"the disk is full; free {needed_bytes / 1e6:.0f} MB on this device and send the release again"
    return f"the file cannot be written: {os_words(error)}"
