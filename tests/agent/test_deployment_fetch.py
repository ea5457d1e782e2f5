"""A file comes together from its blocks, whatever becomes of them on the way, and no block is asked for in vain."""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kenpin_agent.deployment.fetch import MAX_TRIES, PACKET_OVERHEAD_BYTES, Ask, Fetch, fitting_block_size
from kenpin_wire.messages import BLOCK_BYTES, MAX_BLOCKS_PER_REQUEST

Copies = list[float]
"""What becomes of a block that was sent: after how many seconds each copy of it arrives; none if it is lost."""


def content(size: int) -> bytes:
    return bytes(i * 7 % 251 for i in range(size))


@dataclass
class Line:
    """The controller and the way to it, in virtual time."""

    fetch: Fetch
    fate: Callable[[], Copies]
    now_s: float = 0.0
    sent: int = 0
    widest: int = 0
    most_requests: int = 0

    def run(self) -> bytes:
        fetch, data = self.fetch, content(self.fetch.size)
        file = data[: fetch.written * fetch.block_size]
        arriving: list[tuple[float, int, int, bytes]] = []
        number = 0
        asks = fetch.ask(self.now_s)
        while not fetch.complete and not fetch.hopeless:
            self.widest = max(self.widest, sum(ask.count for ask in asks))
            self.most_requests = max(self.most_requests, len(asks))
            for ask in asks:
                for index in range(ask.start, ask.start + ask.count):
                    block = data[index * fetch.block_size :][: fetch.block_size]
                    self.sent += 1
                    for delay_s in self.fate():
                        number += 1
                        heapq.heappush(arriving, (self.now_s + delay_s, number, index, block))
            asks = []
            if arriving and arriving[0][0] <= self.now_s + 0.05:
                self.now_s, _, index, block = heapq.heappop(arriving)
                file += fetch.take(index, block, self.now_s)
                if fetch.round_done and not fetch.complete:
                    asks = fetch.ask(self.now_s)
            else:
                self.now_s += 0.05
                if fetch.due(self.now_s):
                    asks = fetch.ask(self.now_s)
        return file


def fates(chosen: list[Copies]) -> Callable[[], Copies]:
    """These, one after another, and after them nothing goes wrong any more."""
    left: Iterator[Copies] = iter(chosen)
    return lambda: next(left, [0.01])


delays = st.floats(0.0, 3.0)


