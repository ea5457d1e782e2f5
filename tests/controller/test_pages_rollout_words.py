"""What a rollout's page says, without a browser: words, offers, choices, the plot."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kenpin_controller.pages import quantile_plot
from kenpin_controller.pages.rollout_words import (
    device_shown,
    shares,
    shift_shown,
    status_shown,
    subject_text,
    targets_text,
    to_look_at,
    verdict_text,
    wave_level,
)
from kenpin_controller.pages.standing import standing
from kenpin_controller.pages.start_rollout import choices, wave_sizes
from kenpin_controller.pages.verbs import device_offers, offers
from kenpin_controller.rollouts.plan import CANARY_FIRST, Plan, Subject, Targets, ThresholdWish
from kenpin_controller.rollouts.views import Stage, Status
from kenpin_controller.views import DeviceView
from kenpin_controller.why import Level
from kenpin_wire.messages import CameraState, Phase, ReleaseName, ReportedRelease, Telemetry
from kenpin_wire.shadow import QUANTILES, ShadowSide
from kenpin_wire.topics import Address
from support.fake_rollouts import NEW, OLD, SHADOWED, fresh, halted, placed, shadow_report, shadowing

NOW_S = 1_800_000_000.0


def device(phase: Phase = Phase.COMMITTED, **fields) -> DeviceView:
    release = ReportedRelease(installed=OLD, latest=NEW, phase=phase, **fields)
    return DeviceView(Address("mill", "stamping", "stamping-1"), heard_s=NOW_S - 1, release=release)


@pytest.mark.parametrize("stage", Stage)
def test_every_stage_has_a_word_and_an_icon(stage: Stage) -> None:
    shown = device_shown(placed("stamping-1", 0, stage))
    assert shown.word
    assert shown.icon


@pytest.mark.parametrize("status", Status)
def test_every_status_has_a_word_and_an_icon(status: Status) -> None:
    view = replace(fresh("r", SHADOWED, ["a"], who="maria"), status=status)
    assert status_shown(view).word


def test_a_rollout_that_waits_for_a_person_says_so_first() -> None:
    assert status_shown(shadowing(NOW_S)).word == "Waits for you"
    assert status_shown(fresh("r", SHADOWED, ["a"], who="maria")).word == "Running"


def test_only_what_makes_sense_is_offered() -> None:
    waiting, over = shadowing(NOW_S), halted(NOW_S)
    assert offers(waiting) == ("approve", "pause", "abort")
    assert offers(replace(waiting, status=Status.PAUSED)) == ("approve", "resume", "abort")
    assert offers(over) == ()
    canary = waiting.devices["stamping-1"]
    assert device_offers(waiting, canary) == ("approve", "approve with threshold", "skip")
    assert device_offers(waiting, waiting.devices["milling-1"]) == ("skip",)
    assert device_offers(over, over.devices["milling-1"]) == ()


def test_a_finished_rollout_can_still_be_sent_back() -> None:
    view = shadowing(NOW_S)
    devices = {name: placed(name, 0, Stage.DONE) for name in view.devices}
    done = replace(view, status=Status.FINISHED, devices=devices)
    assert offers(done) == ("return",)
    assert device_offers(done, done.devices["milling-1"]) == ("return",)


def test_a_wave_on_which_a_gate_closed_is_red_and_those_behind_it_are_spared() -> None:
    view = halted(NOW_S)
    assert [wave_level(wave, over=True) for wave in view.waves] == ["alarm", "spared", "spared"]
    assert shares(view.waves[0], view.devices).failed == 1


def test_of_many_devices_the_troubled_ones_are_shown_in_their_own_order() -> None:
    names = [f"cam-{n}" for n in range(100)]
    devices = {name: placed(name, 0, Stage.DONE) for name in names}
    for name in ("cam-70", "cam-30"):
        devices[name] = placed(name, 0, Stage.FAILED)
    shown = to_look_at(names, devices, 3)
    assert shown == ["cam-0", "cam-30", "cam-70"]


def test_a_threshold_is_called_by_its_number() -> None:
    plan = Plan(subject=Subject(release=OLD, threshold=ThresholdWish(value=1.75)))
    assert subject_text(plan) == "Threshold 1.75 for bracket-1.2.0"
    assert targets_text(Targets(line="milling", tag="canary")) == "line milling and tagged canary"
    assert targets_text(Targets()) == "every camera"


def test_a_shift_is_called_what_it_is() -> None:
    report = shadow_report(300, finished=True)
    assert shift_shown(report).level == "ok"
    assert shift_shown(report.model_copy(update={"psi": 0.2})).level == "warn"
    assert shift_shown(report.model_copy(update={"ks": 0.5})).word == "plain shift"


def test_a_verdict_names_the_score_and_its_limit() -> None:
    assert verdict_text(2.31, 1.6) == "rejects: 2.31 over 1.60"
    assert verdict_text(1.1, 1.6) == "passes: 1.10 under 1.60"
    assert verdict_text(1.1, None) == "score 1.10"


@given(
    scores=st.lists(st.floats(-1e6, 1e6), min_size=len(QUANTILES), max_size=len(QUANTILES)),
    threshold=st.floats(-1e6, 1e6),
)
def test_a_plot_stays_within_its_frame_whatever_the_scores(scores: list[float], threshold: float) -> None:
    side = ShadowSide(quantiles=sorted(scores), threshold=threshold)
    drawing = quantile_plot.plot(side, side)
    heights = [float(y) for y in re.findall(r'cy="([^"]+)"', drawing)]
    assert all(0 <= y <= quantile_plot.HEIGHT for y in heights)


def test_a_score_over_its_threshold_is_red_in_the_plot_on_either_side() -> None:
    report = shadow_report(300, finished=True)
    drawing = quantile_plot.plot(report.incumbent, report.candidate)
    assert drawing.count('circle class="is-old is-reject"') == 1
    assert drawing.count('circle class="is-new is-reject"') == 2


def test_a_side_without_scores_is_not_drawn() -> None:
    assert quantile_plot.plot(ShadowSide(), ShadowSide()) == ""


def test_the_first_choice_is_where_the_same_product_is_made() -> None:
    ring = ReportedRelease(installed=ReleaseName(name="ring", version="1"))
    brackets = [
        replace(device(), address=Address("mill", line, f"{line}-1")) for line in ("milling", "stamping")
    ]
    others = [replace(device(), address=Address("mill", "rings", "rings-1"), release=ring)]
    found = choices(NEW, brackets + others, {"milling-1": ["canary"]})
    first = next(iter(found.values()))
    assert first.label == "Where bracket runs"
    assert first.devices == ("milling-1", "stamping-1")
    assert found["all"].targets == Targets()
    assert found["line rings"].devices == ("rings-1",)
    assert found["tag canary"].devices == ("milling-1",)
    assert next(iter(choices(NEW, brackets, {}))) == "all"


def test_the_waves_are_foretold_as_they_will_be_laid_out() -> None:
    fleet = [replace(device(), address=Address("mill", "stamping", f"cam-{n}")) for n in range(12)]
    names = tuple(d.name for d in fleet)
    assert wave_sizes(fleet, names, CANARY_FIRST, NOW_S) == [1, 2, 9]


@pytest.mark.parametrize("phase", Phase)
def test_why_a_device_is_stuck_has_an_answer_in_every_phase(phase: Phase) -> None:
    for there in (None, placed("stamping-1", 0, Stage.UNDER_WAY, phase=phase.value)):
        assert standing(device(phase), there, NOW_S).sentence


@pytest.mark.parametrize("stage", Stage)
def test_why_a_device_is_stuck_has_an_answer_at_every_stage(stage: Stage) -> None:
    assert standing(device(), placed("stamping-1", 0, stage), NOW_S, coming=str(NEW)).sentence


@pytest.mark.parametrize(
    "phase",
    [Phase.REJECTED, Phase.FAILED_NO_CHANGE, Phase.ROLLED_BACK, Phase.ROLLBACK_FAILED, Phase.TIMED_OUT],
)
def test_what_went_wrong_comes_with_its_reason_and_the_fix(phase: Phase) -> None:
    answer = standing(device(phase, reason="golden picture 3 scored 4.1, not 1.2"), None, NOW_S)
    assert answer.level is Level.WARN
    assert "Golden picture 3 scored 4.1, not 1.2." in answer.evidence
    assert answer.remedy


def test_a_device_that_has_not_been_asked_yet_and_does_something_speaks_for_itself() -> None:
    answer = standing(device(Phase.SHADOWING), placed("stamping-1", 2, Stage.HELD), NOW_S, coming=str(NEW))
    assert "judges live frames" in answer.sentence


def test_an_offline_device_is_said_to_be_that_and_not_slow() -> None:
    away = replace(device(Phase.DOWNLOADING), heard_s=NOW_S - 600)
    answer = standing(away, placed("stamping-1", 0, Stage.UNDER_WAY), NOW_S, coming=str(NEW))
    assert "offline" in answer.sentence
    assert "power" in answer.remedy


def test_a_shadowing_that_sees_no_frames_says_which_part_is_missing() -> None:
    lost = replace(device(Phase.SHADOWING), telemetry=Telemetry(camera=CameraState.LOST))
    assert "camera is lost" in standing(lost, None, NOW_S).sentence
    hot = replace(device(Phase.SHADOWING), telemetry=Telemetry(camera=CameraState.OK, allowance=0.1))
    assert "fan" in standing(hot, None, NOW_S).remedy
    fine = replace(device(Phase.SHADOWING), telemetry=Telemetry(camera=CameraState.OK))
    assert standing(fine, None, NOW_S).level is Level.OK


def test_a_download_that_stands_still_is_told_from_one_that_moves() -> None:
    moving = placed("stamping-1", 0, Stage.UNDER_WAY, updated_s=NOW_S - 5)
    still = placed("stamping-1", 0, Stage.UNDER_WAY, updated_s=NOW_S - 500)
    assert standing(device(Phase.DOWNLOADING), moving, NOW_S).level is Level.OK
    assert "network" in standing(device(Phase.DOWNLOADING), still, NOW_S).remedy
