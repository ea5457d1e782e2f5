"""Writing files so that a power cut leaves the old one or the new one, never half of one."""

from __future__ import annotations

import hashlib
import os
import shutil
from contextlib import suppress
from pathlib import Path
from typing import Protocol


class Disk(Protocol):
    """The few things that are done to files that must survive a power cut. What is written, renamed or deleted is
    only sure to last once it was synced.

    Raises:
        OSError: from any of them.
    """

    def read(self, path: Path) -> bytes: ...
    def write(self, path: Path, data: bytes) -> None: ...
    def append(self, path: Path, data: bytes) -> None: ...
    def sync(self, path: Path) -> None: ...
    def sync_folder(self, folder: Path) -> None: ...
    def replace(self, source: Path, target: Path) -> None: ...

    def truncate(self, path: Path, size: int) -> None:
        """Cut the file to `size` bytes; makes an empty one if there is none."""

    def size(self, path: Path) -> int | None:
        """None if there is no such file."""

    def sha256(self, path: Path) -> str:
        """In hex."""

    def remove(self, path: Path) -> None:
        """Nothing happens if there is no such file."""

    def remove_tree(self, folder: Path) -> None:
        """Delete what can be deleted of it, if it is there."""

    def make_folder(self, folder: Path) -> None:
        """With its parents, unless it is there."""

    def names(self, folder: Path) -> list[str]: ...
    def free_bytes(self, folder: Path) -> int: ...


class RealDisk:
    """The machine's own."""

    def read(self, path: Path) -> bytes:
        return path.read_bytes()

    def write(self, path: Path, data: bytes) -> None:
        path.write_bytes(data)

    def append(self, path: Path, data: bytes) -> None:
        with path.open("ab") as file:
            file.write(data)

    def sync(self, path: Path) -> None:
        _sync(path, os.O_RDONLY)

    def sync_folder(self, folder: Path) -> None:
        _sync(folder, os.O_RDONLY | os.O_DIRECTORY)

    def replace(self, source: Path, target: Path) -> None:
        source.replace(target)

    def truncate(self, path: Path, size: int) -> None:
        with path.open("ab") as file:
            file.truncate(size)

    def size(self, path: Path) -> int | None:
        try:
            return path.stat().st_size
        except FileNotFoundError:
            return None

    def sha256(self, path: Path) -> str:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()

    def remove(self, path: Path) -> None:
        path.unlink(missing_ok=True)

    def remove_tree(self, folder: Path) -> None:
        shutil.rmtree(folder, ignore_errors=True)

    def make_folder(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)

    def names(self, folder: Path) -> list[str]:
        return [path.name for path in folder.iterdir()]

    def free_bytes(self, folder: Path) -> int:
        return shutil.disk_usage(folder).free


REAL_DISK = RealDisk()


def write_atomically(path: Path, data: bytes, disk: Disk = REAL_DISK) -> None:
    """Replace `path` with `data`: written beside it, synced, renamed, and the rename synced.

    Raises:
        OSError: if it cannot be written; nothing is left beside it then, and `path` is as it was, unless it was the
            rename that could not be synced.
    """
    beside = path.with_name(f".{path.name}.new")
    try:
        disk.write(beside, data)
        disk.sync(beside)
        disk.replace(beside, path)
        disk.sync_folder(path.parent)
    except BaseException:
        with suppress(OSError):
            disk.remove(beside)
        raise


def sync_folder(folder: Path) -> None:
    """Make renames inside `folder` survive a power cut."""
    REAL_DISK.sync_folder(folder)


def _sync(path: Path, flags: int) -> None:
    handle = os.open(path, flags)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
