"""A site's TUF repository, made with python-tuf and kept in memory, so that a test can spoil any of it.

Names are as a repository serves them: `timestamp.json`, `3.root.json`, `2.targets.json`, `HASH.controller.json`.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from securesystemslib.signer import CryptoSigner
from tuf.api.metadata import Metadata, MetaFile, Role, Root, Snapshot, TargetFile, Targets, Timestamp

from kenpin_wire.contract import encode
from kenpin_wire.messages import Message
from kenpin_wire.signed import Signed, signed_bytes

ROLES = ("root", "targets", "snapshot", "timestamp")
LIFE = timedelta(days=30)


class ControllerKey:
    """Signs desired messages."""

    def __init__(self) -> None:
        self._private = Ed25519PrivateKey.generate()
        self.public = self._private.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
        self.id = hashlib.sha256(self.public).hexdigest()

    def seal(self, topic: str, message: Message) -> Signed:
        """The message in an envelope for this topic."""
        payload = encode(message).decode()
        signature = base64.b64encode(self._private.sign(signed_bytes(topic, payload))).decode()
        return Signed(payload=payload, key=self.id, signature=signature)


class TufSite:
    """A repository. Change `root`, `targets`, `snapshot` or `timestamp`, then publish what should be seen.

    Args:
        now: Expiry is `LIFE` later.

    Attributes:
        files: What is served, by name.
        signers: By role; as many as its threshold must sign.
    """

    def __init__(self, *, consistent: bool = True, now: datetime | None = None) -> None:
        self.now = now or datetime.now(UTC).replace(microsecond=0)
        self.expires = self.now + LIFE
        self.files: dict[str, bytes] = {}
        self.signers = {role: [CryptoSigner.generate_ed25519()] for role in ROLES}
        self.root = Root(expires=self.expires, consistent_snapshot=consistent)
        self.targets = Targets(expires=self.expires)
        self.snapshot = Snapshot(expires=self.expires)
        self.timestamp = Timestamp(expires=self.expires)
        for role, (signer,) in self.signers.items():
            self.root.add_key(signer.public_key, role)
        self.publish_root()
        self.pinned = self.files["1.root.json"]
        self.publish()

    def rotate(self, role: str, *, threshold: int = 1) -> None:
        """Give a role new keys, in a new root that its old keys and its new ones sign."""
        before = list(self.signers["root"])
        self.signers[role] = [CryptoSigner.generate_ed25519() for _ in range(threshold)]
        self.root.roles[role] = Role([], threshold)
        for signer in self.signers[role]:
            self.root.add_key(signer.public_key, role)
        self.root.version += 1
        self.publish_root(before)

    def publish_root(self, also_signed_by: Iterable[CryptoSigner] = ()) -> None:
        """Serve the root under its version."""
        signers = {signer.public_key.keyid: signer for signer in (*also_signed_by, *self.signers["root"])}
        self.files[f"{self.root.version}.root.json"] = self.sign(self.root, signers.values())

    def publish(self) -> None:
        """Serve targets, snapshot and timestamp as they are, each pointing to the one before."""
        targets = self._serve("targets", self.targets)
        self.snapshot.meta["targets.json"] = _pointer(self.targets.version, targets)
        snapshot = self._serve("snapshot", self.snapshot)
        self.timestamp.snapshot_meta = _pointer(self.snapshot.version, snapshot)
        self.files["timestamp.json"] = self.sign(self.timestamp, self.signers["timestamp"])

    def release(self, *what: str) -> None:
        """Publish the next version of all but the root, or of these roles."""
        for role in what or ("targets", "snapshot", "timestamp"):
            getattr(self, role).version += 1
        self.publish()

    def add_target(self, name: str, content: bytes) -> TargetFile:
        """Name a target and serve it, under its plain and its hashed name. Not published yet."""
        target = TargetFile.from_data(name, content, ["sha256"])
        self.targets.targets[name] = target
        folder, slash, last = name.rpartition("/")
        self.files[name] = content
        self.files[f"{folder}{slash}{target.hashes['sha256']}.{last}"] = content
        return target

    def name_controller(self, *keys: ControllerKey) -> None:
        """Publish a list of controller keys."""
        self.add_target("controller.json", json.dumps({"keys": [key.public.hex() for key in keys]}).encode())
        self.release()

    def sign(self, signed: Any, signers: Iterable[CryptoSigner]) -> bytes:
        """Metadata with these signatures."""
        metadata = Metadata(signed)
        for signer in signers:
            metadata.sign(signer, append=True)
        return bytes(metadata.to_bytes())

    def _serve(self, role: str, signed: Any) -> bytes:
        data = self.sign(signed, self.signers[role])
        name = f"{signed.version}.{role}.json" if self.root.consistent_snapshot else f"{role}.json"
        self.files[name] = data
        return data


def _pointer(version: int, data: bytes) -> MetaFile:
    return MetaFile(version, len(data), {"sha256": hashlib.sha256(data).hexdigest()})
