"""Which disagreements are kept. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Kept(Generic[T]):
    """A disagreement.

    Attributes:
        only_candidate: Whether the candidate alone rejects the frame; else the release that runs alone does.
        strength: How far both are from agreeing; 0 or more.
        what: The caller's.
    """

    only_candidate: bool
    strength: float
    what: T


class Gallery(Generic[T]):
    """At most `size` disagreements: of either kind the strongest, and for a third of its places the weakest, which
    show where exactly the two part.

    Both kinds have an equal number of places; what one does not need, the other has.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._kept: list[Kept[T]] = []

    def wants(self, only_candidate: bool, strength: float) -> bool:
        """Whether `add` would keep this one. Ask before drawing pictures of it."""
        new: Kept[None] = Kept(only_candidate, strength, None)
        return self._surplus(new) is not new

    def add(self, new: Kept[T]) -> None:
        """Keep it, and let go of another if need be; or not."""
        surplus = self._surplus(new)
        if surplus is new:
            return
        self._kept = [kept for kept in self._kept if kept is not surplus] + [new]

    def all(self) -> list[Kept[T]]:
        """What is kept, the strongest first."""
        return sorted(self._kept, key=lambda kept: -kept.strength)

    def _surplus(self, new: Kept[T] | Kept[None]) -> Kept[T] | Kept[None] | None:
        """Which of them, the new one included, has no place; None if all have."""
        every: list[Kept[T] | Kept[None]] = [*self._kept, new]
        if len(every) <= self._size:
            return None
        kinds = [[kept for kept in every if kept.only_candidate is kind] for kind in (False, True)]
        crowded = max(kinds, key=len)
        if len(kinds[0]) == len(kinds[1]):
            crowded = kinds[new.only_candidate]
        # Sorting is stable: of equals the ones that came first stay.
        crowded.sort(key=lambda kept: -kept.strength)
        return crowded[-(-2 * (len(crowded) - 1) // 3)]
