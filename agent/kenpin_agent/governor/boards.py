"""What is known of each board before it has run: where its firmware slows it, and what it draws.

The watts are typical figures of a board at rest and with all cores at work; they only turn the learned
heating into K/W for a person, so being wrong by half costs no frame.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Board:
    """A board's limits.

    Attributes:
        limit_c: Where the firmware begins to slow the ARM cores.
        soft_limit_c: Where it lowers the clock a step already, or None. Only the 3B+ does: from 1.4 to 1.2
            GHz at 60 °C. Holding that board under 60 °C would cost more frames than the lower clock does, so
            this limit is told, not held.
        idle_w, full_w: Power drawn at rest and at full work.
    """

    name: str
    limit_c: float
    idle_w: float
    full_w: float
    soft_limit_c: float | None = None

    @property
    def is_pi(self) -> bool:
        """Whether a temperature sensor must be there, so that its silence is a fault."""
        return self.name.startswith("Raspberry Pi")


# The first row whose name the device tree's model text begins with; so longer names stand first.
# fmt: off
BOARDS: tuple[Board, ...] = (
    Board("Raspberry Pi 5",              limit_c=80.0, idle_w=2.7, full_w=7.5),
    Board("Raspberry Pi Compute Module 5", limit_c=80.0, idle_w=2.7, full_w=7.5),
    Board("Raspberry Pi 4",              limit_c=80.0, idle_w=2.7, full_w=6.4),
    Board("Raspberry Pi Compute Module 4", limit_c=80.0, idle_w=2.2, full_w=6.0),
    Board("Raspberry Pi 3 Model B Plus", limit_c=80.0, idle_w=1.9, full_w=5.1, soft_limit_c=60.0),
    Board("Raspberry Pi 3 Model A Plus", limit_c=80.0, idle_w=1.2, full_w=4.1, soft_limit_c=60.0),
    Board("Raspberry Pi 3",              limit_c=80.0, idle_w=1.4, full_w=3.7),
    Board("Raspberry Pi Zero 2",         limit_c=80.0, idle_w=0.7, full_w=2.8),
    Board("Raspberry Pi",                limit_c=80.0, idle_w=1.4, full_w=3.7),
)
# fmt: on

UNKNOWN_BOARD = Board("this machine", limit_c=85.0, idle_w=3.0, full_w=10.0)
"""Neither a Pi nor known; most processors slow themselves between 85 and 100 °C."""


def board_for(model: str) -> Board:
    """The board that calls itself `model` in `/proc/device-tree/model`; `UNKNOWN_BOARD` if none does."""
    text = model.strip("\0 \n")
    return next((board for board in BOARDS if text.startswith(board.name)), UNKNOWN_BOARD)
