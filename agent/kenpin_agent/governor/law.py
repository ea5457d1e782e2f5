"""The law: how much work the heat allows now.

A model-based PI law in observer form. An observer follows the temperature and the unknown push on it, given
the work that was really done; the law then asks the model for the load that lets the temperature near its
target with the time constant `approach_s`:

    load = (error / approach + cooling · T − push) / heating

The push is the integral part. It is fed with the load that was *done*, not the one that was allowed, so it
cannot wind up: neither while the allowance is clamped nor while the line stands still.

Hotter never allows more: a hotter reading raises both the smoothed temperature and the push, and both lower
the load, since cooling < 1 / approach. What is learned from a reading counts from the next step on.
"""

from __future__ import annotations

import math
from dataclasses import replace

from kenpin_agent.governor import shedding
from kenpin_agent.governor.model import forget_window, learn, rebased
from kenpin_agent.governor.reasons import forecast, reason
from kenpin_agent.governor.state import (
    CAPPED,
    MOST_LOWERED_C,
    THROTTLED,
    UNDER_VOLTAGE,
    GovernorSettings,
    GovernorState,
    held_c,
)
from kenpin_agent.seams import Allowance, HeatReading


def step(
    state: GovernorState, reading: HeatReading, dt_s: float, load: float, settings: GovernorSettings
) -> GovernorState:
    """One look at the board.

    Args:
        reading: What the thermometer says now. No number, or one that no working board has, is no sensor.
        dt_s: Seconds since the last step; about one. More than `LONGEST_STEP_S` counts as that.
        load: Work done in that time as a share of full work: the share of time spent inspecting, times the
            share of threads used. May exceed 1.
    """
    load = min(max(load, 0.0), 2.0) if math.isfinite(load) else state.load
    dt_s = min(max(dt_s, 0.001), LONGEST_STEP_S) if math.isfinite(dt_s) else 1.0
    state = _foresee(_heed_firmware(state, reading, dt_s, settings), load, dt_s, settings)
    temperature_c = reading.temperature_c
    if temperature_c is None or math.isnan(temperature_c) or temperature_c < COLDEST_C:
        return _without_sensor(state, dt_s, settings)
    if temperature_c > HOTTEST_C:  # no sensor either, but hotter must not allow more: without the grace
        return _without_sensor(replace(state, blind_s=max(state.blind_s, BLIND_GRACE_S)), dt_s, settings)
    return _with_sensor(state, temperature_c, dt_s, settings)


def allowance(state: GovernorState, settings: GovernorSettings) -> Allowance:
    """What may be done now, and why. `notes` is `reasons.forecast`."""
    row = shedding.ROWS[state.shed]
    return Allowance(
        rate=shedding.rate_for(state.effort, settings.floor),
        threads=max(1, math.ceil(settings.threads * row.threads)),
        heatmaps=row.heatmaps,
        preview=row.preview,
        reason=reason(state, settings),
        notes=forecast(state, settings),
    )


LONGEST_STEP_S = 10.0
COLDEST_C = -40.0
HOTTEST_C = 125.0
BLIND_GRACE_S = 3.0  # a sensor may miss a reading or two; the safe floor comes within 5 s

DIE_S = 7.0  # the die follows the load with about this time constant
_BOARD_S, _PUSH_S = 12.0, 40.0  # the observer: smoother costs overshoot, sharper costs ripple (bench/heat.py)
_MOST_SURPRISE_C = 15.0  # a spike within a sensor's range must not undo what is known
_UNINVITED_S = 3.0
_BRAKE_FROM_C, _BRAKE = 0.25, 3.0  # beyond the noise over the target, aim lower by 3 times the excess
_OWN_ANSWER = 0.1  # a load this near the allowed one is the governor's own doing, and teaches nothing

# fmt: off
_CAPS: tuple[tuple[int, float], ...] = (  # a bit that is set now, and the most effort that it leaves
    (UNDER_VOLTAGE, 0.5),  # under-voltage: less work draws less current
    (CAPPED, 0.7),  # frequency capped
    (THROTTLED, 0.7),  # throttled
)
# fmt: on
_CAP_STAYS_S = 30.0  # after the bit has cleared, so that the work does not flutter with it
_RELENT_C_PER_S = 1.0 / 900.0


