"""Which rows a batch holds. It follows from the seed and the step alone, so that nothing random need be kept."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import numpy.typing as npt

Indices = npt.NDArray[np.intp]

MOST_HELD_OUT_BATCHES = 12
"""768 pictures, a second or two a round."""


class Feed:
    """Batches half of the part, half of other things; each row once before any comes again.

    Args:
        labels: Shape (n,); 0 for the part.
        held_out: Shape (n,), bool.
    """

    def __init__(
        self, labels: npt.NDArray[np.int64], held_out: npt.NDArray[np.bool_], batch: int, seed: int
    ) -> None:
        self._seed = seed
        self._sizes = (batch // 2, batch - batch // 2)
        self._fitted = tuple(np.flatnonzero(kind & ~held_out) for kind in (labels == 0, labels > 0))
        self._held_out = tuple(np.flatnonzero(kind & held_out) for kind in (labels == 0, labels > 0))

    def fitted(self, step: int) -> Indices:
        """The rows of a step; shape (batch,)."""
        return self._take(self._fitted, step, stream=0)

    def held_out(self) -> list[Indices]:
        """Batches of the same make, so that losses compare. Each picture that was held out is in one, up to
        `MOST_HELD_OUT_BATCHES`; the fewer kind comes again until the other is through."""
        n = max(-(-len(rows) // size) for rows, size in zip(self._held_out, self._sizes, strict=True))
        return [
            self._take(self._held_out, number, stream=2) for number in range(min(n, MOST_HELD_OUT_BATCHES))
        ]

    def _take(self, kinds: tuple[Indices, ...], number: int, stream: int) -> Indices:
        return np.concatenate(
            [
                self._turn(rows, number * size, size, stream + kind)
                for kind, (rows, size) in enumerate(zip(kinds, self._sizes, strict=True))
            ]
        )

    def _turn(self, rows: Indices, start: int, n: int, stream: int) -> Indices:
        """Of all rows shuffled, then all shuffled anew and so on, those from `start` on."""
        turns, places = np.divmod(np.arange(start, start + n), len(rows))
        orders = {turn: _shuffled(len(rows), self._seed, stream, turn) for turn in set(turns.tolist())}
        return rows[[orders[turn][place] for turn, place in zip(turns.tolist(), places, strict=True)]]


@lru_cache(maxsize=32)
def _shuffled(n: int, seed: int, stream: int, turn: int) -> Indices:
    return np.random.default_rng((seed, stream, turn)).permutation(n)
