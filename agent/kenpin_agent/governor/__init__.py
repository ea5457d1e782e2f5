"""The governor: the most frames that the heat allows, without ever meeting the firmware's throttle.

    state = step(state, reading, dt_s, load, settings)      once a second or so
    allowed = allowance(state, settings)

Pure: it reads no sensor and no clock, starts no thread, and draws nothing. A reading comes in, an allowance
with its reason goes out. How it works, with figures: docs/heat.md.
"""

from kenpin_agent.governor.boards import BOARDS, UNKNOWN_BOARD, Board, board_for
from kenpin_agent.governor.law import allowance, step
from kenpin_agent.governor.state import GovernorSettings, GovernorState

__all__ = [
    "BOARDS",
    "UNKNOWN_BOARD",
    "Board",
    "GovernorSettings",
    "GovernorState",
    "allowance",
    "board_for",
    "step",
]
