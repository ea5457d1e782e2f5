"""What of a deployment lies on disk.

deployment.json     the machine's state, replaced atomically: the one switch between the two slots
slots/a, slots/b    two unpacked releases
blobs/SHA256        a release's file while it is being fetched
"""

from __future__ import annotations

import errno
import hashlib
import logging
import os
from contextlib import suppress
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from kenpin_agent.deployment.state import Installed, Slot, State
from kenpin_agent.files import REAL_DISK, Disk, write_atomically
from kenpin_agent.release import SlotDamagedError
from kenpin_wire.errors import os_words
from kenpin_wire.manifest import MANIFEST_FILE

log = logging.getLogger(__name__)

_STATE = TypeAdapter(State)


class Slots:
    """The folder that holds a device's releases.

    Args:
        folder: Made if it is not there.
    """

    def __init__(self, folder: Path, disk: Disk = REAL_DISK) -> None:
        self.disk = disk
        self._folder = folder
        self._state_file = folder / "deployment.json"
        for inside in ("slots", "blobs"):
            disk.make_folder(folder / inside)

    def load(self) -> State:
        """The stored state; a fresh one if there is none. An unreadable one is set aside, not deleted."""
        try:
            return _STATE.validate_json(self.disk.read(self._state_file))
        except FileNotFoundError:
            return State()
        except (ValidationError, UnicodeDecodeError):
            aside = self._state_file.with_suffix(".damaged")
            self.disk.replace(self._state_file, aside)
            log.error("%s is damaged and was set aside as %s", self._state_file, aside.name)
            return State()

    def store(self, state: State) -> None:
        """Make `state` the one that a restart finds."""
        write_atomically(self._state_file, _STATE.dump_json(state), self.disk)

    def slot(self, slot: Slot) -> Path:
        return self._folder / "slots" / slot.value

    def manifest_sha256(self, slot: Slot) -> str:
        """Of the manifest of what lies in the slot."""
        return hashlib.sha256(self.disk.read(self.slot(slot) / MANIFEST_FILE)).hexdigest()

    def check(self, installed: Installed) -> Path:
        """See whether the slot holds the manifest of what was installed there; the manifest names the hashes of
        the other files. Returns the slot's folder.

        Raises:
            SlotDamagedError: if it does not.
        """
        folder = self.slot(installed.slot)
        try:
            found = self.manifest_sha256(installed.slot)
        except OSError as error:
            raise SlotDamagedError.from_os(error, where=str(folder)) from None
        if installed.manifest_sha256 not in ("", found):
            raise SlotDamagedError(f"{MANIFEST_FILE} was altered", where=str(folder))
        return folder

    def blob(self, sha256: str) -> Path:
        return self._folder / "blobs" / sha256

    def check_space(self, needed_bytes: int) -> None:
        """Before anything is fetched, so that no disk is filled in vain.

        Raises:
            OSError: with ENOSPC, if there is less.
        """
        if self.disk.free_bytes(self._folder) < needed_bytes:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def discard_blobs(self, keep: str = "") -> None:
        """Delete fetched files, but the one with this sha256. What cannot be deleted stays."""
        folder = self._folder / "blobs"
        with suppress(OSError):
            for name in self.disk.names(folder):
                if name != keep:
                    with suppress(OSError):
                        self.disk.remove(folder / name)

    def clear(self, slot: Slot) -> Path:
        """Empty a slot and return its folder's path, which then does not exist."""
        self.disk.remove_tree(self.slot(slot))
        return self.slot(slot)


def disk_reason(error: OSError, needed_bytes: int) -> str:
    """Why the disk did not take a file, and what to do about it."""
    if error.errno == errno.ENOSPC:
        return f"the disk is full; free {needed_bytes / 1e6:.0f} MB on this device and send the release again"
    return f"the file cannot be written: {os_words(error)}"
