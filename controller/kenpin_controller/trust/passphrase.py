"""Passphrases of key files: from the environment, or from a person. Never logged, never an argument."""

from __future__ import annotations

import getpass
import os
import sys
from pathlib import Path

from kenpin_wire.errors import ConfigError

VARIABLE = "KENPIN_KEYS_PASSPHRASE"


def from_environment(_file: Path) -> bytes | None:
    """As a service gives it."""
    return os.environ.get(VARIABLE, "").encode() or None


def from_person(file: Path) -> bytes | None:
    """The environment's, else asked for if there is a terminal."""
    found = from_environment(file)
    if found is None and sys.stdin.isatty():
        found = getpass.getpass(f"Passphrase of {file}: ").encode() or None
    return found


def new(what: str) -> bytes | None:
    """For keys that are being made: the environment's, else asked for twice; None for none.

    Raises:
        ConfigError: if the two differ.
    """
    found = from_environment(Path())
    if found is None and sys.stdin.isatty():
        found = getpass.getpass(f"Passphrase for {what} (empty for none): ").encode() or None
        if found and getpass.getpass("Once more: ").encode() != found:
            raise ConfigError("the two differ", where="passphrase", remedy="Nothing was made; start again.")
    return found
