"""A disk in memory that forgets what was not synced, tears what it was just writing, and fails when it is told to.

Two views are kept: what the program sees, and what a power cut leaves. A file's content comes into the second by
`sync`, a folder's changes (files made, renamed, deleted) by `sync_folder`. A power cut leaves any part of the rest:
of a folder's changes the first few, of a file's content the old one, the new one, its beginning, or zeros.
"""

from __future__ import annotations

import errno
import hashlib
import os
import random
from collections.abc import Callable
from enum import Enum
from pathlib import Path


class Fault(Enum):
    """What happens at a point of the program."""

    KILL = "the process is killed"
    CUT = "the power goes"
    FULL = "the disk is full"
    BROKEN = "the disk fails"


class Killed(BaseException):
    """The program ends here; nothing of it runs any more."""


class Faults:
    """Counts the points that a program comes by, and strikes at some of them.

    Args:
        plan: What happens at which point.

    Attributes:
        count: Points passed so far.
        struck: Faults that came to pass.
    """

    def __init__(self, plan: dict[int, Fault] | None = None) -> None:
        self.plan = plan or {}
        self.count = 0
        self.struck: list[Fault] = []
        self.dead = False

    def point(self, *, disk: bool = False) -> bool:
        """A moment between two acts. Returns whether the act that follows is to be cut short.

        Args:
            disk: Whether what follows is a call that the disk can refuse.
        """
        if self.dead:
            raise Killed
        fault = self.plan.get(self.count)
        self.count += 1
        if fault is None or (fault in (Fault.FULL, Fault.BROKEN) and not disk):
            return False
        self.struck.append(fault)
        if fault is Fault.FULL:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        if fault is Fault.BROKEN:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        self.dead = True
        if disk:
            return True
        raise Killed

    @property
    def power_went(self) -> bool:
        return bool(self.struck) and self.struck[-1] is Fault.CUT

    def revive(self) -> None:
        """The program is started again."""
        self.dead = False


class _Content:
    def __init__(self, data: bytes = b"") -> None:
        self.data = data
        self.sure = b""


class SimDisk:
    """`kenpin_agent.files.Disk` in memory.

    Args:
        chance: Decides what a power cut leaves.
    """

    def __init__(self, faults: Faults, chance: random.Random) -> None:
        self.faults = faults
        self._chance = chance
        self._files: dict[str, _Content] = {}
        self._sure: dict[str, _Content] = {}
        self._changes: list[tuple[str, Callable[[dict[str, _Content]], None]]] = []

    def copy(self, faults: Faults, chance: random.Random) -> SimDisk:
        """The same files, all synced."""
        other = SimDisk(faults, chance)
        for path, content in self._files.items():
            other._files[path] = other._sure[path] = same = _Content(content.data)
            same.sure = content.data
        return other

    def cut_power(self) -> None:
        """From here on the program sees what a power cut left."""
        for _, change in self._changes[: self._chance.randint(0, len(self._changes))]:
            change(self._sure)
        self._changes.clear()
        for content in self._sure.values():
            if content.data != content.sure:
                content.data = content.sure = self._left(content)
        self._files = dict(self._sure)

    def _left(self, content: _Content) -> bytes:
        new, old = content.data, content.sure
        cut = self._chance.randint(0, len(new))
        torn = new[:cut]
        if new.startswith(old):  # it was appended to
            torn = new[: max(cut, len(old))]
            return self._chance.choice([old, new, torn, torn + bytes(len(new) - len(torn))])
        return self._chance.choice([old, new, torn, b"", bytes(len(new))])

    # The program's view --------------------------------------------------------------------------------

    def read(self, path: Path) -> bytes:
        if self.faults.point(disk=True):
            raise Killed
        return self._content(path).data

    def sha256(self, path: Path) -> str:
        return hashlib.sha256(self.read(path)).hexdigest()

    def size(self, path: Path) -> int | None:
        if self.faults.point(disk=True):
            raise Killed
        content = self._files.get(str(path))
        return len(content.data) if content else None

    def names(self, folder: Path) -> list[str]:
        if self.faults.point(disk=True):
            raise Killed
        return [Path(path).name for path in self._files if Path(path).parent == folder]

    def free_bytes(self, folder: Path) -> int:
        if self.faults.point(disk=True):
            raise Killed
        return 10**9

    def write(self, path: Path, data: bytes) -> None:
        self._put(path, b"", data)

    def append(self, path: Path, data: bytes) -> None:
        known = self._files.get(str(path))
        self._put(path, known.data if known else b"", data)

    def truncate(self, path: Path, size: int) -> None:
        known = self._files.get(str(path))
        self._put(path, (known.data if known else b"")[:size], b"")

    def sync(self, path: Path) -> None:
        self._act(lambda: self._sync(path))

    def sync_folder(self, folder: Path) -> None:
        self._act(lambda: self._sync_folder(str(folder)))

    def replace(self, source: Path, target: Path) -> None:
        old, new = str(source), str(target)
        if not any(path == old or path.startswith(old + "/") for path in self._files):
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), old)

        def rename(files: dict[str, _Content]) -> None:
            for path in [p for p in files if p == old or p.startswith(old + "/")]:
                files[new + path[len(old) :]] = files.pop(path)

        self._act(lambda: self._change(target.parent, rename))

    def remove(self, path: Path) -> None:
        name = str(path)
        self._act(lambda: self._change(path.parent, lambda files: files.pop(name, None)))

    def remove_tree(self, folder: Path) -> None:
        """File by file, so that a kill may leave half of it."""
        inside = [path for path in self._files if path.startswith(f"{folder}/")]
        for path in inside:
            try:
                self.remove(Path(path))
            except OSError:
                continue

    def make_folder(self, folder: Path) -> None:
        """Folders are there as soon as something is in them."""

    # Helpers -------------------------------------------------------------------------------------------

    def _act(self, act: Callable[[], None]) -> None:
        if self.faults.point(disk=True):
            if self._chance.random() < 0.5:
                act()
            raise Killed
        act()
        self.faults.point()

    def _put(self, path: Path, kept: bytes, data: bytes) -> None:
        torn = self.faults.point(disk=True)
        content = self._files.get(str(path))
        if content is None:
            made = content = _Content()
            self._change(path.parent, lambda files: files.__setitem__(str(path), made))
        content.data = kept + (data[: self._chance.randint(0, len(data))] if torn else data)
        if torn:
            raise Killed
        self.faults.point()

    def _change(self, folder: Path, change: Callable[[dict[str, _Content]], object]) -> None:
        def do(files: dict[str, _Content]) -> None:
            change(files)

        do(self._files)
        self._changes.append((str(folder), do))

    def _sync(self, path: Path) -> None:
        content = self._content(path)
        content.sure = content.data

    def _sync_folder(self, folder: str) -> None:
        later = []
        for where, change in self._changes:
            if where == folder:
                change(self._sure)
            else:
                later.append((where, change))
        self._changes = later

    def _content(self, path: Path) -> _Content:
        try:
            return self._files[str(path)]
        except KeyError:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path)) from None
