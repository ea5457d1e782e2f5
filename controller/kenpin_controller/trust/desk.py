"""A site's trust, run from the data folder: `DATA/keys` and `DATA/tuf`.

Controller and command line may hold a desk on the same folder at the same time; what either changes, the other reads.
"""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from kenpin_controller.errors import ConflictError, StoreError
from kenpin_controller.trust.changes import (
    Held,
    accepted,
    is_named,
    naming,
    naming_controller,
    renewed,
    rotated,
)
from kenpin_controller.trust.envelope import seal
from kenpin_controller.trust.keys import (
    CONTROLLER,
    OFFLINE,
    ROLES,
    KeyFolder,
    Passphrase,
    PrivateKey,
    no_passphrase,
)
from kenpin_controller.trust.metadata import (
    CONTROLLER_FILE,
    POINTING,
    Books,
    Named,
    controller_json,
    first_books,
)
from kenpin_controller.trust.repository import Change, Repository
from kenpin_controller.trust.status import KeyStatus, status_of
from kenpin_wire.errors import ConfigError
from kenpin_wire.messages import DesiredConfig, DesiredRelease, now
from kenpin_wire.signed import Signed

log = logging.getLogger(__name__)


class TrustDesk:
    """Any number of threads.

    Args:
        data: The controller's data folder.
        keys: Where root and targets keys lie, if not in the data folder.
        passphrase: Asked for a key file that is encrypted.
        wall: The wall clock.

    Attributes:
        repository: What devices may read.
    """

    def __init__(
        self,
        data: Path,
        *,
        keys: Path | None = None,
        passphrase: Passphrase = no_passphrase,
        wall: Callable[[], datetime] = now,
    ) -> None:
        self.repository = Repository(data / "tuf")
        self._online = KeyFolder(data / "keys", passphrase)
        self._offline = KeyFolder(keys, passphrase) if keys is not None else self._online
        self._wall = wall
        self._changing = threading.Lock()
        self._controller: tuple[tuple[int, int], PrivateKey] | None = None

    # A site's first day ----------------------------------------------------------------------------------

    @property
    def made(self) -> bool:
        """Whether this site has its keys and its repository."""
        return self.repository.exists

    def make(self, *, secret: bytes | None = None) -> None:
        """Make the keys and the repository. What was interrupted half-way is completed: nobody has pinned it yet.

        Args:
            secret: The passphrase for root and targets keys.

        Raises:
            ConflictError: if there is a repository, or a stranger's key where root or targets shall lie.
            StoreError: if something cannot be written.
        """
        with self._change(first=True):
            if self.made:
                raise ConflictError(
                    "this site has its keys already, and devices may trust them",
                    where=str(self.repository.folder),
                    remedy="`kenpin keys rotate` replaces one; nothing was changed.",
                )
            if self._offline is not self._online:
                self._refuse_strangers()
            keys = {
                name: self._folder(name).load(name)
                if self._folder(name).has(name)
                else self._folder(name).make(name, secret if name in OFFLINE else None)
                for name in (*ROLES, CONTROLLER)
            }
            content = controller_json([keys[CONTROLLER].public])
            signers = {role: keys[role].signer for role in ROLES}
            books = first_books(signers, content, now=self._wall())
            self.repository.write(Change(books, controller=content))

    # Every day -------------------------------------------------------------------------------------------

    def seal(self, topic: str, message: DesiredConfig | DesiredRelease) -> Signed:
        """Sign a desired message for a topic.

        Raises:
            ConfigError: if the controller's key cannot be read.
        """
        return seal(topic, message, self._controller_key(), now=self._wall())

    def tick(self) -> list[str]:
        """Renew what is due and can be renewed here. To be called at the start and every few minutes.

        Returns:
            What a person should know, a sentence each.

        Raises:
            ConfigError: if keys or repository are damaged.
            StoreError: if it cannot be written.
        """
        with self._change():
            self._settle()
            change = renewed(self.repository.books(), self._at_hand(ROLES), now=self._wall())
            if change is not None:
                self._put(change)
        return [f"{status.name}: {status.due}" for status in self.status() if status.due]

    def status(self) -> list[KeyStatus]:
        """Who signs what, until when, and what is due."""
        self._require_made()
        books = self.repository.books()
        at_hand = self._at_hand(ROLES)
        return status_of(books, frozenset(at_hand), self.repository.controller(books), now=self._wall())

    def root(self) -> bytes:
        """The root metadata, for devices to pin.

        Raises:
            ConfigError: if there are no keys yet.
        """
        self._require_made()
        return self.repository.root()

    # Releases --------------------------------------------------------------------------------------------

    def signed(self, file: Named) -> bool:
        """Whether devices that have pinned this site's root may install this very file."""
        return self.repository.books().named().get(file.name) == file

    def sign(self, files: Iterable[Named]) -> bool:
        """Have targets name these files. Returns False, with nothing changed, if its key is not at hand here.

        Raises:
            ConflictError: if another file is signed under one of the names.
            StoreError: if it cannot be written.
        """
        with self._change():
            self._settle()
            books = self.repository.books()
            missing = [file for file in files if not is_named(books, file)]
            keys = self._at_hand(ROLES)
            if missing and "targets" not in keys:
                return False
            if missing:
                self._put(naming(books, missing, keys, now=self._wall()))
            return True

    def accept(self, uploaded: bytes, held: Held) -> None:
        """Take in targets metadata that was signed elsewhere. Raises as `changes.accepted` does.

        Args:
            held: What the site holds under a release's file name.
        """
        with self._change():
            self._settle()
            waiting = self._online.load_next(CONTROLLER)
            content = controller_json([waiting.public]) if waiting is not None else None
            offered = Named.of(CONTROLLER_FILE, content) if content is not None else None
            change = accepted(
                self.repository.books(),
                uploaded,
                lambda name: offered if name == CONTROLLER_FILE else held(name),
                self._load("snapshot", "timestamp"),
                now=self._wall(),
            )
            if offered is not None and change.books.named()[CONTROLLER_FILE] == offered:
                change = Change(change.books, controller=content)
            self._put(change)
            self._settle()

    # Rotation --------------------------------------------------------------------------------------------

    def can_sign(self, role: str) -> bool:
        """Whether a role's key is at hand here, and in force."""
        self._require_made()
        return role in self._at_hand([role])

    def rotate(self, name: str, *, secret: bytes | None = None) -> None:
        """Give a role, or the controller, a new key; the old one is worth nothing from then on.

        Args:
            secret: The passphrase for the new key, of root or targets.

        Raises:
            ConfigError: if a key that must sign is not at hand.
        """
        with self._change():
            self._settle()
            books = self.repository.books()
            if name == CONTROLLER:
                keys = self._load("targets", "snapshot", "timestamp")
                new = self._online.make_next(CONTROLLER)
                self._put(naming_controller(books, new, keys, now=self._wall()))
            else:
                keys = self._load("root", *POINTING[name]) | self._at_hand([name])
                new = self._folder(name).make_next(name, secret if name in OFFLINE else None)
                self._put(rotated(books, name, new, keys, now=self._wall()))
            self._settle()

    def propose_controller_key(self) -> bytes:
        """Make a key for the controller that is in force once targets names it; for where that key is elsewhere.

        Returns:
            The new content of `controller.json`, to be signed.
        """
        with self._change():
            self._settle()
            return controller_json([self._online.make_next(CONTROLLER).public])

    # Behind ----------------------------------------------------------------------------------------------

    def _settle(self) -> None:
        """Put keys in their places that were published just before a kill, or by another process."""
        books = self.repository.books()
        for role in ROLES:
            self._folder(role).adopt(role, books.public(role))
        if self._online.adopt(CONTROLLER, controllers(self.repository, books)):
            log.info("the controller has a new key, and signs everything anew with it")

    def _put(self, change: Change) -> None:
        """Write a change that every device can follow; a key that is not in force signs nothing here."""
        before = self.repository.books()
        for role in ROLES:
            if change.books.of(role) is not before.of(role) and not change.books.valid(role):
                raise ConfigError(
                    f"the {role} key that is here is not the one in force",
                    where=str(self._folder(role).path(role)),
                    remedy="`kenpin keys status` names the one in force; give its folder with --keys.",
                )
        if change.books.root is not before.root and not before.takes(change.books.root):
            raise ConfigError(
                "the root key that is here is not the one in force",
                where=str(self._offline.path("root")),
                remedy="`kenpin keys status` names the one in force; give its folder with --keys.",
            )
        self.repository.write(change)

    @contextmanager
    def _change(self, *, first: bool = False) -> Iterator[None]:
        if not first:
            self._require_made()  # before a folder is made where somebody mistyped one
        try:
            with self._changing, self.repository.changing():
                yield
        except OSError as error:
            raise StoreError.from_os(error, where=str(self.repository.folder)) from None

    def _controller_key(self) -> PrivateKey:
        """Read again when the file is another one: a rotation takes effect while we run."""
        try:
            found = self._online.path(CONTROLLER).stat()
            state = (found.st_ino, found.st_mtime_ns)
        except OSError as error:
            raise ConfigError.from_os(error, where=str(self._online.path(CONTROLLER))) from None
        held = self._controller
        if held is None or held[0] != state:
            held = self._controller = (state, self._online.load(CONTROLLER))
        return held[1]

    @property
    def controller_key_id(self) -> str:
        """Of the key that signs just now."""
        return self._controller_key().id

    def _folder(self, name: str) -> KeyFolder:
        return self._offline if name in OFFLINE else self._online

    def _load(self, *names: str) -> dict[str, PrivateKey]:
        return {name: self._folder(name).load(name) for name in names}

    def _at_hand(self, names: Iterable[str]) -> dict[str, PrivateKey]:
        """Those of the keys that are here, can be opened, and are in force."""
        books = self.repository.books()
        found = {}
        for name in names:
            if self._folder(name).has(name):
                try:
                    key = self._folder(name).load(name)
                except ConfigError as error:
                    log.info("not used: %s", error)
                    continue
                if key.public.hex() in books.public(name):
                    found[name] = key
        return found

    def _refuse_strangers(self) -> None:
        for name in OFFLINE:
            if self._offline.has(name):
                raise ConflictError(
                    "a key is there already",
                    where=str(self._offline.path(name)),
                    remedy="Name another folder with --keys. If `keys init` was interrupted, delete both keys there.",
                )

    def _require_made(self) -> None:
        if not self.made:
            raise ConfigError(
                "this site has no keys yet",
                where=str(self.repository.folder),
                remedy="`kenpin keys init` makes them, or `kenpin serve` at its first start.",
            )


def controllers(repository: Repository, books: Books) -> frozenset[str]:
    """The controller's public keys, in hex, that devices take."""
    return frozenset(json.loads(repository.controller(books))["keys"])
