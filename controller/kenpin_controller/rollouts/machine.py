"""The rollout as a machine: `step(state, event, now_s) -> (state, effects)`. No clock, no store, no network.

    HELD -> WAITING -> UNDER_WAY -> DONE                    the way of a device when all goes well
                  \\-> RETRYING, FAILED                     as the device reports
    ON_ITS_WAY -> CANCELLING -> CANCELLED                   a gate closed, or a person ended it, before it switched
    UNDER_WAY, DONE -> RETURNING -> RETURNED                the same, after it switched
    HELD -> PASSED                                          pinned, or skipped
    any -> SUPERSEDED                                       a later order took the device

What devices report only moves the devices. Everything that the rollout does of itself (orders, waves, gates, ends)
it does at a `Tick`, where all that must be known is at hand: so a decision is never made on half a picture, and a
tick that was lost is made good by the next.

The shell stores the state and the effects' messages in one transaction, and only then publishes. Each effect is a
desired message under a new revision, so doing it twice does no harm.
"""

from __future__ import annotations

from kenpin_controller.rollouts import settle
from kenpin_controller.rollouts.reports import configured, reported
from kenpin_controller.rollouts.state import Configured, Effect, Event, Reported, RolloutState, Tick
from kenpin_controller.rollouts.verbs import obey
from kenpin_controller.rollouts.waves import tick
from kenpin_controller.rollouts.work import Work


def step(state: RolloutState, event: Event, now_s: float) -> tuple[RolloutState, list[Effect]]:
    """What follows from an event.

    Raises:
        NotNowError: if a person asks for what makes no sense as things stand; nothing has changed.
    """
    work = Work(state, now_s)
    match event:
        case Tick():
            tick(work, event)
        case Reported():
            reported(work, event)
        case Configured():
            configured(work, event)
        case _:
            obey(work, event)
    settle.settle(work)
    return work.result()
