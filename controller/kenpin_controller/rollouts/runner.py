"""The thread that runs rollouts: it looks at the fleet, asks the machine, stores what it says, then publishes.

It looks at how devices are, not at what has happened: a report that came while it was dead or busy is seen at the
next look. What it stores holds the orders too, and these go out again at every connection to the broker; so a kill
at any moment loses nothing and repeats nothing that is not harmless.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence

from sqlalchemy.exc import SQLAlchemyError

from kenpin_controller.errors import NotFoundError
from kenpin_controller.fleet import Fleet
from kenpin_controller.outgoing import Outgoing
from kenpin_controller.rollouts.eyes import Eyes
from kenpin_controller.rollouts.machine import step
from kenpin_controller.rollouts.state import (
    LIVE,
    ON_ITS_WAY,
    Effect,
    Event,
    RolloutState,
    Say,
    Sights,
    Skip,
    Taken,
)
from kenpin_controller.rollouts.views import Stage
from kenpin_controller.seldom import Seldom
from kenpin_controller.store import Store
from kenpin_controller.store.audit import Deed
from kenpin_controller.store.database import store_error
from kenpin_controller.store.rollouts import Change, Send
from kenpin_wire.errors import KenpinError

LOOK_S = 0.5
"""How often it looks while a rollout runs; news of a device wake it at once."""
SHARE = 0.05
"""Of one core it takes at most this much, whatever the fleet's size: after a long look it rests for longer."""

log = logging.getLogger(__name__)


class Runner:
    """All rollouts that are not over. Any number of threads may call it.

    Attributes:
        lock: Held through every step of any rollout.
    """

    def __init__(
        self, store: Store, fleet: Fleet, outgoing: Outgoing, *, wall_s: Callable[[], float] = time.time
    ) -> None:
        self._store = store
        self._fleet = fleet
        self._outgoing = outgoing
        self._wall_s = wall_s
        self._eyes = Eyes(store, fleet)
        self.lock = threading.RLock()
        self._live = {state.id: state for state in store.rollouts.unfinished()}
        self._news = threading.Event()
        self._stopping = threading.Event()
        self._seldom = Seldom(log)
        self._thread = threading.Thread(target=self._run, name="rollouts", daemon=True)

    def start(self) -> None:
        """Begin to look."""
        self._thread.start()

    def stop(self) -> None:
        """End; what runs is taken up at the next start."""
        self._stopping.set()
        self._news.set()
        if self._thread.is_alive():
            self._thread.join(timeout=10.0)

    def heard(self, _device: str) -> None:
        """A device has said something; does not block."""
        self._news.set()

    def begin(self, state: RolloutState, deed: Deed) -> RolloutState:
        """Store a new rollout; rollouts that run let go of its devices."""
        with self.lock:
            why = f"rollout {state.id} took its place"
            takers = [d.device for d in state.devices.values() if d.stage is Stage.HELD]
            changes = [*self._taken(takers, why, against=False), Change(None, state, [])]
            self._save(changes, deed)
        self.look()
        self._news.set()
        return self.state(state.id)

    def act(self, rollout_id: str, event: Event, deed: Deed) -> RolloutState:
        """Carry out a person's wish.

        Raises:
            NotFoundError: if there is no such rollout.
            NotNowError: if it makes no sense as things stand.
            StoreError: if it cannot be stored; nothing has changed then.
        """
        with self.lock:
            before = self.state(rollout_id)
            after, effects = step(before, event, self._wall_s())
            self._save([Change(before, after, effects)], deed)
        self.look()
        return self.state(rollout_id)

    def send(self, sends: Sequence[Send], why: str, deed: Deed) -> dict[str, int]:
        """Order devices to run a release, whatever rollouts there are. Returns the orders' revisions."""
        with self.lock:
            changes = self._taken([send.device for send in sends], why, against=True)
            return self._save(changes, deed, sends=sends)

    def pinned(self, device: str, who: str, why: str) -> None:
        """Have rollouts that run pass a device by that has not switched."""
        with self.lock:
            now_s = self._wall_s()
            for before in list(self._live.values()):
                state = before.devices.get(device)
                if (
                    state is None
                    or state.switched
                    or state.stage not in ON_ITS_WAY
                    or before.status not in LIVE
                ):
                    continue
                after, effects = step(before, Skip(who, device, why), now_s)
                self._save([Change(before, after, effects)])
        self.look()

    def state(self, rollout_id: str) -> RolloutState:
        """As stored."""
        with self.lock:
            state = self._live.get(rollout_id) or self._store.rollouts.get(rollout_id)
        if state is None:
            raise NotFoundError(
                "no such rollout", where=rollout_id, remedy="`kenpin rollout list` shows the last ones."
            )
        return state

    def live(self) -> list[RolloutState]:
        """All that are not over."""
        with self.lock:
            return list(self._live.values())

    def look(self) -> None:
        """Look at the fleet once, and do what follows."""
        with self.lock:
            for before in list(self._live.values()):
                now_s = self._wall_s()
                after = before
                effects: list[Effect] = []
                for event in self._eyes.reports(before):
                    after, more = step(after, event, now_s)
                    effects += more
                after, more = step(after, self._eyes.tick(after, now_s), now_s)
                effects += more
                if after is not before or effects:
                    self._save([Change(before, after, effects)])

    def sights(self, state: RolloutState) -> Sights:
        """What is known of a rollout's devices now."""
        return self._eyes.sights(state, self._wall_s())

    def _taken(self, devices: Sequence[str], why: str, *, against: bool) -> list[Change]:
        """Have every rollout that runs let go of these devices."""
        changes = []
        for before in self._live.values():
            after = before
            effects: list[Effect] = []
            for device in devices:
                after, more = step(after, Taken(device, why, against), self._wall_s())
                effects += more
            if after is not before or effects:
                changes.append(Change(before, after, effects))
        return changes

    def _save(self, changes: Sequence[Change], *deeds: Deed, sends: Sequence[Send] = ()) -> dict[str, int]:
        """Store, and only then publish. Returns the revisions of `sends`, by device."""
        names = {
            effect.device for change in changes for effect in change.effects if not isinstance(effect, Say)
        }
        reach = self._eyes.reach(names | {send.device for send in sends})
        with self._outgoing.turn:
            states, desires = self._store.rollouts.save(changes, reach, self._wall_s(), *deeds, sends=sends)
            for state in states:
                if state.over:
                    self._live.pop(state.id, None)
                else:
                    self._live[state.id] = state
            self._outgoing.publish(desires)
        sent = desires[len(desires) - len(sends) :]
        return {desire.address.device: desire.message.rev for desire in sent}

    def _run(self) -> None:
        rest_s = LOOK_S
        while not self._stopping.is_set():
            self._news.wait(rest_s if self._live else None)
            self._news.clear()
            if self._stopping.is_set():
                return
            began_s = time.monotonic()
            try:
                self.look()
            except KenpinError as error:
                self._seldom.warn("rollouts wait", str(error))
            except SQLAlchemyError as error:
                self._seldom.warn("rollouts wait", str(store_error(error)))
            except Exception:
                log.exception("a rollout could not be looked at; it is looked at again")
            took_s = time.monotonic() - began_s
            self._stopping.wait(min(took_s / SHARE, 10.0))
            rest_s = max(LOOK_S - took_s / SHARE, 0.0) or 0.001
