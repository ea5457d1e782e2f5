"""Gates close on what chance does not explain, and say what they have seen."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom, fisher_exact

from kenpin_controller.rollouts import gates as g
from kenpin_controller.rollouts.gates import CameraCounts, Counts, Tally, Verdicts
from kenpin_controller.rollouts.plan import ApprovalGate, Gates, HeatGate, RejectGate, ShadowGate
from kenpin_controller.rollouts.views import GateState
from kenpin_wire.shadow import ShadowReport, ShadowSide

OPEN, WAIT, CLOSED = GateState.OPEN, GateState.WAIT, GateState.CLOSED


def rejects(**counts) -> g.GateView:
    return g.reject_rate(
        RejectGate(), {"cam-1": CameraCounts(**{name: Counts(*c) for name, c in counts.items()})}
    )


@given(a=st.integers(1, 200), b=st.integers(1, 200), data=st.data())
def test_fisher_s_tail_is_scipy_s(a, b, data):
    x, y = Counts(a, data.draw(st.integers(0, a))), Counts(b, data.draw(st.integers(0, b)))
    table = [[x.rejects, x.parts - x.rejects], [y.rejects, y.parts - y.rejects]]
    assert g.fisher_tail(x, y) == pytest.approx(fisher_exact(table, alternative="greater")[1], abs=1e-9)


@given(n=st.integers(0, 3000), data=st.data())
def test_the_binomial_tail_is_scipy_s(n, data):
    k = data.draw(st.integers(0, n))
    assert g.binomial_tail(k, n, 0.5) == pytest.approx(binom.sf(k - 1, n, 0.5), abs=2e-3)


def test_a_plain_rise_closes_the_gate_and_is_told_with_its_counts():
    view = rejects(now=(40, 20), before=(400, 4), siblings_now=(120, 1), siblings_before=(900, 9))
    assert view.state is CLOSED
    assert (
        view.sentence
        == "Cam-1 rejects 20 of 40 parts since its switch, 4 of 400 before; its siblings 1 of 120."
    )


def test_with_few_parts_it_waits_rather_than_cry_wolf():
    view = rejects(now=(12, 9), before=(400, 4))
    assert (view.state, view.sentence) == (WAIT, "Cam-1 has judged 12 of 30 parts.")


def test_a_bad_batch_that_siblings_see_too_closes_nothing():
    assert (
        rejects(now=(60, 18), before=(400, 8), siblings_now=(180, 54), siblings_before=(900, 18)).state
        is OPEN
    )


def test_a_first_release_with_siblings_is_compared_with_them_and_alone_with_nothing():
    assert rejects(now=(60, 30), siblings_now=(200, 4)).state is CLOSED
    assert rejects(now=(60, 30)).state is OPEN


def test_fewer_rejects_are_no_alarm():
    assert rejects(now=(200, 0), before=(400, 40)).state is OPEN


def test_wrong_alarms_are_as_rare_as_promised():
    """Forty cameras of a wave, nothing changed, a reject rate of 3 %: in 400 waves at most 1 % are stopped, and a few."""
    rng = np.random.default_rng(1)

    def counts(parts):
        return Counts(parts, int(rng.binomial(parts, 0.03)))

    stopped = 0
    for _ in range(400):
        cameras = {
            f"cam-{i}": CameraCounts(counts(40), counts(500), counts(150), counts(1500)) for i in range(40)
        }
        stopped += g.reject_rate(RejectGate(), cameras).state is CLOSED
    assert stopped <= 8


def test_a_release_that_rejects_a_third_is_seen_within_thirty_parts():
    rng = np.random.default_rng(2)
    seen = 0
    for _ in range(300):
        camera = CameraCounts(
            Counts(30, int(rng.binomial(30, 0.33))), Counts(500, 10), Counts(100, 2), Counts(1500, 30)
        )
        seen += g.reject_rate(RejectGate(), {"cam-1": camera}).state is CLOSED
    assert seen >= 0.95 * 300


def shadowed(**fields) -> g.GateView:
    report = ShadowReport(frames=300, wanted=300, finished=True, agree=0.99, ks=0.05).model_copy(
        update=fields
    )
    return g.shadow(ShadowGate(max_latency_ms=200, max_c=80), report)


def test_a_shadow_gate_waits_for_the_report_and_opens_on_a_good_one():
    assert g.shadow(ShadowGate(), None).state is WAIT
    assert (
        shadowed(finished=False, frames=120).sentence
        == "120 of 300 frames judged beside the release that runs."
    )
    assert shadowed().state is OPEN


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"ks": 0.6}, "KS 0.60"),
        ({"psi": 0.9}, "PSI 0.90"),
        ({"only_candidate": 40, "only_incumbent": 2}, "alone rejects 40 of 300"),
        ({"candidate": ShadowSide(latency_p95_ms=300.0)}, "300 ms"),
        ({"peak_c": 84.0}, "84 °C"),
        ({"frames": 20}, "20 frames"),
    ],
)
def test_a_shadow_gate_closes_on_each_of_its_limits_and_says_which(fields, why):
    view = shadowed(**fields)
    assert view.state is CLOSED
    assert why in view.sentence


def test_what_few_frames_show_by_chance_closes_no_shadow_gate():
    few = {"frames": 30, "wanted": 30}
    assert shadowed(**few, ks=0.38, psi=1.0).state is OPEN
    assert shadowed(**few, only_candidate=3).state is OPEN
    assert shadowed(**few, only_candidate=12).state is CLOSED


def test_success_waits_closes_as_soon_as_it_is_out_of_reach_and_asks_for_a_minimum():
    gates = Gates(success=0.9, min_success=2)
    assert g.success(gates, Tally(1, 0, 3, 1, 4), wave_over=False).state is WAIT
    assert g.success(gates, Tally(9, 1, 0, 4, 4), wave_over=True).state is OPEN
    assert g.success(gates, Tally(0, 1, 3, 0, 4), wave_over=False).state is CLOSED
    assert g.success(gates, Tally(1, 0, 3, 1, 4), wave_over=True).state is WAIT
    assert g.success(gates, Tally(1, 0, 0, 1, 1), wave_over=True).state is OPEN


def test_heat_is_the_hottest_board_s():
    gate = HeatGate(max_c=80)
    assert g.heat(gate, {"a": 70.0, "b": 79.0}, frozenset()).state is OPEN
    assert "B reached 81 °C" in g.heat(gate, {"a": 70.0, "b": 81.0}, frozenset()).sentence
    assert g.heat(gate, {"a": 70.0, "b": 81.0}, frozenset()).state is CLOSED
    assert g.heat(gate, {}, frozenset({"a"})).state is CLOSED


def test_judged_disagreements_approve_only_once_all_are_judged_and_enough_say_new():
    def asked(new, old, still_open, by=""):
        return g.approval(ApprovalGate(), Verdicts(new, old, still_open), approved_by=by).state

    assert asked(0, 0, 0) is WAIT
    assert asked(9, 1, 2) is WAIT
    assert asked(9, 1, 0) is OPEN
    assert asked(6, 4, 0) is WAIT
    assert asked(0, 9, 0, by="ana") is OPEN
