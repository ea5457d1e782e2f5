"""The deployment of a release on one device, as a pure function over a table.

    advance(state, event) -> (state, effects)

No file is opened here, nobody asked, no clock read. Whoever runs it stores the new state first and then performs
the effects, which may be repeated: after a restart the only event is `Restarted`.

Two slots hold two unpacked releases. `state.committed` names the one that the device starts with; a candidate
lies in the other, and becomes `committed` only after it has judged real frames in its trial. So whatever
happens between, a restart finds a committed release, or none if there never was one.
"""

from __future__ import annotations

from dataclasses import replace

from kenpin_agent.deployment.events import Event, FetchFailed
from kenpin_agent.deployment.state import Effect, State
from kenpin_agent.deployment.table import TABLE, Row
from kenpin_wire.messages import Phase


class IllegalEventError(Exception):
    """The event means nothing in this phase; the state is as it was."""


def advance(state: State, event: Event) -> tuple[State, tuple[Effect, ...]]:
    """What `event` makes of `state`, and what to do about it.

    Raises:
        IllegalEventError: if the table has no row for it.
    """
    for row in _ROWS.get((state.phase, type(event)), ()):
        if row.guard(state, event):
            target = row.target or state.phase
            if isinstance(event, FetchFailed):
                target = event.phase
            return replace(row.move(state, event), phase=target), row.effects
    raise IllegalEventError(f"{type(event).__name__} in phase {state.phase.value}")


_ROWS: dict[tuple[Phase, type], tuple[Row, ...]] = {}
for _row in TABLE:
    _ROWS[_row.source, _row.event] = (*_ROWS.get((_row.source, _row.event), ()), _row)