def _with_sensor(
    state: GovernorState, reading_c: float, dt_s: float, settings: GovernorSettings
) -> GovernorState:
    prior = settings.prior_model
    if state.model is None:  # taken to be idle and in balance, which errs on the cool side if it is hot
        state = replace(state, board_c=reading_c, model=replace(prior, push=prior.cooling * reading_c))
    assert state.model is not None
    before = state.model

    keep, keep_push = math.exp(-dt_s / _BOARD_S), math.exp(-dt_s / _PUSH_S)
    done, board_c = state.load, state.board_c
    surprise_c = reading_c - before.jump * done - board_c
    surprise_c = min(max(surprise_c, -_MOST_SURPRISE_C), _MOST_SURPRISE_C)
    board_c += (1 - keep * keep_push) * surprise_c
    model = replace(before, push=before.push + (1 - keep) * (1 - keep_push) / dt_s * surprise_c)

    target_c = held_c(state, settings)
    temperature_c = board_c + before.jump * done
    over_c = max(0.0, temperature_c - target_c - _BRAKE_FROM_C)
    effort = model.load_approaching(target_c - _BRAKE * over_c, board_c, settings.approach_s)
    effort = max(0.0, min(1.0, state.cap, effort - max(0.0, state.uninvited)))
    sustainable = model.load_holding(target_c)
    learner, learned = forget_window(state.learner), model
    if effort >= 1.0 or abs(done - effort) > _OWN_ANSWER:
        learner, learned = learn(
            state.learner, model, prior, temperature_c=temperature_c, load=done, dt_s=dt_s
        )
        if learned is not model:
            # The die's share moves too: the board takes up the difference, and the slope stays.
            board_c = temperature_c - learned.jump * done
            learned = rebased(learned, model, board_c, done)
    return replace(
        state,
        temperature_c=temperature_c,
        board_c=board_c,
        model=learned,
        learner=learner,
        effort=effort,
        sustainable=sustainable,
        shed=shedding.next_row(state.shed, effort, sustainable),
        blind_s=0.0,
    )


def _without_sensor(state: GovernorState, dt_s: float, settings: GovernorSettings) -> GovernorState:
    state = replace(state, blind_s=state.blind_s + dt_s, learner=forget_window(state.learner))
    if state.temperature_c is None and not settings.board.is_pi:
        effort = state.cap  # this machine never had a sensor: nothing has been lost
    elif state.blind_s <= BLIND_GRACE_S:
        effort = min(state.effort, state.cap)
    else:
        effort = 0.0
    return replace(state, effort=effort, shed=shedding.next_row(state.shed, effort, effort))


def _foresee(state: GovernorState, load: float, dt_s: float, settings: GovernorSettings) -> GovernorState:
    """Move the model on by the work done; the reading, where there is one, then puts it right."""
    granted = shedding.rate_for(state.effort, settings.floor)
    uninvited = load - granted + (state.uninvited - load + granted) * math.exp(-dt_s / _UNINVITED_S)
    done = load + (state.load - load) * math.exp(-dt_s / DIE_S)
    board_c = state.board_c
    if state.model is not None:
        board_c += state.model.slope(board_c, load) * dt_s
        board_c = min(max(board_c, COLDEST_C), HOTTEST_C)
    return replace(state, load=done, board_c=board_c, uninvited=max(-0.5, uninvited))


def _heed_firmware(
    state: GovernorState, reading: HeatReading, dt_s: float, settings: GovernorSettings
) -> GovernorState:
    """Cap the effort while the firmware complains, and learn where it really begins to throttle."""
    bits = reading.throttle_bits
    caps = [cap for bit, cap in _CAPS if bits & bit]
    if caps:
        cap, cap_s = min(caps), _CAP_STAYS_S
    else:
        cap_s = max(0.0, state.cap_s - dt_s)
        cap = state.cap if cap_s > 0 else 1.0
    lowered_c = max(0.0, state.lowered_c - _RELENT_C_PER_S * dt_s)
    if bits & THROTTLED and not bits & UNDER_VOLTAGE and state.temperature_c is not None:
        lowered_c = max(lowered_c, min(MOST_LOWERED_C, settings.target_c - state.temperature_c + 1.0))
    return replace(state, throttle_bits=bits, cap=cap, cap_s=cap_s, lowered_c=lowered_c)
