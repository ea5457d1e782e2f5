"""The nearest references to a vector: exact, and fast enough for every frame."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Neighbours:
    """An exact k-nearest-neighbours index over `references`, shape (n, d), float32.

    ‖r − q‖² = ‖r‖² + ‖q‖² − 2 r·q is one float32 matrix product, but cancels badly where distances are small
    beside the norms. So it only picks the candidates, on centred vectors, with a bound on its error; their
    distances then come from the differences themselves, which round to 1e-7 and cancel nothing.
    """

    references: Floats

    def nearest(self, vector: Floats, k: int) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.float64]]:
        """Indices and distances of the k nearest, nearest first; of equally near ones the lower index first.

        Args:
            vector: Shape (d,), float32.
        """
        centred = vector - self._centre
        rough = self._centred @ centred
        np.subtract(self._half_squares, rough, out=rough)  # (‖r − q‖² − ‖q‖²) / 2
        bound = self._relative_error * (2 * self._half_squares_max + float(centred @ centred))
        kth = np.partition(rough, k - 1)[k - 1]
        # Not `<=`: a vector that is not finite keeps all references, and its distances are not finite.
        candidates = (~(rough > kth + 2 * bound)).nonzero()[0]
        differences = self.references.take(candidates, axis=0)
        differences -= vector
        distances = np.sqrt(np.einsum("ij,ij->i", differences, differences), dtype=np.float64)
        order = distances.argsort(kind="stable")[:k]
        return candidates.take(order), distances.take(order)

    @cached_property
    def _centre(self) -> Floats:
        centre: Floats = self.references.mean(axis=0, dtype=np.float64).astype(np.float32)
        return centre

    @cached_property
    def _centred(self) -> Floats:
        return self.references - self._centre

    @cached_property
    def _half_squares(self) -> Floats:
        squares = np.einsum("ij,ij->i", self._centred, self._centred, dtype=np.float64)
        halves: Floats = (squares / 2).astype(np.float32)
        return halves

    @cached_property
    def _half_squares_max(self) -> float:
        return float(self._half_squares.max())

    @cached_property
    def _relative_error(self) -> float:
        # A dot product's rounding grows as √d; four times that has room to spare and adds few candidates.
        return 4 * float(np.finfo(np.float32).eps) * math.sqrt(self.references.shape[1])
