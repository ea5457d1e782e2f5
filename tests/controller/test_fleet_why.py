"""Is everything all right, and if not, why, and what is to be done: one line each."""

from __future__ import annotations

from dataclasses import replace

import pytest

from kenpin_controller.views import Anomaly, DeviceView
from kenpin_controller.why import Level, ago, score_text, why
from kenpin_wire.messages import (
    CameraState,
    Phase,
    Presence,
    ReleaseName,
    ReportedConfig,
    ReportedRelease,
    Status,
    Telemetry,
)
from kenpin_wire.topics import Address

NOW = 1_800_000_000.0
OLD, NEW = ReleaseName(name="bracket", version="1.0"), ReleaseName(name="bracket", version="1.1")
GOOD_TELEMETRY = Telemetry(temperature_c=55, fps=12, camera=CameraState.OK, reason="Cool enough")
GOOD = DeviceView(
    address=Address("mill", "stamping", "press-left"),
    heard_s=NOW - 1,
    status=Status(state=Presence.ONLINE),
    score=1.0,
    score_s=NOW - 1,
    threshold=1.6,
    verdict="normal",
    telemetry=GOOD_TELEMETRY,
    config=ReportedConfig(rev=1, threshold=1.6),
    release=ReportedRelease(installed=OLD, latest=OLD, phase=Phase.COMMITTED),
)


def telemetry(**fields: object) -> DeviceView:
    return replace(GOOD, telemetry=GOOD_TELEMETRY.model_copy(update=fields))


def anomaly(age_s: float) -> Anomaly:
    return Anomaly("e", NOW - age_s, 2.5, 1.6, "part-7", "bracket-1.0", None, None)


def release(phase: Phase | str, reason: str = "", installed: ReleaseName | None = OLD) -> DeviceView:
    report = ReportedRelease(installed=installed, latest=NEW, phase=phase, reason=reason, percent=40)
    return replace(GOOD, release=report)


def test_a_device_that_works_is_all_right() -> None:
    health = why(GOOD, NOW)
    assert health.all_right
    assert health.sentence == "Inspecting 12.0 pictures a second."
    assert health.remedy == ""


@pytest.mark.parametrize(
    ("device", "level", "word", "says"),
    [
        (replace(GOOD, heard_s=NOW - 200), Level.ALARM, "Silent", "Nothing heard for 3 min"),
        (replace(GOOD, heard_s=None), Level.ALARM, "Offline", "before this controller started"),
        (
            replace(GOOD, heard_s=NOW - 30, status=Status(state=Presence.OFFLINE)),
            Level.ALARM,
            "Offline",
            "last heard 30 s ago",
        ),
        (
            telemetry(camera=CameraState.LOST, camera_detail="/dev/video0 is gone"),
            Level.ALARM,
            "No camera",
            "is gone",
        ),
        (telemetry(camera=CameraState.ENDED), Level.WARN, "Ended", "come to its end"),
        (replace(GOOD, release=None), Level.ALARM, "No release", "no release yet"),
        (
            release(Phase.DOWNLOADING, installed=None),
            Level.WARN,
            "Getting ready",
            "bracket-1.1, is downloading (40 %)",
        ),
        (
            release(Phase.REJECTED, "golden pictures disagree", None),
            Level.ALARM,
            "No release",
            "golden pictures",
        ),
        (
            release(Phase.REJECTED, "golden pictures disagree"),
            Level.WARN,
            "Release",
            "goes on with bracket-1.0",
        ),
        (release(Phase.ROLLED_BACK, "too hot"), Level.WARN, "Release", "too hot"),
        (replace(GOOD, verdict="anomaly", score=2.0), Level.ALARM, "Anomaly", "score 2.00, threshold 1.60"),
        (replace(GOOD, anomalies=(anomaly(3),)), Level.ALARM, "Anomaly", "Part part-7"),
        (replace(GOOD, config=ReportedConfig(rev=2, inspection=False)), Level.WARN, "Paused", "switched off"),
        (
            replace(GOOD, config=ReportedConfig(rev=2, applied=False, error="for another release")),
            Level.WARN,
            "Settings",
            "for another release",
        ),
        (telemetry(throttle_bits=0x1), Level.WARN, "Low voltage", "too little voltage"),
        (telemetry(throttle_bits=0x4, temperature_c=83), Level.WARN, "Hot", "83 °C (throttled)"),
        (
            telemetry(allowance=0.5, temperature_c=76, reason="Near the limit"),
            Level.WARN,
            "Slowed",
            "Near the limit",
        ),
        (telemetry(outbox=5_000), Level.WARN, "Outbox", "5000 messages wait"),
        (telemetry(disk_free_mb=40.0), Level.WARN, "Disk", "40 MB"),
        (replace(GOOD, score_s=NOW - 60), Level.WARN, "No scores", "60 s ago"),
    ],
)
def test_each_trouble_is_named_with_a_remedy(device: DeviceView, level: Level, word: str, says: str) -> None:
    health = why(device, NOW)
    assert (health.level, health.word) == (level, word)
    assert says in health.sentence
    if word != "Getting ready":
        assert health.remedy


def test_an_old_anomaly_is_no_trouble() -> None:
    assert why(replace(GOOD, anomalies=(anomaly(60),)), NOW).all_right


def test_past_throttling_is_no_trouble() -> None:
    assert why(telemetry(throttle_bits=0x50000), NOW).all_right


def test_a_state_that_nobody_knows_is_no_alarm() -> None:
    assert why(telemetry(camera="dreaming"), NOW).all_right
    assert why(release("levitating"), NOW).all_right


def test_what_stops_inspection_comes_before_what_may() -> None:
    worse = replace(telemetry(camera=CameraState.LOST, throttle_bits=1), verdict="anomaly")
    assert why(worse, NOW).word == "No camera"
    assert why(replace(worse, heard_s=None), NOW).word == "Offline"


def test_a_second_release_on_its_way_is_told_while_all_is_well() -> None:
    assert "bracket-1.1 is downloading (40 %)" in why(release(Phase.DOWNLOADING), NOW).sentence


def test_a_device_waiting_for_its_first_part_is_all_right() -> None:
    health = why(replace(GOOD, score=None, score_s=None, verdict=None), NOW)
    assert health.all_right
    assert health.word == "Waiting"


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0 s"), (99, "99 s"), (180, "3 min"), (7_200, "2 h"), (400_000, "5 days")]
)
def test_durations_are_told_as_people_do(seconds: float, text: str) -> None:
    assert ago(seconds) == text


def test_scores_have_the_digits_of_their_scale() -> None:
    assert [score_text(v) for v in (0.01234, 0.1234, 1.234, 12.34, 1234.5)] == [
        "0.0123",
        "0.123",
        "1.23",
        "12.3",
        "1234",
    ]
    assert score_text(0.9871, like=1.6) == "0.99"
