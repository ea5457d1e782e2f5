"""Key files: Ed25519 as PEM (PKCS #8), readable by their owner alone, one folder of them a machine.

A key that is to take another's place lies beside it as `NAME.PUBLIC.pem` until metadata that names it has been
published; so a kill between the two leaves either the old key in force and in place, or the new one to be adopted.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    KeySerializationEncryption,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)
from securesystemslib.signer import CryptoSigner, SSlibKey

from kenpin_agent.files import sync_folder
from kenpin_controller.errors import ConflictError
from kenpin_wire.errors import ConfigError

ROLES = ("root", "targets", "snapshot", "timestamp")
OFFLINE = ("root", "targets")
"""What may be kept away from the controller: the fleet's trust begins with root, and targets says what may run."""
CONTROLLER = "controller"
"""Signs desired settings and releases; devices know it by the target `controller.json`."""

Passphrase = Callable[[Path], bytes | None]
"""Gives the passphrase for a key file, or None if there is none to be had."""


@dataclass(frozen=True, slots=True)
class PrivateKey:
    """An Ed25519 key in memory."""

    private: Ed25519PrivateKey

    @classmethod
    def generate(cls) -> PrivateKey:
        return cls(Ed25519PrivateKey.generate())

    @property
    def public(self) -> bytes:
        """Its 32 public bytes."""
        return self.private.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)

    @property
    def id(self) -> str:
        """As `kenpin_wire.signed.Signed` names it."""
        return hashlib.sha256(self.public).hexdigest()

    @property
    def signer(self) -> CryptoSigner:
        """As python-tuf takes it; `signer.public_key` is what metadata holds."""
        return CryptoSigner(self.private, SSlibKey.from_crypto(self.private.public_key()))


def no_passphrase(_file: Path) -> bytes | None:
    """For where nobody can be asked."""
    return None


class KeyFolder:
    """Key files by name: a role, or `CONTROLLER`.

    Args:
        folder: Made (mode 0700) when the first key is.
        passphrase: Asked for a key file that is encrypted.
    """

    def __init__(self, folder: Path, passphrase: Passphrase = no_passphrase) -> None:
        self.folder = folder
        self._passphrase = passphrase

    def path(self, name: str) -> Path:
        """Where a key lies, if it is here."""
        return self.folder / f"{name}.pem"

    def has(self, name: str) -> bool:
        """Whether it is here, readable or not."""
        return self.path(name).is_file()

    def load(self, name: str) -> PrivateKey:
        """Read a key.

        Raises:
            ConfigError: if it is not here, damaged, or its passphrase is wrong or was not given.
        """
        return _load(self.path(name), self._passphrase)

    def make(self, name: str, passphrase: bytes | None = None) -> PrivateKey:
        """Make a key where there is none.

        Raises:
            ConflictError: if there is one.
            OSError: if it cannot be written.
        """
        key = PrivateKey.generate()
        _create(self.path(name), _pem(key, passphrase))
        return key

    def make_next(self, name: str, passphrase: bytes | None = None) -> PrivateKey:
        """Make the key that shall take `name`'s place once it is published; an earlier such key is dropped."""
        for path in self._waiting(name):
            path.unlink()
        key = PrivateKey.generate()
        _create(self._next_path(name, key.public.hex()), _pem(key, passphrase))
        return key

    def load_next(self, name: str) -> PrivateKey | None:
        """The key that waits to take `name`'s place."""
        return next((_load(path, self._passphrase) for path in self._waiting(name)), None)

    def adopt(self, name: str, in_force: frozenset[str]) -> bool:
        """Put a waiting key in its place if metadata names it. Returns whether one was.

        Args:
            in_force: Public keys, in hex.
        """
        for path in self._waiting(name):
            if path.name.split(".")[1] in in_force:
                path.replace(self.path(name))
                sync_folder(self.folder)
                return True
        return False

    def _next_path(self, name: str, public: str) -> Path:
        return self.folder / f"{name}.{public}.pem"

    def _waiting(self, name: str) -> list[Path]:
        return sorted(self.folder.glob(f"{name}.*.pem"))


def _pem(key: PrivateKey, passphrase: bytes | None) -> bytes:
    how: KeySerializationEncryption = BestAvailableEncryption(passphrase) if passphrase else NoEncryption()
    return key.private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, how)


def _load(path: Path, passphrase: Passphrase) -> PrivateKey:
    try:
        pem = path.read_bytes()
    except OSError as error:
        raise ConfigError.from_os(error, where=str(path)) from None
    secret = passphrase(path) if b"ENCRYPTED" in pem else None
    if b"ENCRYPTED" in pem and not secret:
        raise ConfigError(
            "it needs its passphrase", where=str(path), remedy="Give it in KENPIN_KEYS_PASSPHRASE."
        )
    try:
        private = load_pem_private_key(pem, secret)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        what = "it does not open with this passphrase" if secret else "it is no key file (PEM)"
        remedy = "Give the passphrase that it was made with." if secret else "Put your copy of it back."
        raise ConfigError(what, where=str(path), remedy=remedy) from None
    if not isinstance(private, Ed25519PrivateKey):
        raise ConfigError("it holds another kind of key than Ed25519", where=str(path))
    return PrivateKey(private)


def _create(path: Path, pem: bytes) -> None:
    """Never readable by others, not even for a moment, and never over another file."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    beside = path.with_name(f".{path.name}.new")
    beside.unlink(missing_ok=True)
    handle = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(pem)
            file.flush()
            os.fsync(file.fileno())
        if path.exists():
            raise ConflictError("a key is there already", where=str(path), remedy="Nothing was changed.")
        beside.rename(path)
        sync_folder(path.parent)
    finally:
        beside.unlink(missing_ok=True)
