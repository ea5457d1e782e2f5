"""Parts of the demonstration, each by itself."""

from __future__ import annotations

import sys
import threading
from pathlib import Path

import pytest

from kenpin_controller.demo import broker as demo_broker
from kenpin_controller.demo.broker import BrokerKind, Mosquitto, start_broker
from kenpin_controller.demo.scoreboard import Board
from support import require


def test_a_board_can_be_read_while_parts_are_counted() -> None:
    board, done = Board(), threading.Event()
    board.verdicts.update({f"{number:06d}-good": False for number in range(5_000)})

    def count() -> None:
        number = 5_000
        while not done.is_set():
            board.judged(f"{number:06d}-scratch", rejected=True)
            number += 1

    interval_s = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    counting = threading.Thread(target=count)
    counting.start()
    try:
        for _ in range(2):
            assert len(board.streams()) <= 1
            assert board.confusion.good_passed == 5_000
    finally:
        done.set()
        counting.join()
        sys.setswitchinterval(interval_s)


def test_a_broker_whose_start_is_interrupted_does_not_stay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    require("mosquitto")
    stopped: list[Mosquitto] = []
    stop = Mosquitto.stop

    def noted(self: Mosquitto) -> None:
        stopped.append(self)
        stop(self)

    def interrupt(_port: int) -> bool:
        raise KeyboardInterrupt

    monkeypatch.setattr(Mosquitto, "stop", noted)
    monkeypatch.setattr(demo_broker, "_answers", interrupt)
    with pytest.raises(KeyboardInterrupt):
        start_broker(tmp_path, BrokerKind.MOSQUITTO)
    assert len(stopped) == 1


def test_a_stream_counts_once_it_has_passed() -> None:
    board = Board()
    for part in ("1-good", "2-rust", "3-rust", "4-good", "5-scratch"):
        board.judged(part, rejected=False)
    assert board.streams() == [["2-rust", "3-rust"]]
    board.judged("6-good", rejected=False)
    assert board.streams() == [["2-rust", "3-rust"], ["5-scratch"]]
