"""Putting a file together from blocks that come late, twice, damaged or not at all. Pure.

Blocks are asked for in rounds of at most a window's length and written in order, so that the length of the unfinished
file says what is there after a restart. A round that brings everything lets the window grow by one block, one that
does not halves it, down to two (additive increase, multiplicative decrease: RFC 5681); of what was asked for, only
what did not come is asked for again. How long a round is waited for follows the measured answer time (after RFC 6298,
with Karn's rule: a block that was asked for twice says nothing of it).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from kenpin_wire.messages import MAX_BLOCKS_PER_REQUEST

FIRST_PATIENCE_S = 1.0
LEAST_PATIENCE_S = 0.3
MAX_PATIENCE_S = 30.0
MAX_TRIES = 20
"""Rounds in a row, with the broker there, that brought nothing: about eight minutes."""
SMALLEST_BLOCK_BYTES = 4096
LEAST_WINDOW = 2
"""With one alone, on a line that loses every other block, half of all rounds would bring nothing, and each of these
doubles the patience of the next: 5 MB to twelve agents took more than 170 s so, and 50 s with two."""
_SMALLER_FROM_TRY, _SMALLER_AFTER_ALL_FROM_TRY = 3, 9
"""Where blocks of this size have come before, their length is hardly what keeps them."""


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
        block_size: Length of every block but the last. It halves when nothing comes: there are brokers that close
            the connection on a message that is too long for them, without a word.
        written: How many whole blocks were there already.

    Attributes:
        window: How many blocks the next round may ask for.
        tries: Rounds in a row that brought nothing.
        asked: How many blocks were asked for, in all.
        duplicates: How many came again that were there already.
    """

    size: int
    block_size: int
    written: int = 0
    window: int = MAX_BLOCKS_PER_REQUEST
    tries: int = 0
    asked: int = 0
    duplicates: int = 0
    _early: dict[int, bytes] = field(default_factory=dict)
    _open: set[int] = field(default_factory=set)
    _asked_at_s: dict[int, float] = field(default_factory=dict)
    _again: set[int] = field(default_factory=set)
    _quiet_since_s: float = 0.0
    _answer_s: float | None = None
    _came: bool = True
    _began: bool = False
    _fits: bool = False

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
        """How long after the last block, or the asking, what is missing is asked for again."""
        patience_s = FIRST_PATIENCE_S if self._answer_s is None else max(4 * self._answer_s, LEAST_PATIENCE_S)
        return float(min(patience_s * 2**self.tries, MAX_PATIENCE_S))

    @property
    def hopeless(self) -> bool:
        return self.tries >= MAX_TRIES

    @property
    def round_done(self) -> bool:
        """Whether all that was asked for has come."""
        return not self._open

    def due(self, now_s: float) -> bool:
        """Whether the round has been waited for long enough."""
        return now_s - self._quiet_since_s >= self.patience_s

    def ask(self, now_s: float) -> list[Ask]:
        """Begin the next round: the first blocks that are missing, as runs of neighbours."""
        if self._open:
            self.window = max(LEAST_WINDOW, self.window // 2)
            if not self._came:
                self.tries += 1
                self._take_smaller_blocks()
        elif self._began:
            self.window = min(self.window + 1, MAX_BLOCKS_PER_REQUEST)
        self._began, self._came, self._quiet_since_s = True, False, now_s
        wanted: list[int] = []
        index = self.written
        while len(wanted) < self.window and index < self.blocks:
            if index not in self._early:
                wanted.append(index)
            index += 1
        self._again.update(index for index in wanted if index in self._asked_at_s)
        self._asked_at_s.update(dict.fromkeys(wanted, now_s))
        self._open = set(wanted)
        self.asked += len(wanted)
        return list(_runs(wanted))

    def take(self, index: int, data: bytes, now_s: float) -> bytes:
        """Accept a block and return what can now be appended to the file; empty for a block that is early,
        known already, never asked for, or not of its length."""
        if index < self.written or index in self._early:
            self.duplicates += 1
            return b""
        asked_s = self._asked_at_s.get(index)
        if asked_s is None or len(data) != min(self.block_size, self.size - index * self.block_size):
            return b""
        if index not in self._again:
            self._learn(now_s - asked_s)
        self._open.discard(index)
        self._came, self._fits, self.tries, self._quiet_since_s = True, True, 0, now_s
        self._early[index] = data
        ready = []
        while self.written in self._early:
            ready.append(self._early.pop(self.written))
            self._asked_at_s.pop(self.written)
            self._again.discard(self.written)
            self.written += 1
        return b"".join(ready)

    def _learn(self, took_s: float) -> None:
        self._answer_s = took_s if self._answer_s is None else 0.75 * self._answer_s + 0.25 * took_s

    def _take_smaller_blocks(self) -> None:
        small = self.block_size // 2
        patient_until = _SMALLER_AFTER_ALL_FROM_TRY if self._fits else _SMALLER_FROM_TRY
        often = self.tries >= patient_until and self.tries % 2 == 1
        if often and small >= SMALLEST_BLOCK_BYTES and self.block_size % 2 == 0:
            self.block_size, self.written, self._fits = small, 2 * self.written, False
            for known in (self._early, self._asked_at_s, self._again):
                known.clear()


def fitting_block_size(wanted: int, max_packet_bytes: int | None) -> int:
    """The order's block size, or the largest power of two that fits into the broker's packets.

    Args:
        max_packet_bytes: None if the broker has named no limit.
    """
    if max_packet_bytes is None or wanted + PACKET_OVERHEAD_BYTES <= max_packet_bytes:
        return wanted
    room = max(max_packet_bytes - PACKET_OVERHEAD_BYTES, 1)
    return int(1 << (room.bit_length() - 1))


PACKET_OVERHEAD_BYTES = 512
"""Topic, properties and headers of a block's message; topics are at most some 200 bytes."""


def _runs(indices: Iterable[int]) -> Iterable[Ask]:
    start = count = 0
    for index in indices:
        if count and index == start + count:
            count += 1
            continue
        if count:
            yield Ask(start, count)
        start, count = index, 1
    if count:
        yield Ask(start, count)
