"""What of a deployment lies on disk.

deployment.json     the machine's state, replaced atomically: the one switch between the two slots
slots/a, slots/b    two unpacked releases
blobs/SHA256        a release's file while it is being fetched
"""

from __future__ import annotations

import errno
import logging
import os
import shutil
from contextlib import suppress
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from kenpin_agent.deployment.machine import Slot, State
from kenpin_agent.files import write_atomically

log = logging.getLogger(__name__)

_STATE = TypeAdapter(State)


class Slots:
    """The folder that holds a device's releases.

    Args:
        folder: Made if it is not there.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._state_file = folder / "deployment.json"
        (folder / "slots").mkdir(parents=True, exist_ok=True)
        (folder / "blobs").mkdir(exist_ok=True)

    def load(self) -> State:
        """The stored state; a fresh one if there is none. An unreadable one is set aside, not deleted."""
        try:
            return _STATE.validate_json(self._state_file.read_bytes())
        except FileNotFoundError:
            return State()
        except (ValidationError, UnicodeDecodeError):
            aside = self._state_file.with_suffix(".damaged")
            self._state_file.replace(aside)
            log.error("%s is damaged and was set aside as %s", self._state_file, aside.name)
            return State()

    def store(self, state: State) -> None:
        """Make `state` the one that a restart finds."""
        write_atomically(self._state_file, _STATE.dump_json(state))

    def slot(self, slot: Slot) -> Path:
        return self._folder / "slots" / slot.value

    def blob(self, sha256: str) -> Path:
        return self._folder / "blobs" / sha256

    def check_space(self, needed_bytes: int) -> None:
        """Before anything is fetched, so that no disk is filled in vain.

        Raises:
            OSError: with ENOSPC, if there is less.
        """
        if shutil.disk_usage(self._folder).free < needed_bytes:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def discard_blobs(self, keep: str = "") -> None:
        """Delete fetched files, but the one with this sha256. What cannot be deleted stays."""
        for blob in (self._folder / "blobs").glob("*"):  # nothing, should the folder be gone
            if blob.name != keep:
                with suppress(OSError):
                    blob.unlink()

    def clear(self, slot: Slot) -> Path:
        """Empty a slot and return its folder's path, which then does not exist."""
        shutil.rmtree(self.slot(slot), ignore_errors=True)
        return self.slot(slot)
