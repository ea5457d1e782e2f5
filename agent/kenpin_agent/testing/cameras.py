"""A camera that follows a script."""

from __future__ import annotations

import threading
from collections.abc import Iterable

import numpy as np

from kenpin_agent.seams import Clock, Frame, Image
from kenpin_agent.testing.clock import FakeClock


def picture(value: int = 128, width: int = 64, height: int = 48) -> Image:
    """A plain picture: every byte is `value`."""
    return np.full((height, width, 3), value, np.uint8)


class FakeCamera:
    """`seams.Camera` that gives what its script says, one entry a read, and ends after the last.

    Args:
        script: Pictures or frames to give, errors to raise. A picture becomes a frame with this camera's own
            count and the clock's time; a frame is given as it is.
        clock: For the time of capture.
        hang: Wait for `close` after the last entry, as a camera without light or trigger does, where the
            end would come otherwise.

    Attributes:
        closed: Whether `close` was called.
        reads: How often `read` was called.
    """

    def __init__(
        self, script: Iterable[Image | Frame | Exception], clock: Clock | None = None, *, hang: bool = False
    ) -> None:
        self.reads = 0
        self._script = iter(script)
        self._clock = clock or FakeClock()
        self._hang = hang
        self._count = 0
        self._closed = threading.Event()

    @property
    def closed(self) -> bool:
        return self._closed.is_set()

    def read(self) -> Frame | None:
        self.reads += 1
        if self.closed:
            return None
        entry = next(self._script, None)
        if entry is None:
            if self._hang:
                self._closed.wait()
            return None
        if isinstance(entry, Exception):
            raise entry
        if isinstance(entry, Frame):
            return entry
        index, self._count = self._count, self._count + 1
        return Frame(entry, index, self._clock.monotonic_s())

    def close(self) -> None:
        self._closed.set()
