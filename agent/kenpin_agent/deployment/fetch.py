"""Putting a file together from blocks that come late, twice, damaged or not at all. Pure.

Blocks are asked for in windows and written in order, so that the length of the unfinished file says what
is there after a restart.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from kenpin_wire.messages import MAX_BLOCKS_PER_REQUEST

PATIENCE_S = 1.0
"""How long after the last block the window is asked for again; doubled with each try in vain."""
MAX_PATIENCE_S = 30.0
MAX_TRIES = 12
"""Requests in a row, with the broker there, that brought nothing: about five minutes."""


@dataclass(frozen=True, slots=True)
class Ask:
    """Ask for `count` blocks from `start` on."""

    start: int
    count: int


@dataclass(slots=True)
class Fetch:
    """What has come of one file.

    Args:
        size: The file's length in bytes.
        block_size: Length of every block but the last.
        written: How many whole blocks were there already.
    """

    size: int
    block_size: int
    written: int = 0
    tries: int = 0
    _early: dict[int, bytes] = field(default_factory=dict)
    _asked_until: int = 0

    @property
    def blocks(self) -> int:
        return -(-self.size // self.block_size)

    @property
    def complete(self) -> bool:
        return self.written >= self.blocks

    @property
    def percent(self) -> float:
        return 100.0 * min(self.written, self.blocks) / self.blocks

    @property
    def patience_s(self) -> float:
        return float(min(PATIENCE_S * 2 ** max(self.tries - 1, 0), MAX_PATIENCE_S))

    @property
    def hopeless(self) -> bool:
        return self.tries >= MAX_TRIES

    def ask(self) -> Ask:
        """The next window, from the first block that is missing. Counts as a try until a block comes."""
        self.tries += 1
        count = min(MAX_BLOCKS_PER_REQUEST, self.blocks - self.written)
        self._asked_until = self.written + count
        return Ask(self.written, count)

    def take(self, index: int, data: bytes) -> bytes:
        """Accept a block and return what can now be appended to the file; empty for a block that is early,
        known already, never asked for, or not of its length."""
        expected = min(self.block_size, self.size - index * self.block_size)
        if not self.written <= index < self._asked_until or len(data) != expected:
            return b""
        self._early[index] = data
        ready = []
        while self.written in self._early:
            ready.append(self._early.pop(self.written))
            self.written += 1
        self.tries = 0 if ready else self.tries
        return b"".join(ready)

    @property
    def window_done(self) -> bool:
        """Whether all that was asked for has come."""
        return self.written >= self._asked_until
