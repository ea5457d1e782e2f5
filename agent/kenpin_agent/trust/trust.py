"""A device's trust at work: opens signed messages, and knows which releases are signed.

All that takes time happens on a thread of its own, which begins with the first signed message or connection:
the libraries are imported there, metadata is fetched there. Whoever asks about a release waits on his own thread.
"""

from __future__ import annotations

import json
import logging
import queue
import threading
from collections import OrderedDict
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from kenpin_agent.link.incoming import Sealed
from kenpin_agent.seams import Clock, Incoming
from kenpin_agent.trust.fetching import Fetch
from kenpin_agent.trust.floors import Floors
from kenpin_agent.trust.keys import CONTROLLER_TARGET, ControllerKeys, KeyFile, read_controller_target
from kenpin_agent.trust.last_known_time import LastKnownTime
from kenpin_wire.errors import ConfigError, KenpinError, RepositoryAwayError, TrustError, WireError
from kenpin_wire.messages import DesiredRelease

if TYPE_CHECKING:
    from kenpin_agent.trust.repository import Repository

REFRESH_EVERY_S = 6 * 3600.0
"""So that a device learns of a replaced key before it is told a newer one."""
AGAIN_S, LAST_AGAIN_S = 5.0, 900.0
"""After a refresh in vain; doubled each time, up to the second."""
KEY_ASKED_S = 60.0
"""The least between two refreshes for an unknown key."""
FRESH_S = 30.0
"""Metadata of this age is good enough to say that a release is signed; not that it is not."""
MAX_WAITING = 64
MAX_PARKED = 16
"""Messages with unknown keys that are kept in case a newer list of keys names theirs. The broker says a retained one
only once, and after a power cut a site's devices are up before its controller."""

log = logging.getLogger(__name__)


def read_root(path: Path) -> bytes:
    """The pinned root metadata. Whether its keys signed it is looked at later: that takes the libraries.

    Raises:
        ConfigError: if it cannot be read, or is no root metadata at all.
    """
    try:
        data = path.read_bytes()
        if json.loads(data)["signed"]["_type"] == "root":
            return data
    except OSError as error:
        raise ConfigError.from_os(error, where=str(path)) from None
    except (ValueError, KeyError, TypeError, RecursionError):
        pass
    raise ConfigError(
        "it is no TUF root metadata",
        where=str(path),
        remedy="Take the root.json that `kenpin keys init` wrote.",
    )


