"""The last resort against a loop that never answers: how long a candidate may be in its hands. Pure."""

from __future__ import annotations

from dataclasses import dataclass

HELD_S = 5.0
"""How long a trial stands still after the loop has last said so."""
MARGIN_S = 30.0
"""The loop knows better when a trial or a shadow has taken too long, so it is given the first word."""


@dataclass(slots=True)
class Deadline:
    """Counts down while it is not held.

    Args:
        left_s: Seconds that are left.
        now_s: The monotonic clock's.
    """

    left_s: float
    now_s: float
    held_s: float = float("-inf")

    def passed(self, now_s: float) -> bool:
        """Let time pass; whether none is left."""
        went_s, self.now_s = now_s - self.now_s, now_s
        if now_s - self.held_s > HELD_S:
            self.left_s -= went_s
        return self.left_s <= 0
