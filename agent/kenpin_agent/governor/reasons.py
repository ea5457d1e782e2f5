"""What the governor says of itself: the reason for its allowance, and what it foresees."""

from __future__ import annotations

from kenpin_agent.governor import shedding
from kenpin_agent.governor.state import (
    CAPPED,
    SOFT_LIMIT,
    THROTTLED,
    UNDER_VOLTAGE,
    GovernorSettings,
    GovernorState,
    held_c,
)


def reason(state: GovernorState, settings: GovernorSettings) -> str:
    """Why the allowance is what it is, in a person's words. Never empty."""
    parts = [_heat(state, settings), *_firmware(state, settings)]
    return "; ".join(part for part in parts if part)


def forecast(state: GovernorState, settings: GovernorSettings) -> dict[str, float]:
    """What the learned model foresees; empty while no sensor answers.

    Keys: `sustainable_rate` (the share of the full rate that can be held for ever), `minutes_to_slow` (going
    on at the present load; absent if it need never slow), and `resistance_k_per_w` and `time_constant_s` as
    learned.
    """
    if state.model is None or state.temperature_c is None or state.blind_s > 0:
        return {}
    board, model = settings.board, state.model
    notes = {
        "sustainable_rate": round(shedding.rate_for(state.sustainable, settings.floor), 3),
        "resistance_k_per_w": round(model.rise_c / (board.full_w - board.idle_w), 1),
        "time_constant_s": float(round(model.time_constant_s)),
    }
    slow_s = model.seconds_to(held_c(state, settings), state.board_c, state.load)
    if slow_s is not None:
        notes["minutes_to_slow"] = round(slow_s / 60.0, 1)
    return notes


def _heat(state: GovernorState, settings: GovernorSettings) -> str:
    rate = f"{shedding.rate_for(state.effort, settings.floor):.0%}".replace("%", " %")
    if state.temperature_c is None:
        if settings.board.is_pi and state.blind_s > 0:
            return f"no temperature reading since the start: running at {rate} to be safe"
        return "no temperature sensor on this machine: full rate" if state.blind_s > 0 else "not measured yet"
    if state.blind_s > 0:
        return f"no temperature reading for {state.blind_s:.0f} s: running at {rate} to be safe"
    limit = f"{state.temperature_c:.1f} °C, limit {settings.shown_limit_c - state.lowered_c:g} °C"
    paused = shedding.paused(state.shed)
    doing = "full rate" if state.effort >= shedding.RATE_FROM else f"running at {rate}"
    return f"{limit}: {doing}" + (f", {paused}" if paused else "")


def _firmware(state: GovernorState, settings: GovernorSettings) -> list[str]:
    says = []
    if state.throttle_bits & UNDER_VOLTAGE:
        says.append("the power supply is too weak (under-voltage): held at half work; use a stronger one")
    elif state.throttle_bits & (THROTTLED | CAPPED):
        says.append("the firmware is slowing the processor")
    elif state.cap_s > 0:
        says.append("the firmware has just slowed the processor")
    if state.throttle_bits & SOFT_LIMIT and settings.board.soft_limit_c is not None:
        says.append(f"above {settings.board.soft_limit_c:g} °C this board lowers its clock")
    return says
