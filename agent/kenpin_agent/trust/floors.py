"""The newest revision taken on each topic, so that what was signed long ago cannot be said again."""

from __future__ import annotations

import logging
from collections.abc import Container
from dataclasses import dataclass
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from kenpin_agent.files import write_atomically
from kenpin_wire.errors import os_words

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Floor:
    """What was last taken on a topic, and whose key had signed it."""

    rev: int
    key: str


class Floors:
    """Floors by topic, kept over restarts.

    A floor stands as long as its key does: who stole the controller's key could say the highest revision there
    is, and must not thereby silence the key that replaces it (TUF's fast-forward attack). What the old key
    signed is refused for its key, so nothing comes back.
    """

    def __init__(self, file: Path) -> None:
        self._file = file
        self._floors = self._read()

    def of(self, topic: str, known_keys: Container[str]) -> int:
        """No revision below this is taken."""
        floor = self._floors.get(topic)
        return floor.rev if floor is not None and floor.key in known_keys else 0

    def fell(self, topic: str, known_keys: Container[str]) -> bool:
        """Whether there was a floor whose key has been replaced since."""
        floor = self._floors.get(topic)
        return floor is not None and floor.key not in known_keys

    def raise_to(self, topic: str, rev: int, key: str) -> None:
        """Take note of what was accepted; written before it is acted upon, and only if it is new."""
        floor = Floor(rev, key)
        if self._floors.get(topic) == floor:
            return
        self._floors[topic] = floor
        try:
            write_atomically(self._file, _FLOORS.dump_json(self._floors))
        except OSError as error:
            log.error(
                "%s cannot be written (%s); it will be forgotten at a restart", self._file, os_words(error)
            )

    def _read(self) -> dict[str, Floor]:
        try:
            return _FLOORS.validate_json(self._file.read_bytes())
        except FileNotFoundError:
            return {}
        except (OSError, ValidationError):
            log.warning("%s is unreadable; older revisions cannot be told until newer ones come", self._file)
            return {}


_FLOORS = TypeAdapter(dict[str, Floor])
