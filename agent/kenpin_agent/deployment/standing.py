"""How a deployment stands, as it is told to the controller. Pure."""

from __future__ import annotations

from kenpin_agent.deployment.state import State
from kenpin_wire.messages import Phase, ReportedRelease

_FETCHED = (
    Phase.VERIFYING,
    Phase.STAGED,
    Phase.SHADOWING,
    Phase.ACTIVATING,
    Phase.TRIAL,
    Phase.COMMITTED,
)


def reported(state: State, fetched_percent: float | None) -> ReportedRelease:
    """The report of a state. An order that was refused is named by its revision and the reason; all else is then what
    it was before.

    Args:
        fetched_percent: How much of the file is there, while it is fetched.
    """
    order = state.order
    percent = 100.0 * (state.phase in _FETCHED) if fetched_percent is None else fetched_percent
    return ReportedRelease(
        rev=state.seen if state.refusal else order.rev if order else 0,
        installed=state.committed.release if state.committed else None,
        previous=state.previous.release if state.previous else None,
        latest=order.release if order else None,
        sha256=order.sha256 if order else None,
        phase=state.phase,
        reason=state.refusal or state.reason,
        percent=round(percent, 1),
        rollout=order.rollout if order else "",
    )
