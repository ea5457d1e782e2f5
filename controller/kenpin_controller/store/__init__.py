"""What the controller keeps: a database and a folder of releases. `Store` opens both together."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Self

from sqlalchemy import Engine

from kenpin_controller.store.database import open_database
from kenpin_controller.store.intents import Intents
from kenpin_controller.store.marks import Marks
from kenpin_controller.store.readings import Readings
from kenpin_controller.store.releases import Releases
from kenpin_controller.store.rollouts import Rollouts
from kenpin_controller.store.shadows import Shadows
from kenpin_wire.errors import ConfigError

__all__ = ["Store"]


@dataclass(frozen=True, slots=True)
class Store:
    """The store's parts. Reads and writes go to them directly."""

    readings: Readings
    intents: Intents
    releases: Releases
    rollouts: Rollouts
    marks: Marks
    shadows: Shadows
    engine: Engine

    @classmethod
    def open(cls, folder: Path, url: str | None = None) -> Self:
        """Open, making what is not there and migrating what is old.

        Args:
            folder: Where the releases lie, and the database unless `url` says otherwise.
            url: A database URL of SQLAlchemy's.

        Raises:
            ConfigError: if the folder or the URL cannot be used.
            StoreError: if the database cannot be opened, or was made by a newer program.
        """
        try:
            folder.mkdir(parents=True, exist_ok=True)
            engine = open_database(url or f"sqlite:///{folder / 'kenpin.db'}")
            return cls(
                Readings(engine),
                Intents(engine),
                Releases(engine, folder / "releases"),
                Rollouts(engine),
                Marks(engine),
                Shadows(engine),
                engine,
            )
        except OSError as error:
            raise ConfigError(
                f"the folder cannot be used ({error.strerror})",
                where=str(folder),
                remedy="Give --data a folder that this user can write to.",
            ) from None

    def close(self) -> None:
        """Let go of the database."""
        self.engine.dispose()
