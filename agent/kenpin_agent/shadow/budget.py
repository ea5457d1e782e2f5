"""How much of the line's own time a shadow may take. Pure: times are the caller's.

A candidate works after the verdict and before the next frame. Where frames come slower than both can work, that costs
the line nothing. Where they don't, a frame waits for it. What it waited is measured, not foretold, and is a debt;
until a share of the time since has paid it off, the shadow rests. So the line loses about that share of its rate,
whatever the two cost, and a line that runs flat out has a shadow too.
"""

from __future__ import annotations

SHARE = 0.07
"""Of the time. Of the 10 % that a shadow may cost, the rest is for what is not measured: caches that it cools, and a
frame that is lost whole where it waited for half of one."""


class Budget:
    """One shadow's."""

    def __init__(self, now_s: float) -> None:
        self._debt_s = 0.0
        self._paid_s = now_s
        self._worked: tuple[float, float] | None = None
        self._last: tuple[int, float] | None = None

    def frame_came(self, index: int, captured_s: float) -> None:
        """A frame is about to be judged. If frames before it were lost, the first of them is what waited.

        Args:
            index: The camera's count.
            captured_s: When it was taken.
        """
        last, self._last = self._last, (index, captured_s)
        worked, self._worked = self._worked, None
        if last is None or worked is None:
            return
        began_s, ended_s = worked
        due_s = last[1] + (captured_s - last[1]) / max(index - last[0], 1)
        self._debt_s += max(0.0, ended_s - max(due_s, began_s))

    def may_work(self, now_s: float) -> bool:
        """Whether what was taken has been paid off."""
        self._debt_s = max(0.0, self._debt_s - SHARE * (now_s - self._paid_s))
        self._paid_s = now_s
        return self._debt_s <= 0.0

    def worked(self, began_s: float, ended_s: float) -> None:
        """The candidate worked from `began_s` to `ended_s`."""
        self._worked = (began_s, ended_s)
