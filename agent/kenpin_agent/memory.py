"""What the agent remembers over restarts, besides its releases and its outbox."""

from __future__ import annotations

import logging
from contextlib import suppress
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from kenpin_agent.files import write_atomically
from kenpin_agent.settings import Wishes
from kenpin_wire.errors import ConfigError, os_words

log = logging.getLogger(__name__)

_WISHES = TypeAdapter(Wishes)


class Memory:
    """The agent's state folder.

    Args:
        folder: Made if it is not there.

    Raises:
        ConfigError: if the folder cannot be made or written.
    """

    def __init__(self, folder: Path) -> None:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            probe = folder / ".writable"
            probe.touch()
            probe.unlink()
        except OSError as error:
            raise ConfigError(
                f"the state folder cannot be written ({os_words(error)})",
                where=str(folder),
                remedy="Give another with `state_dir`, or make this one writable for the agent's user.",
            ) from None
        self._wishes_file = folder / "settings.json"
        self._boot_file = folder / "boot"

    def next_boot(self) -> int:
        """Count this start. Numbers only grow, so that (boot, seq) orders a device's messages for good."""
        try:
            boot = int(self._boot_file.read_text()) + 1
        except (FileNotFoundError, ValueError):
            boot = 1
        if not self._write(self._boot_file, str(boot).encode()):
            # On a full disk: where the old number lies there is room, and a number that came twice would make
            # controllers take all that is said for old.
            with suppress(OSError), self._boot_file.open("r+b") as file:
                file.write(str(boot).encode())
        return boot

    def wishes(self) -> Wishes:
        """The desired settings as last received; none if they are unreadable, since the broker retains them."""
        try:
            return _WISHES.validate_json(self._wishes_file.read_bytes())
        except FileNotFoundError:
            return Wishes()
        except (ValidationError, OSError):
            log.warning("%s is unreadable; waiting for the broker's copy", self._wishes_file)
            return Wishes()

    def remember(self, wishes: Wishes) -> None:
        self._write(self._wishes_file, _WISHES.dump_json(wishes, exclude_none=True))

    def _write(self, path: Path, data: bytes) -> bool:
        """A full disk must not stop an inspection: what cannot be remembered is in force all the same."""
        try:
            write_atomically(path, data)
        except OSError as error:
            log.error("%s cannot be written (%s); it will be forgotten at a restart", path, os_words(error))
            return False
        return True