class Trust:
    """What follows from a pinned root. A `seams.ReleaseCheck`, and a link's `Verifier`.

    Args:
        folder: Where metadata, keys, revisions and time are kept; made if it is not there.
        root: The pinned root metadata.
        clock: For expiry and patience.

    Raises:
        ConfigError: if the folder cannot be made.
    """

    def __init__(self, folder: Path, root: bytes, clock: Clock) -> None:
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigError.from_os(error, where=str(folder)) from None
        self._folder = folder
        self._root = root
        self._clock = clock
        self._time = LastKnownTime(folder / "time", clock)
        self._floors = Floors(folder / "floors.json")
        self._key_file = KeyFile(folder / "keys.json", root)
        self._keys = self._key_file.load()
        self._fetch: Fetch | None = None
        self._repository: Repository | None = None
        self._refreshing = threading.Lock()  # one at a time may use the repository
        self._refreshed_s = float("-inf")
        self._next_s = float("-inf")
        self._in_vain = 0
        self._said = ""
        self._asked_for_key_s = float("-inf")
        self._parked: OrderedDict[tuple[str, str], tuple[_Task, ControllerKeys]] = OrderedDict()
        self._work: queue.Queue[_Task | None] = queue.Queue(MAX_WAITING)
        self._thread: threading.Thread | None = None
        self._starting = threading.Lock()

    @property
    def keys(self) -> ControllerKeys:
        """Whose messages are taken."""
        return self._keys

    def reference_s(self) -> float:
        """The time that ends are held against, in seconds since 1970: never before the last known one."""
        return self._time.now().timestamp()

    def use(self, fetch: Fetch) -> None:
        """Fetch metadata this way from now on."""
        self._fetch = fetch

    def connected(self) -> None:
        """The link stands: refresh in the background if that is due, or failed last time. Never blocks."""
        if self._in_vain:
            self._next_s = float("-inf")
        self._begin()
        with suppress(queue.Full):  # then it is awake
            self._work.put_nowait(None)

    def verify(
        self, sealed: Sealed, accept: Callable[[Incoming], None], refuse: Callable[[WireError], None]
    ) -> None:
        """As a link's `Verifier`."""
        self._begin()
        try:
            self._work.put_nowait(_Task(sealed, accept, refuse))
        except queue.Full:
            refuse(WireError("too many signed messages at once", where=sealed.topic))

    def refresh(self) -> None:
        """Bring metadata and the controller's keys up to date. Waits for the network; not on the link's thread.

        Raises:
            RepositoryAwayError: if that cannot be done now; a `RepositoryExpiredError` if what there is has expired.
            TrustError: if the pinned root is none, or the signed list of controller keys is.
        """
        with self._refreshing:
            self._take_keys(self._refresh())

    def check(self, order: DesiredRelease) -> None:
        """As `seams.ReleaseCheck`."""
        with self._refreshing:
            fresh = self._clock.monotonic_s() - self._refreshed_s <= FRESH_S
            if fresh and self._repository is not None and not _why_not(self._repository, order):
                return
            if why_not := _why_not(self._refresh(), order):
                raise TrustError(
                    why_not,
                    where=str(order.release),
                    remedy="Sign it with `kenpin release sign` where the targets key is, and publish it.",
                )

    def _refresh(self) -> Repository:
        now = self._time.now()
        self._refreshed_s = float("-inf")
        if self._fetch is None:
            raise RepositoryAwayError(
                "the link is not up yet", where="the site's metadata", remedy="Try again."
            )
        if self._repository is None:
            from kenpin_agent.trust.repository import Repository  # noqa: PLC0415  brings tuf along: late

            self._repository = Repository(self._folder / "metadata", self._root, self._fetch)
        self._repository.refresh(now)
        self._time.confirm(now)
        self._refreshed_s = self._clock.monotonic_s()
        return self._repository

    def _take_keys(self, repository: Repository) -> None:
        target = repository.find(CONTROLLER_TARGET)
        if target is None:
            public: dict[str, bytes] = {}
        else:
            public = read_controller_target(repository.read(target))
        keys = ControllerKeys(public, repository.until)
        if keys != self._keys:
            self._keys = keys
            self._key_file.save(keys)

    # The thread's own -------------------------------------------------------------------------------------

    def _begin(self) -> None:
        with self._starting:
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="trust", daemon=True)
                self._thread.start()

    def _run(self) -> None:
        while True:
            try:
                wait_s = self._next_s - self._clock.monotonic_s()
                task = self._work.get(timeout=max(0.0, min(wait_s, REFRESH_EVERY_S)))
            except queue.Empty:
                task = None
            try:
                if task is not None:
                    self._open(task)
                elif self._clock.monotonic_s() >= self._next_s:
                    self._refresh_quietly()
                self._open_parked()
            except Exception:
                log.exception("trust: a signed message could not be dealt with")

    def _open(self, task: _Task) -> None:
        from kenpin_agent.trust.envelope import UnknownKeyError, open_envelope  # noqa: PLC0415  late: cryptography

        sealed = task.sealed
        for last in (False, True):
            keys = self._keys
            try:
                message = open_envelope(
                    sealed, keys, now=self._time.now(), floor=self._floors.of(sealed.topic, keys.public)
                )
                break
            except UnknownKeyError as error:
                if last or not self._may_ask_for_key():
                    self._park(task, keys)
                    task.refuse(error)
                    return
                self._refresh_quietly()
            except WireError as error:
                task.refuse(error)
                return
        anew = self._floors.fell(sealed.topic, keys.public)
        self._floors.raise_to(sealed.topic, message.rev, sealed.envelope.key)
        task.accept(Incoming(sealed.channel, message, whole_line=sealed.whole_line, anew=anew))

    def _park(self, task: _Task, keys: ControllerKeys) -> None:
        """Keep a message that these keys could not open: of each topic and key the last, and the last of all."""
        place = (task.sealed.topic, task.sealed.envelope.key)
        self._parked[place] = (task, keys)
        self._parked.move_to_end(place)
        while len(self._parked) > MAX_PARKED:
            self._parked.popitem(last=False)

    def _open_parked(self) -> None:
        """Try those again for which there are other keys by now."""
        for place, (task, keys) in list(self._parked.items()):
            if place[1] in self._keys.public and keys != self._keys:
                del self._parked[place]
                self._open(task)

    def _may_ask_for_key(self) -> bool:
        """Once a minute, or anybody who can publish could keep the device asking."""
        now_s = self._clock.monotonic_s()
        if now_s - self._asked_for_key_s < KEY_ASKED_S:
            return False
        self._asked_for_key_s = now_s
        return True

    def _refresh_quietly(self) -> None:
        again_s = min(AGAIN_S * 2 ** min(self._in_vain, 10), LAST_AGAIN_S)
        self._next_s = (
            self._clock.monotonic_s() + again_s
        )  # first, so that nothing whatever makes it try at once
        self._in_vain += 1
        try:
            self.refresh()
        except KenpinError as error:
            if str(error) != self._said:  # a broker may be away for days
                self._said = str(error)
                log.warning("the controller's keys cannot be looked up now: %s", error)
        else:
            self._in_vain, self._said = 0, ""
            self._next_s = self._clock.monotonic_s() + REFRESH_EVERY_S


def _why_not(repository: Repository, order: DesiredRelease) -> str:
    """Why the release is not to be installed; empty if it is signed."""
    target = repository.find(f"{order.release}.kenpin")
    if target is None:
        return "the site's targets key has not signed it"
    if target.hashes.get("sha256") != order.sha256 or target.length != order.size:
        return "what was signed under this name is another file"
    return ""


@dataclass(frozen=True, slots=True)
class _Task:
    sealed: Sealed
    accept: Callable[[Incoming], None]
    refuse: Callable[[WireError], None]