@given(
    size=st.integers(1, 3000),
    block_size=st.integers(1, 300),
    there=st.integers(0, 5),
    chosen=st.lists(st.lists(delays, max_size=3), max_size=80),
)
def test_a_file_comes_together_whatever_is_lost_repeated_or_late(
    size: int, block_size: int, there: int, chosen: list[Copies]
) -> None:
    fetch = Fetch(size, block_size, written=min(there, size // block_size))
    blocks_left = fetch.blocks - fetch.written
    line = Line(fetch, fates(chosen))
    if blocks_left == 0:
        return
    file = line.run()
    assert file == content(size)
    assert line.widest <= MAX_BLOCKS_PER_REQUEST
    late_or_lost = sum(1 for copies in chosen if not copies or min(copies) > 0.3)
    # A block that is late costs its round at most, so everything is bounded by what went wrong.
    assert line.sent <= blocks_left + MAX_BLOCKS_PER_REQUEST * late_or_lost


@pytest.mark.parametrize(("lost", "twice", "most"), [(0.25, 0.25, 1.5), (0.5, 0.0, 2.15), (0.0, 0.5, 1.0)])
def test_no_block_is_fetched_more_than_twice_on_average_on_a_line_that_loses_or_repeats_half(
    lost: float, twice: float, most: float
) -> None:
    asked = blocks = 0
    for seed in range(20):
        chance = random.Random(seed)

        def fate(chance: random.Random = chance) -> Copies:
            drawn = chance.random()
            return [] if drawn < lost else [0.02, 0.03] if drawn < lost + twice else [0.02]

        line = Line(Fetch(80 * 64, 64), fate)
        assert line.run() == content(80 * 64)
        asked, blocks = asked + line.sent, blocks + 80
        assert line.fetch.asked == line.sent
    assert asked / blocks <= most


def test_only_what_is_missing_of_a_round_is_asked_for_again_as_runs() -> None:
    fetch = Fetch(800, 100)
    assert fetch.ask(0.0) == [Ask(0, 8)]
    for index in (0, 1, 4, 7):
        fetch.take(index, bytes(100), 0.1)
    assert fetch.ask(2.0) == [Ask(2, 2), Ask(5, 2)]


def test_the_window_halves_with_each_loss_and_grows_again_by_one() -> None:
    fetch, windows = Fetch(10_000, 10), []
    for loses in [True] * 4 + [False] * 9:
        asks = fetch.ask(0.0)
        windows.append(sum(ask.count for ask in asks))
        wanted = [index for ask in asks for index in range(ask.start, ask.start + ask.count)]
        for index in wanted[1 if loses else 0 :]:
            fetch.take(index, bytes(10), 0.0)
    assert windows == [8, 4, 2, 2, 2, 3, 4, 5, 6, 7, 8, 8, 8]


def test_patience_follows_how_fast_the_controller_answers() -> None:
    slow, fast = Fetch(1000, 100), Fetch(1000, 100)
    for fetch, took_s in ((slow, 2.0), (fast, 0.01)):
        fetch.ask(0.0)
        fetch.take(0, bytes(100), took_s)
    assert slow.patience_s == 8.0
    assert fast.patience_s == 0.3
    assert not slow.due(9.9)
    assert slow.due(10.0)


def test_asking_in_vain_waits_longer_takes_smaller_blocks_and_ends() -> None:
    fetch = Fetch(10 * BLOCK_BYTES, BLOCK_BYTES, written=3)
    patience, sizes = [], []
    while not fetch.hopeless:
        fetch.ask(0.0)
        patience.append(fetch.patience_s)
        sizes.append(fetch.block_size)
    assert patience == sorted(patience)
    assert 120 < sum(patience) < 600
    assert len(patience) == MAX_TRIES + 1
    assert (sizes[0], sizes[-1]) == (BLOCK_BYTES, 4096)
    assert fetch.written * fetch.block_size == 3 * BLOCK_BYTES


def test_a_line_that_takes_no_large_messages_is_spoken_to_in_small_ones() -> None:
    size = 5 * BLOCK_BYTES
    fetch = Fetch(size, BLOCK_BYTES)
    line = Line(fetch, lambda: [0.01] if fetch.block_size <= 20_000 else [])
    assert line.run() == content(size)
    assert fetch.block_size == 16 * 1024


def test_a_line_that_loses_every_other_block_is_not_taken_for_one_that_takes_no_large_messages() -> None:
    for seed in range(20):
        chance, size, block = random.Random(seed), 80 * 8192, 8192
        fetch = Fetch(size, block)
        line = Line(fetch, lambda chance=chance: [0.01] if chance.random() < 0.5 else [])
        assert line.run() == content(size)
        assert fetch.block_size == block
        assert fetch.asked < 2.6 * fetch.blocks  # 2 on average is the least that there is


@pytest.mark.parametrize(
    ("limit", "block"),
    [
        (None, BLOCK_BYTES),
        (1 << 20, BLOCK_BYTES),
        (BLOCK_BYTES + PACKET_OVERHEAD_BYTES, BLOCK_BYTES),
        (BLOCK_BYTES, BLOCK_BYTES // 2),
        (20_000, 16_384),
    ],
)
def test_a_block_fits_into_the_brokers_packets(limit: int | None, block: int) -> None:
    assert fitting_block_size(BLOCK_BYTES, limit) == block


def test_what_was_not_asked_for_or_is_not_of_its_length_is_left_out() -> None:
    fetch = Fetch(1000, 100)
    fetch.ask(0.0)
    assert fetch.take(9, bytes(100), 0.0) == b""
    assert fetch.take(0, bytes(99), 0.0) == b""
    assert fetch.take(0, bytes(100), 0.0) == bytes(100)
    assert fetch.take(0, bytes(100), 0.0) == b""
    assert (fetch.written, fetch.duplicates) == (1, 1)
