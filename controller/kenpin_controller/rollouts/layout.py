"""Who gets it, and in which wave: settled once, when a rollout starts. Pure.

The first to get it (the canaries) shall tell most: they are online, and taken from the lines in turn, the longest
line first, so that they have siblings to be compared with. Devices that are offline come last.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from kenpin_controller.rollouts.plan import AT_ONCE, CANARY_FIRST, FEW, Wave
from kenpin_controller.rollouts.state import DeviceState
from kenpin_controller.rollouts.views import Stage


@dataclass(frozen=True, slots=True)
class Candidate:
    """A device that was meant. `passed` says why it cannot have it; empty if it can."""

    device: str
    line: str
    online: bool
    passed: str = ""


def lay_out(
    candidates: Sequence[Candidate], waves: Sequence[Wave] | None, now_s: float
) -> dict[str, DeviceState]:
    """Every candidate's first state, in the order of the waves."""
    takers = _ranked([c for c in candidates if not c.passed])
    if waves is None:
        waves = AT_ONCE if len(takers) <= FEW else CANARY_FIRST
    states = {}
    for number, wave in enumerate(_cut(takers, waves)):
        for c in wave:
            states[c.device] = DeviceState(
                device=c.device, line=c.line, wave=number, since_s=now_s, updated_s=now_s
            )
    for c in candidates:
        if c.passed:
            states[c.device] = DeviceState(
                device=c.device,
                line=c.line,
                wave=None,
                stage=Stage.PASSED,
                reason=c.passed,
                since_s=now_s,
                updated_s=now_s,
            )
    return states


def _ranked(takers: Sequence[Candidate]) -> list[Candidate]:
    by_line: dict[str, list[Candidate]] = {}
    for c in sorted(takers, key=lambda c: (not c.online, c.device)):
        by_line.setdefault(c.line, []).append(c)
    lines = sorted(by_line.values(), key=lambda line: (-len(line), line[0].line))
    in_turn = [
        line[place] for place in range(max(map(len, lines), default=0)) for line in lines if place < len(line)
    ]
    return sorted(in_turn, key=lambda c: not c.online)


def _cut(takers: list[Candidate], waves: Sequence[Wave]) -> list[list[Candidate]]:
    cut, taken = [], 0
    for wave in waves:
        upto = (
            taken + wave.count
            if wave.count is not None
            else math.ceil((wave.share or 0) * len(takers) - 1e-9)
        )
        if takers[taken:upto]:
            cut.append(takers[taken:upto])
            taken = min(upto, len(takers))
    if takers[taken:]:
        cut.append(takers[taken:])
    return cut
