"""How much of the line's own time a shadow may take. Pure: times are the caller's.

A candidate works after the verdict and before the next frame. Where frames come slower than both can work, that costs
the line nothing. Where they don't, a frame waits for it, or is lost. What that cost is measured, not foretold, and
is a debt; until a share of the time since has paid it off, the shadow rests. So the line loses about that share of
its rate, whatever the two cost, and a line that runs flat out has a shadow too.
"""

from __future__ import annotations

SHARE = 0.05
"""Of the time. Of the 10 % that a shadow may cost, the rest is for what is not measured: caches that it cools, and
frames that come late because the one before them did."""


class Budget:
    """One shadow's."""

    def __init__(self, now_s: float) -> None:
        self._debt_s = 0.0
        self._paid_s = now_s
        self._worked: tuple[float, float] | None = None
        self._last: tuple[int, float] | None = None

    def frame_came(self, index: int, captured_s: float) -> None:
        """A frame is being judged. If frames before it were lost, the first of them is what waited.

        Args:
            index: The camera's count.
            captured_s: When it was taken.
        """
        last, self._last = self._last, (index, captured_s)
        worked, self._worked = self._worked, None
        if last is None or worked is None:
            return
        began_s, ended_s = worked
        came = max(index - last[0], 1)
        interval_s = (captured_s - last[1]) / came
        waited_s = ended_s - max(last[1] + interval_s, began_s)
        if waited_s > 0:
            self._debt_s += max(waited_s, interval_s) if came > 1 else waited_s

    def may_work(self, now_s: float) -> bool:
        """Whether what was taken has been paid off."""
        self._debt_s = max(0.0, self._debt_s - SHARE * (now_s - self._paid_s))
        self._paid_s = now_s
        return self._debt_s <= 0.0

    def worked(self, began_s: float, ended_s: float) -> None:
        """The candidate worked from `began_s` to `ended_s`."""
        self._worked = (began_s, ended_s)
