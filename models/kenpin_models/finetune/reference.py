"""Pictures of other things: any tree of folders, each folder that holds pictures a class."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from kenpin_agent.pictures import list_pictures
from kenpin_wire.errors import ConfigError

MIN_PICTURES = 20


@dataclass(frozen=True, slots=True)
class Reference:
    """A reference set.

    Attributes:
        classes: The folders' paths below the tree's root, in a person's order; "." for the root itself.
        paths: The pictures.
        labels: Of each picture the index of its class.
    """

    classes: tuple[str, ...]
    paths: tuple[Path, ...]
    labels: tuple[int, ...]

    def check(self, method: str, folder: Path) -> None:
        """Raises ConfigError if the method needs more classes than there are."""
        if method == "doc" and len(self.classes) < 2:
            raise ConfigError(
                "all its pictures are of one kind, and doc must have kinds to tell apart",
                where=str(folder),
                remedy="Sort them into a folder for each kind, or use --method arcface.",
            )


def find_reference(folder: Path, most: int, seed: int = 0) -> Reference:
    """The pictures of a tree.

    Args:
        most: Of more pictures so many are drawn at random.

    Raises:
        ConfigError: if the folder is not there, or holds too few pictures to be told from.
    """
    paths = list_pictures(folder, recursive=True)
    if len(paths) < MIN_PICTURES:
        raise ConfigError(
            f"only {len(paths)} picture(s) of other things",
            where=str(folder),
            remedy=f"At least {MIN_PICTURES} are needed; a thousand, of many kinds, are better.",
        )
    if len(paths) > most:
        chosen = np.sort(np.random.default_rng(seed).permutation(len(paths))[:most])
        paths = [paths[i] for i in chosen]
    names = [path.parent.relative_to(folder).as_posix() for path in paths]
    classes = tuple(Counter(names))
    return Reference(classes, tuple(paths), tuple(classes.index(name) for name in names))
