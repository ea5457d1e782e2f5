"""TUF metadata: what each role says, for how long, and what comes after it. Pure: no files, no clock.

Consistent snapshots are on: snapshot and targets lie under names with their version, so that a device that
refreshes while a release is published sees the site as it was before or as it is after, never half of each.
"""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, TypeVar

from securesystemslib.signer import Key, Signer
from tuf.api.exceptions import RepositoryError
from tuf.api.metadata import Metadata, MetaFile, Root, Snapshot, TargetFile, Targets, Timestamp
from tuf.api.serialization import DeserializationError

from kenpin_controller.trust.keys import ROLES
from kenpin_wire.errors import ConfigError

CONTROLLER_FILE = "controller.json"
VALID: Mapping[str, timedelta] = {
    "root": timedelta(days=730),
    "targets": timedelta(days=365),
    "snapshot": timedelta(days=7),
    "timestamp": timedelta(days=1),
}
RENEW: Mapping[str, timedelta] = {
    "root": timedelta(days=180),
    "targets": timedelta(days=90),
    "snapshot": timedelta(days=4),
    "timestamp": timedelta(hours=23),
}
"""With less than this left, a role is renewed where its key is at hand, and a person is told where it is not."""

POINTING: Mapping[str, tuple[str, ...]] = {
    "root": (),
    "targets": ("snapshot", "timestamp"),
    "snapshot": ("timestamp",),
    "timestamp": (),
}
"""Whose metadata changes along with a role's."""

_T = TypeVar("_T", Root, Targets, Snapshot, Timestamp)


@dataclass(frozen=True, slots=True)
class Named:
    """A file as targets metadata names it."""

    name: str
    sha256: str
    length: int

    @classmethod
    def of(cls, name: str, data: bytes) -> Named:
        return cls(name, hashlib.sha256(data).hexdigest(), len(data))


@dataclass(frozen=True)
class Books:
    """The metadata in force. Treat it as read-only: `successor` makes copies."""

    root: Metadata[Root]
    targets: Metadata[Targets]
    snapshot: Metadata[Snapshot]
    timestamp: Metadata[Timestamp]

    def of(self, role: str) -> Metadata[Any]:
        """A role's metadata."""
        found: Metadata[Any] = getattr(self, role)
        return found

    def public(self, role: str) -> frozenset[str]:
        """The public keys, in hex, that root gives a role."""
        root = self.root.signed
        return frozenset(root.keys[keyid].keyval["public"] for keyid in root.roles[role].keyids)

    def valid(self, role: str) -> bool:
        """Whether a role's metadata is signed as root asks for."""
        metadata = self.of(role)
        try:
            self.root.signed.verify_delegate(role, metadata.signed_bytes, metadata.signatures)
        except RepositoryError:
            return False
        return True

    def takes(self, root: Metadata[Root]) -> bool:
        """Whether devices that trust the root in force follow to this one."""
        try:
            self.root.signed.verify_delegate("root", root.signed_bytes, root.signatures)
        except RepositoryError:
            return False
        return root.signed.version == self.root.signed.version + 1

    def named(self) -> dict[str, Named]:
        """The files that targets names."""
        return {
            name: Named(name, file.hashes.get("sha256", ""), file.length)
            for name, file in self.targets.signed.targets.items()
        }

    def due(self, now: datetime) -> frozenset[str]:
        """The roles to renew: those whose end is near, and those that a new root no longer takes."""
        return frozenset(
            role for role in ROLES if self.of(role).signed.expires - now < RENEW[role] or not self.valid(role)
        )


def first_books(keys: Mapping[str, Signer], controller: bytes, *, now: datetime) -> Books:
    """A new site's metadata, which names no release.

    Args:
        keys: Every role's.
        controller: The content of `controller.json`.
    """
    root = Root(expires=now + VALID["root"], consistent_snapshot=True)
    for role in ROLES:
        root.add_key(_public(keys[role]), role)
    named = {CONTROLLER_FILE: TargetFile.from_data(CONTROLLER_FILE, controller, ["sha256"])}
    targets = sign(Targets(expires=now + VALID["targets"], targets=named), [keys["targets"]])
    snapshot = sign(
        Snapshot(expires=now + VALID["snapshot"], meta={"targets.json": _pointer(targets)}),
        [keys["snapshot"]],
    )
    timestamp = sign(
        Timestamp(expires=now + VALID["timestamp"], snapshot_meta=_pointer(snapshot)), [keys["timestamp"]]
    )
    return Books(sign(root, [keys["root"]]), targets, snapshot, timestamp)


def successor(signed: _T, *, now: datetime) -> _T:
    """The next version of what a role says, to be changed and signed."""
    after = copy.deepcopy(signed)
    after.version += 1
    after.expires = now + VALID[signed.type]
    return after


def next_snapshot(books: Books, targets: Metadata[Targets], *, now: datetime) -> Snapshot:
    """The snapshot that points to `targets`."""
    after = successor(books.snapshot.signed, now=now)
    after.meta["targets.json"] = _pointer(targets)
    return after


def next_timestamp(books: Books, snapshot: Metadata[Snapshot], *, now: datetime) -> Timestamp:
    """The timestamp that points to `snapshot`."""
    after = successor(books.timestamp.signed, now=now)
    after.snapshot_meta = _pointer(snapshot)
    return after


def with_key(root: Root, role: str, key: Key, *, now: datetime) -> Root:
    """The next root, in which `key` alone signs for `role`."""
    after = successor(root, now=now)
    for keyid in list(after.roles[role].keyids):
        after.revoke_key(keyid, role)
    after.add_key(key, role)
    return after


def with_targets(targets: Targets, named: Iterable[Named], *, now: datetime) -> Targets:
    """The next targets, which name these files too, each in the place of one of the same name."""
    after = successor(targets, now=now)
    for file in named:
        after.targets[file.name] = TargetFile(file.length, {"sha256": file.sha256}, file.name)
    return after


def sign(signed: _T, signers: Iterable[Signer]) -> Metadata[_T]:
    """Metadata with these signatures."""
    metadata = Metadata(signed)
    for signer in signers:
        metadata.sign(signer, append=True)
    return metadata


def controller_json(public: Iterable[bytes]) -> bytes:
    """The content of `controller.json`: the keys whose desired messages devices take."""
    return json.dumps({"keys": sorted(key.hex() for key in public)}).encode()


def parse(data: bytes, kind: type[_T], where: str) -> Metadata[_T]:
    """Read metadata of a role.

    Raises:
        ConfigError: if it is none.
    """
    try:
        metadata: Metadata[_T] = Metadata.from_bytes(data)
    except DeserializationError:
        raise ConfigError("it is no TUF metadata", where=where) from None
    if not isinstance(metadata.signed, kind):
        raise ConfigError(f"it is metadata of {metadata.signed.type}, not of {kind.type}", where=where)
    return metadata


def release_file(label: str) -> str:
    """The name under which targets holds a release.

    Args:
        label: `NAME-VERSION`.
    """
    return f"{label}.kenpin"


def _public(signer: Signer) -> Key:
    key: Key = signer.public_key
    return key


def _pointer(metadata: Metadata[Targets] | Metadata[Snapshot]) -> MetaFile:
    return MetaFile.from_data(metadata.signed.version, metadata.to_bytes(), ["sha256"])
