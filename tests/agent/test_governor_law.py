"""What must hold of the governor whatever the board, the sensor and the line do."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kenpin_agent.governor import GovernorSettings, GovernorState, allowance, board_for, shedding, step
from kenpin_agent.governor.law import COLDEST_C
from kenpin_agent.seams import HeatReading

PI3 = GovernorSettings(board=board_for("Raspberry Pi 3 Model B Rev 1.2"))
LAPTOP = GovernorSettings()

celsius = st.floats(20.0, 95.0)
loads = st.floats(0.0, 1.2)
steps_s = st.floats(0.2, 5.0)
firmware = st.sampled_from([0, 0, 0, 0b0001, 0b0100, 0b1000, 0x50000, 0x50005])
readings = st.builds(HeatReading, st.one_of(celsius, celsius, st.none(), st.just(math.nan)), firmware)
pasts = st.lists(st.tuples(readings, steps_s, loads), max_size=60)


def after(past: list[tuple[HeatReading, float, float]], governed: GovernorSettings = PI3) -> GovernorState:
    state = GovernorState()
    for reading, dt_s, load in past:
        state = step(state, reading, dt_s, load, governed)
    return state


@settings(max_examples=150, deadline=None)
@given(pasts, celsius, st.floats(0.0, 200.0), st.tuples(firmware, steps_s, loads))
def test_a_hotter_reading_never_allows_more_work(past, cool_c, hotter_by_c, now):
    bits, dt_s, load = now
    before = after(past)
    cool = allowance(step(before, HeatReading(cool_c, bits), dt_s, load, PI3), PI3)
    hot = allowance(step(before, HeatReading(cool_c + hotter_by_c, bits), dt_s, load, PI3), PI3)
    assert hot.rate <= cool.rate
    assert hot.threads <= cool.threads
    assert hot.heatmaps <= cool.heatmaps
    assert hot.preview <= cool.preview


anything = st.floats(allow_nan=True, allow_infinity=True)


@settings(max_examples=150, deadline=None)
@given(
    st.lists(
        st.tuples(st.builds(HeatReading, st.none() | anything, st.integers(0, 0xFFFFF)), anything, anything),
        max_size=40,
    ),
    st.sampled_from([PI3, LAPTOP]),
)
def test_whatever_is_read_the_rate_stays_between_floor_and_full_and_has_a_reason(past, governed):
    allowed = allowance(after(past, governed), governed)
    assert governed.floor <= allowed.rate <= 1.0
    assert 1 <= allowed.threads <= governed.threads
    assert allowed.reason.strip()
    assert all(math.isfinite(value) for value in allowed.notes.values())


@pytest.mark.parametrize("nonsense", [None, math.nan, -math.inf, COLDEST_C - 1])
def test_a_sensor_that_falls_silent_or_talks_nonsense_brings_the_safe_floor_within_five_seconds(nonsense):
    state = after([(HeatReading(45.0), 1.0, 0.5)] * 30)
    assert allowance(state, PI3).rate == 1.0
    for _ in range(5):
        state = step(state, HeatReading(nonsense), 1.0, 0.5, PI3)
    allowed = allowance(state, PI3)
    assert allowed.rate == PI3.floor
    assert "no temperature reading for 5 s" in allowed.reason


def test_one_missed_reading_changes_nothing():
    state = after([(HeatReading(45.0), 1.0, 0.5)] * 30)
    assert allowance(step(state, HeatReading(None), 1.0, 0.5, PI3), PI3).rate == 1.0


def test_a_machine_without_any_sensor_runs_at_full_rate_and_says_so():
    allowed = allowance(after([(HeatReading(None), 1.0, 1.0)] * 60, LAPTOP), LAPTOP)
    assert allowed.rate == 1.0
    assert allowed.reason == "no temperature sensor on this machine: full rate"


def test_a_pi_whose_sensor_never_answered_runs_at_the_safe_floor():
    allowed = allowance(after([(HeatReading(None), 1.0, 1.0)] * 6), PI3)
    assert allowed.rate == PI3.floor
    assert "no temperature reading since the start" in allowed.reason


def test_a_reading_above_any_sensors_range_brings_the_floor_at_once_and_is_forgotten_at_once():
    state = after([(HeatReading(60.0), 1.0, 1.0)] * 30)
    spiked = step(state, HeatReading(1000.0), 1.0, 1.0, PI3)
    assert allowance(spiked, PI3).rate == PI3.floor
    assert allowance(step(spiked, HeatReading(60.0), 1.0, 0.05, PI3), PI3).rate == 1.0


def test_under_voltage_halves_the_work_and_tells_of_the_power_supply():
    allowed = allowance(after([(HeatReading(45.0, 0b0001), 1.0, 0.5)] * 3), PI3)
    assert allowed.rate <= 0.52
    assert "power supply" in allowed.reason


def test_a_cap_outlives_its_bit_so_that_the_work_does_not_flutter():
    state = after([(HeatReading(45.0, 0b0001), 1.0, 0.5)])
    rates = []
    for second in range(60):
        state = step(
            state, HeatReading(45.0, 0b0001 if second < 20 and second % 4 == 0 else 0), 1.0, 0.5, PI3
        )
        rates.append(allowance(state, PI3).rate)
    assert sum(a != b for a, b in pairwise(rates)) == 1
    assert rates[-1] == 1.0


def test_where_the_firmware_throttles_early_that_becomes_the_limit():
    state = after([(HeatReading(74.0), 1.0, 0.8)] * 30 + [(HeatReading(75.0, 0b0100), 1.0, 0.8)] * 20)
    allowed = allowance(state, PI3)
    assert "limit 75 °C" in allowed.reason or "limit 74" in allowed.reason
    assert "firmware is slowing" in allowed.reason


def test_the_bits_that_only_say_has_happened_change_nothing():
    assert allowance(after([(HeatReading(45.0, 0x50000), 1.0, 0.5)] * 5), PI3).rate == 1.0


def test_pictures_go_before_heatmaps_and_heatmaps_before_frames_and_threads():
    shed = [
        (row.preview, row.heatmaps, row.threads, shedding.rate_for(row.below - 0.001, 0.05))
        for row in shedding.ROWS[1:]
    ]
    assert shed[0] == (False, True, 1.0, 1.0)
    assert shed[1][:3] == (False, False, 1.0)
    assert [threads for _, _, threads, _ in shed[2:]] == [0.75, 0.5, 0.25]


def test_the_rows_overlap_so_that_none_can_be_left_where_it_is_entered():
    for upper, lower in zip(shedding.ROWS[1:], shedding.ROWS[2:], strict=False):
        assert lower.below < upper.below
        assert lower.above < upper.above
    assert all(row.above > row.below for row in shedding.ROWS[1:])


@given(st.integers(0, len(shedding.ROWS) - 1), st.floats(0, 1), st.floats(-1, 2))
def test_a_row_once_chosen_is_kept_while_nothing_changes(row, effort, sustainable):
    chosen = shedding.next_row(row, effort, sustainable)
    assert shedding.next_row(chosen, effort, sustainable) == chosen


def test_the_threads_that_stay_can_always_carry_the_rate():
    assert all(row.threads >= row.below for row in shedding.ROWS[1:])


def test_the_reason_names_temperature_limit_and_rate():
    state = replace(after([(HeatReading(78.2), 1.0, 0.6)]), temperature_c=78.2, effort=0.62 * 0.97, shed=0)
    assert allowance(state, PI3).reason == "78.2 °C, limit 80 °C: running at 62 %"


def test_the_operators_own_limit_is_held_instead_of_the_boards():
    own = GovernorSettings(board=PI3.board, limit_c=65.0)
    allowed = allowance(after([(HeatReading(70.0), 1.0, 0.9)] * 30, own), own)
    assert allowed.rate == own.floor
    assert "limit 65 °C" in allowed.reason
