"""Whether anybody hears what the broker takes. Pure.

A broker that was killed without its sessions takes an agent's rows before the controller has subscribed again,
and says (MQTT 5, reason code 16) that they reached nobody. Such a row is kept: its lane falls silent, and one
row at a time asks again. A broker that speaks 3.1.1 cannot say so, and neither is it noticed if another program
subscribes to the same topic: there a row is done with when the broker has it.

A device may also have no controller at all, and must not fill its card for one. So what has found nobody for
`GRACE_S`, and is that old itself, is given up; but for an event, which waits for the controller's own word.
"""

from __future__ import annotations

from kenpin_agent.link.lanes import Lane

ASK_AGAIN_S = 2.0
GRACE_S = 600.0


class Hearing:
    """Remembers the lanes that are silent: since when, and when the next row may ask."""

    def __init__(self) -> None:
        self._since_s: dict[Lane, float] = {}
        self._again_s: dict[Lane, float] = {}

    def silent(self, lane: Lane) -> bool:
        """Whether the last row said in this lane reached nobody."""
        return lane in self._since_s

    def may_say(self, lane: Lane, now_s: float) -> bool:
        """Whether a row of this lane may be said now."""
        return now_s >= self._again_s.get(lane, 0.0)

    def heard(self, lane: Lane) -> None:
        """A row of this lane reached somebody: let the others ask at once, or pictures would come before their
        events, and a controller keeps few pictures that no event names."""
        self._since_s.pop(lane, None)
        self._again_s.clear()

    def unheard(self, lane: Lane, now_s: float, age_s: float) -> bool:
        """A row of this age reached nobody. Returns whether to give it up; otherwise the lane pauses."""
        silent_s = now_s - self._since_s.setdefault(lane, now_s)
        if min(silent_s, age_s) >= GRACE_S and lane is not Lane.EVENT:
            return True
        self._again_s[lane] = now_s + ASK_AGAIN_S
        return False

    def reconnected(self) -> None:
        """The broker may be another one by now: ask at once."""
        self._since_s.clear()
        self._again_s.clear()
