"""The releases: each file in a folder under its own hash, and what it is in a table."""

from __future__ import annotations

import re
import threading
import time
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Connection, Engine, select, update

from kenpin_agent.files import write_atomically
from kenpin_controller.errors import ConflictError, StoreError
from kenpin_controller.operations import ReleaseRecord
from kenpin_controller.store import schema as t
from kenpin_controller.store.audit import Deed, writing
from kenpin_controller.store.database import insert_new
from kenpin_wire.messages import ReleaseName

_SHA256 = re.compile(r"[0-9a-f]{64}")


class Releases:
    """Adds and lists releases. Nothing is ever overwritten. Any number of threads.

    Args:
        folder: Where the files lie, as `SHA256.kenpin`. Made if it is not there.
    """

    def __init__(self, engine: Engine, folder: Path) -> None:
        self._engine = engine
        self._writer = engine.execution_options(writes=True)
        self._folder = folder
        self._adding = threading.Lock()  # the same file twice at once would be written to one path
        folder.mkdir(parents=True, exist_ok=True)

    def add(self, record: ReleaseRecord, data: bytes, *, who: str) -> ReleaseRecord:
        """Keep a release that was found good. One that is there already is returned as it is.

        The file is complete before its row exists, so that a row never names a file that is not there.

        Raises:
            ConflictError: if the name and version belong to another file.
            StoreError: if it cannot be written; everything is as it was then.
        """
        with self._adding:
            known = self.find(record.release)
            if known is None:
                try:
                    write_atomically(self.path(record.sha256), data)
                    self._insert(record, who)
                except OSError as error:
                    raise StoreError(
                        f"the release cannot be written ({error.strerror})",
                        where=str(self._folder),
                        remedy="Free some space; nothing stored is lost.",
                    ) from None
                known = self.find(record.release)
            if known is None or known.sha256 != record.sha256:
                raise ConflictError(
                    "another file with this name and version is here already",
                    where=str(record.release),
                    remedy="Give the new one another version.",
                )
            return known

    def list(self) -> list[ReleaseRecord]:
        """Newest first."""
        with self._engine.connect() as connection:
            rows = connection.execute(select(t.releases).order_by(t.releases.c.uploaded_s.desc())).all()
        return [
            ReleaseRecord(
                release=ReleaseName(name=row.name, version=row.version),
                sha256=row.sha256,
                size=row.size,
                uploaded_s=row.uploaded_s,
                summary=row.summary,
                recalled=row.recalled,
            )
            for row in rows
        ]

    def recall(self, release: ReleaseName, recalled: str, *, deed: Deed) -> None:
        """Write down that no rollout may use it any more, and who says so and why.

        Raises:
            StoreError: if it cannot be stored; nothing has changed then.
        """
        c = t.releases.c
        with writing(self._writer, deed) as connection:
            mine = update(t.releases).where(c.name == release.name, c.version == release.version)
            connection.execute(mine.values(recalled=recalled[:1024]))

    def find(self, release: ReleaseName) -> ReleaseRecord | None:
        """One release by name and version."""
        return next((record for record in self.list() if record.release == release), None)

    def labelled(self, label: str) -> ReleaseRecord | None:
        """One release by `NAME-VERSION`, as devices tell what they run; the newest, if a `-` makes two alike."""
        return next((record for record in self.list() if str(record.release) == label), None)

    def path(self, sha256: str) -> Path:
        """Where the file with this hash lies, if it is here.

        Raises:
            ValueError: if it is no SHA-256.
        """
        if not _SHA256.fullmatch(sha256):
            raise ValueError(f"{sha256!r} is no SHA-256")
        return self._folder / f"{sha256}.kenpin"

    def _insert(self, record: ReleaseRecord, who: str) -> None:
        row = {
            "sha256": record.sha256,
            "name": record.release.name,
            "version": record.release.version,
            "size": record.size,
            "uploaded_s": record.uploaded_s,
            "who": who,
            "summary": record.summary,
        }
        detail = {"sha256": record.sha256, "size": record.size}
        with writing(
            self._writer, Deed(who, "add release", str(record.release), time.time(), detail)
        ) as connection:
            insert_new(connection, t.releases, [row])


@dataclass(frozen=True, slots=True)
class ReleaseFile:
    """What an order says of a release's file."""

    release: ReleaseName
    sha256: str
    size: int
    recalled: str


def find_file(connection: Connection, label: str) -> ReleaseFile | None:
    """By `NAME-VERSION`; the newest, if a `-` makes two alike."""
    c = t.releases.c
    query = select(t.releases).where(c.name + "-" + c.version == label).order_by(c.uploaded_s.desc())
    row = connection.execute(query).first()
    if row is None:
        return None
    return ReleaseFile(ReleaseName(name=row.name, version=row.version), row.sha256, row.size, row.recalled)
