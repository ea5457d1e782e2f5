"""The TUF repository as files: one flat folder, from which devices and any web server may read.

A change is written in the order in which nothing points to what is not there yet: targets, snapshot, and
`timestamp.json` last, which puts all of it in force at once. A new root comes after that, for by then everything is
signed for it as well; where the old key is lost and that cannot be, it comes first, and what it leaves unsigned is
signed anew at the next start.
"""

from __future__ import annotations

import fcntl
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from securesystemslib.signer import Signer
from tuf.api.metadata import Metadata, Root, Snapshot, Targets, Timestamp

from kenpin_agent.files import sync_folder, write_atomically
from kenpin_controller.errors import ConflictError, NotFoundError
from kenpin_controller.trust.metadata import (
    CONTROLLER_FILE,
    Books,
    next_snapshot,
    next_timestamp,
    parse,
    sign,
)
from kenpin_wire.errors import ConfigError

KEPT = 3
"""Earlier versions of snapshot and targets that stay, for devices in the middle of a refresh."""
_TIMESTAMP = "timestamp.json"
_NAME = re.compile(r"[0-9a-z_.-]{1,80}\.json")
_ROOT = re.compile(r"(\d+)\.root\.json")
_VERSIONED = re.compile(r"(\d+)\.(snapshot|targets)\.json")

Signers = Mapping[str, Iterable[Signer]]
"""Who signs for each role."""


@dataclass(frozen=True, slots=True)
class Change:
    """What shall be in force, and is not yet.

    Attributes:
        books: All of it.
        controller: The content of `controller.json`, if that is new.
        root_last: Whether everything else is signed as the root before it asks, too.
    """

    books: Books
    controller: bytes | None = None
    root_last: bool = True


class Repository:
    """See the module's docstring. Reads are safe at any time; changes are made inside `changing`.

    Args:
        folder: Such as `DATA/tuf`.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._cached: tuple[tuple[int, ...], Books] | None = None

    @property
    def exists(self) -> bool:
        """Whether there is a whole repository."""
        return (self.folder / _TIMESTAMP).is_file()

    def names(self) -> frozenset[str]:
        """The files that may be read."""
        return frozenset(path.name for path in self.folder.iterdir() if _NAME.fullmatch(path.name))

    def read(self, name: str) -> bytes:
        """One file; `controller.json` is the one that targets names just now.

        Raises:
            NotFoundError: if it is none of the repository's; nothing outside it can be named.
        """
        if name == CONTROLLER_FILE:
            return self.controller(self.books())
        if name not in self.names():
            raise NotFoundError("the repository has no such file", where=name[:80])
        return self._get(name)

    def root(self) -> bytes:
        """The newest root metadata, to be pinned."""
        return (self.folder / f"{self._newest_root()}.root.json").read_bytes()

    def books(self) -> Books:
        """The metadata in force.

        Raises:
            ConfigError: if a file of it is missing or damaged.
        """
        stamp = (self.folder / _TIMESTAMP).stat()
        state = (stamp.st_ino, stamp.st_mtime_ns, stamp.st_size, self._newest_root())
        cached = self._cached
        if cached is None or cached[0] != state:
            cached = self._cached = (state, self._load(state[-1]))
        return cached[1]

    def controller(self, books: Books) -> bytes:
        """The content of `controller.json`."""
        (named,) = books.targets.signed.targets[CONTROLLER_FILE].get_prefixed_paths()
        return self._get(named)

    @contextmanager
    def changing(self) -> Iterator[None]:
        """Keep every other process from changing it; the operating system lets go even after kill -9."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / ".lock").open("ab") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def write(self, change: Change) -> None:
        """Put a change in force. At each moment, clients find what was in force or what shall be.

        Raises:
            OSError: if it cannot be written; what was in force is so still, unless the root went before.
        """
        books = change.books
        root = (f"{books.root.signed.version}.root.json", books.root.to_bytes())
        files = [
            (f"{books.targets.signed.version}.targets.json", books.targets.to_bytes()),
            (f"{books.snapshot.signed.version}.snapshot.json", books.snapshot.to_bytes()),
            (_TIMESTAMP, books.timestamp.to_bytes()),
        ]
        if change.controller is not None:
            (named,) = books.targets.signed.targets[CONTROLLER_FILE].get_prefixed_paths()
            files.insert(0, (named, change.controller))
        files.insert(len(files) if change.root_last and self.exists else 0, root)
        for name, data in files:
            path = self.folder / name
            if not path.exists() or path.read_bytes() != data:
                write_atomically(path, data)
        self._prune(books)

    def _load(self, root_version: int) -> Books:
        root = parse(self._get(f"{root_version}.root.json"), Root, "root.json")
        timestamp = parse(self._get(_TIMESTAMP), Timestamp, _TIMESTAMP)
        name = f"{timestamp.signed.snapshot_meta.version}.snapshot.json"
        snapshot = parse(self._get(name), Snapshot, name)
        name = f"{snapshot.signed.meta['targets.json'].version}.targets.json"
        return Books(root, parse(self._get(name), Targets, name), snapshot, timestamp)

    def _get(self, name: str) -> bytes:
        try:
            return (self.folder / name).read_bytes()
        except OSError as error:
            raise ConfigError(
                f"a file of the repository cannot be read ({error.strerror})",
                where=str(self.folder / name),
                remedy="Put the folder back from your copy of the controller's data.",
            ) from None

    def _newest_root(self) -> int:
        versions = [int(found[1]) for path in self.folder.iterdir() if (found := _ROOT.fullmatch(path.name))]
        if not versions:
            raise ConfigError(
                "there is no root metadata here",
                where=str(self.folder),
                remedy="`kenpin keys init` makes a site's keys and its repository.",
            )
        return max(versions)

    def _prune(self, books: Books) -> None:
        oldest = {
            "snapshot": books.snapshot.signed.version - KEPT,
            "targets": books.targets.signed.version - KEPT,
        }
        for path in self.folder.iterdir():
            found = _VERSIONED.fullmatch(path.name)
            if found and int(found[1]) < oldest[found[2]]:
                path.unlink(missing_ok=True)
        sync_folder(self.folder)


def following(
    books: Books,
    signers: Signers,
    *,
    now: datetime,
    roles: Iterable[str] = (),
    targets: Metadata[Targets] | None = None,
) -> Books:
    """The books after these, with new targets, or with `roles` renewed and all that points to them.

    Args:
        signers: Of timestamp, and of snapshot where that or targets changes.

    Raises:
        ConflictError: if `targets` is not the version after the one in force.
    """
    after = books
    if targets is not None:
        in_force = books.targets.signed.version
        if targets.signed.version != in_force + 1:
            raise ConflictError(
                f"it is version {targets.signed.version} of targets, and {in_force} is in force",
                where="targets.json",
                remedy="Sign again, from the repository as it is now.",
            )
        after = replace(after, targets=targets)
    if targets is not None or "snapshot" in roles:
        snapshot = sign(next_snapshot(after, after.targets, now=now), signers["snapshot"])
        after = replace(after, snapshot=snapshot)
    timestamp = sign(next_timestamp(after, after.snapshot, now=now), signers["timestamp"])
    return replace(after, timestamp=timestamp)
