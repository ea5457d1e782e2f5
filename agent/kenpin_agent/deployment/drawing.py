"""Draws `docs/deployment.md` from the transition table:

python -m kenpin_agent.deployment.drawing > docs/deployment.md
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from itertools import groupby

from kenpin_agent.deployment import rules
from kenpin_agent.deployment.events import CommittedLost, Ordered
from kenpin_agent.deployment.state import MAX_CHECKS, MAX_FETCHES, MAX_STARTS, RESTING, Effect
from kenpin_agent.deployment.table import TABLE, Row
from kenpin_wire.messages import Phase

_REST = "at rest"
_ANY = "any phase"

_PAGE = """\
# How a release gets onto a device

This page is drawn from the table that the agent runs (`kenpin_agent.deployment.table`); a test fails if it is not
what `python -m kenpin_agent.deployment.drawing` prints.

A deployment is a pure function `advance(state, event) -> (state, effects)`. The runner (`deployer.py`) stores the
new state first, synced and renamed into place, and then performs the effects, each of which may be done twice. A
start of the program is the event *Restarted*. So a kill, a power cut or a full disk at any moment leaves a state
from which the device goes on, and the release that was committed runs meanwhile. A test
(`tests/agent/test_deployment_faults.py`) strikes at every point of eleven deployments, more than ten thousand times.

Two slots hold two unpacked releases. The committed one is never written to. The other slot keeps what ran before,
until a candidate has been fetched whole and with the right hash; so the way back needs no fetching, and a fetch that
fails costs nothing.

## The phases

```mermaid
{diagram}
```

*At rest*, nothing is under way: {resting}.

Left out of the drawing: until it is activated, whatever is on its way gives place to a newer order, as in *at rest*;
in any phase, a committed release may turn out to be unreadable when the program starts.

## The table

The first line that holds is taken. An event without a line in a phase means nothing there and changes nothing. What
the inspection loop says names the offer that it is about; of another one it means nothing either.

{tables}
## Effects

{effects}

## Bounds

Every retry is counted in the stored state. A file whose hash is wrong is fetched {fetches} times more; a repository
of signatures that does not answer is asked {checks} times more; a candidate under which the program died is taken up
{starts} times more. An orderly stop (systemd, an update of the system) is no death: *Stopping* is stored for that.

A file that failed its golden pictures, its shadow or its trial is quarantined by its hash and not tried again, unless
it is given on the device itself. A crash loop, a cancellation, a missing signature and a full disk quarantine
nothing.

An order is taken up only if its revision is newer than any that was heard of. An expired order, an unknown decision
and a cancellation of nothing are refused: the reason is reported, and nothing else changes.
"""


def page() -> str:
    """The whole page, in Markdown."""
    tables = []
    for source, rows in groupby(_folded(), key=lambda row: row[0]):
        tables.append(f"### {source.capitalize().replace('_', ' ')}\n\n{_table(row for _, row in rows)}\n")
    return _PAGE.format(
        diagram=_diagram(),
        resting=", ".join(f"`{phase.value}`" for phase in RESTING),
        tables="\n".join(tables),
        effects="\n".join(f"- *{_name(effect)}*: {effect.value}" for effect in Effect),
        fetches=MAX_FETCHES,
        checks=MAX_CHECKS,
        starts=MAX_STARTS,
    )


def _folded() -> list[tuple[str, Row]]:
    """The table's rows, with those that are the same for every resting phase, or for all, told once."""
    rows: list[tuple[str, Row]] = []
    for row in TABLE:
        if row.event is CommittedLost:
            if row.source is Phase.IDLE:
                rows.append((_ANY, row))
        elif row.source not in RESTING:
            rows.append((row.source.value, row))
        elif row.source is Phase.IDLE:
            rows.append((_REST, row))
    return rows


def _diagram() -> str:
    """What leads from one phase to the next, as Mermaid's state diagram."""
    edges: dict[tuple[str, str], list[str]] = {}
    for source, row in _folded():
        by_order = row.event is Ordered
        decides = source == _REST or row.guard in (rules.cancels_this, rules.activates_this)
        if row.target is None or source in (row.target.value, _ANY) or (by_order and not decides):
            continue
        what = row.says.partition(";")[0].partition(":")[0] if by_order else row.event.__name__
        events = edges.setdefault((source, row.target.value), [])
        if what not in events:
            events.append(what)
    lines = ["stateDiagram-v2", '    state "at rest" as rest', "    [*] --> rest"]
    lines += [
        f"    {'rest' if source == _REST else source} --> {target} : {', '.join(events)}"
        for (source, target), events in edges.items()
    ]
    return "\n".join(lines)


def _table(rows: Iterable[Row]) -> str:
    lines = ["| event | what it is | then | effects |", "|---|---|---|---|"]
    for row in rows:
        then = f"`{row.target.value}`" if row.target else "stays"
        effects = ", ".join(_name(effect) for effect in row.effects)
        lines.append(f"| {row.event.__name__} | {row.says} | {then} | {effects} |")
    return "\n".join(lines)


def _name(effect: Effect) -> str:
    return effect.name.lower().replace("_", " ")


if __name__ == "__main__":
    sys.stdout.write(page())
