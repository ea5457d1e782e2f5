"""The live picture: what is heard becomes what is seen, in whatever order it comes."""

from __future__ import annotations

import hashlib
import threading
from datetime import UTC, date, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kenpin_controller.fleet import RECENT_S, Fleet
from kenpin_controller.pages.words import part_text
from kenpin_controller.views import STALE_S, DeviceView, throttle_words
from kenpin_wire.contract import decode, encode
from kenpin_wire.messages import (
    AnomalyData,
    AnomalyEvent,
    LogLine,
    Message,
    Phase,
    Presence,
    ReleaseName,
    ReportedConfig,
    ReportedRelease,
    Score,
    ScoreAggregate,
    Status,
    Telemetry,
    Verdict,
    pack_scores,
)
from kenpin_wire.topics import Address, Channel, Topic

CAM = Address("mill", "stamping", "press-left")
T0 = 1_800_000_000.0


def at(seconds: float) -> datetime:
    return datetime.fromtimestamp(T0 + seconds, UTC)


def utc_day(time_s: float) -> date:
    return datetime.fromtimestamp(time_s, UTC).date()


def score(t: float, value: float = 1.0, *, boot: int = 1, seq: int = 0, **fields: object) -> Score:
    return Score(score=value, threshold=1.6, ts=at(t), boot=boot, seq=seq or int(t * 100) + 1, **fields)


def second(
    t: int, scores: list[float], *, seq: int = 0, threshold: float = 1.6, ts: float | None = None
) -> Message:
    return ScoreAggregate(
        ts=at(t if ts is None else ts),
        boot=1,
        seq=seq or 10_000 + t,
        threshold=threshold,
        n=len(scores),
        mean=sum(scores) / len(scores),
        max=max(scores),
        anomalies=sum(s > threshold for s in scores),
        scores=pack_scores(scores),
    )


class Heard:
    """A fleet, and short ways to say things to it."""

    def __init__(self) -> None:
        self.fleet = Fleet(day_of=utc_day)

    def say(self, channel: Channel, message: Message | bytes, t: float, who: Address = CAM) -> None:
        self.fleet.apply(Topic(who, channel), message, T0 + t)

    @property
    def cam(self) -> DeviceView:
        view = self.fleet.device(CAM.device)
        assert view is not None
        return view


@pytest.fixture
def heard() -> Heard:
    return Heard()


def test_nothing_is_known_of_a_device_that_was_never_heard(heard: Heard) -> None:
    assert heard.fleet.lines() == []
    assert heard.fleet.device("press-left") is None


def test_lines_and_devices_stand_in_order(heard: Heard) -> None:
    for line, device in (("b", "z"), ("a", "y"), ("b", "x")):
        heard.say(Channel.STATUS, Status(state=Presence.ONLINE), 0, Address("mill", line, device))
    seen = [(line.line, [d.name for d in line.devices]) for line in heard.fleet.lines()]
    assert seen == [("a", ["y"]), ("b", ["x", "z"])]


def test_a_live_score_is_the_latest(heard: Heard) -> None:
    heard.say(Channel.SCORE, score(1, 1.2, part="a"), 1)
    heard.say(Channel.SCORE, score(2, 2.4, verdict=Verdict.ANOMALY, part="b"), 2)
    assert (heard.cam.score, heard.cam.verdict, heard.cam.part) == (2.4, "anomaly", "b")
    assert heard.cam.threshold == 1.6
    assert [p.score for p in heard.cam.scores] == [1.2, 2.4]


def test_what_a_normal_part_was_taken_for_goes_with_its_score(heard: Heard) -> None:
    heard.say(Channel.SCORE, score(1, 1.2, part="a", label="bolt", confidence=0.914), 1)
    assert part_text(heard.cam) == "part a · bolt (91%)"
    heard.say(Channel.SCORE, score(2, 2.4, verdict=Verdict.ANOMALY), 2)
    assert part_text(heard.cam) == ""


@given(st.permutations(range(1, 8)))
def test_the_newest_of_a_channel_stays_whatever_the_order(order: list[int]) -> None:
    heard = Heard()
    for seq in order:
        message = Telemetry(fps=float(seq), boot=3, seq=seq, ts=at(seq))
        heard.say(Channel.TELEMETRY, message, 10)
    assert heard.cam.telemetry.fps == 7.0


@given(st.lists(st.tuples(st.integers(1, 3), st.integers(1, 9)), min_size=1, max_size=20))
def test_the_highest_boot_and_sequence_stays(stamps: list[tuple[int, int]]) -> None:
    heard = Heard()
    for boot, seq in stamps:
        heard.say(Channel.REPORTED_CONFIG, ReportedConfig(rev=boot * 100 + seq, boot=boot, seq=seq), 5)
    assert heard.cam.config.rev == max(boot * 100 + seq for boot, seq in stamps)


def test_an_older_boot_does_not_come_back_even_with_a_later_stamp(heard: Heard) -> None:
    heard.say(Channel.TELEMETRY, Telemetry(fps=5, boot=2, seq=1, ts=at(0)), 0)
    heard.say(Channel.TELEMETRY, Telemetry(fps=9, boot=1, seq=99, ts=at(1)), 1)
    assert heard.cam.telemetry.fps == 5


def test_a_card_written_anew_starts_its_counter_again(heard: Heard) -> None:
    heard.say(Channel.TELEMETRY, Telemetry(fps=5, boot=40, seq=700, ts=at(0)), 0)
    heard.say(Channel.STATUS, Status(state=Presence.ONLINE, boot=1, seq=1, ts=at(400)), 400)
    heard.say(Channel.TELEMETRY, Telemetry(fps=9, boot=1, seq=2, ts=at(401)), 401)
    assert heard.cam.telemetry.fps == 9


def test_what_a_broker_kept_of_an_earlier_boot_is_old(heard: Heard) -> None:
    heard.say(Channel.STATUS, Status(state=Presence.ONLINE, boot=8, seq=1, ts=at(10)), 10)
    heard.say(Channel.TELEMETRY, Telemetry(fps=5, boot=7, seq=900, ts=at(5)), 10)
    assert heard.cam.telemetry is None


def test_the_will_counts_although_it_was_written_before_everything_else(heard: Heard) -> None:
    heard.say(Channel.STATUS, Status(state=Presence.ONLINE, boot=4, seq=2, ts=at(0)), 0)
    heard.say(Channel.SCORE, score(5, boot=4, seq=50), 5)
    assert heard.cam.online(T0 + 6)
    heard.say(Channel.STATUS, Status(state=Presence.OFFLINE, boot=4, seq=1, ts=at(0)), 8)
    assert not heard.cam.online(T0 + 8)
    assert heard.cam.heard_s == T0 + 5


def test_the_will_of_an_earlier_boot_does_not_take_a_device_off(heard: Heard) -> None:
    heard.say(Channel.STATUS, Status(state=Presence.ONLINE, boot=5, seq=1, ts=at(10)), 10)
    heard.say(Channel.STATUS, Status(state=Presence.OFFLINE, boot=4, seq=1, ts=at(0)), 11)
    assert heard.cam.online(T0 + 11)


def test_silence_is_being_away(heard: Heard) -> None:
    heard.say(Channel.STATUS, Status(state=Presence.ONLINE), 0)
    assert heard.cam.online(T0 + STALE_S - 1)
    assert not heard.cam.online(T0 + STALE_S + 1)


def test_what_is_known_before_any_status_is_shown(heard: Heard) -> None:
    heard.say(Channel.SCORE, score(0), 0)
    assert heard.cam.online(T0 + 1)
    assert heard.cam.telemetry is None
    assert heard.cam.installed == ""


def test_two_minutes_of_scores_are_kept_and_no_more(heard: Heard) -> None:
    for i in range(400):
        heard.say(Channel.SCORE, score(i), i)
    times = [p.time_s - T0 for p in heard.cam.scores]
    assert times[-1] - times[0] <= RECENT_S
    assert len(times) == int(RECENT_S) + 1


@given(st.lists(st.floats(0, 300), min_size=1, max_size=60))
def test_scores_stand_in_time_order_and_within_two_minutes(times: list[float]) -> None:
    heard = Heard()
    for i, t in enumerate(times):
        heard.say(Channel.SCORE, score(t, seq=i + 1), t)
    kept = [p.time_s for p in heard.cam.scores]
    assert kept == sorted(kept)
    assert kept[-1] - kept[0] <= RECENT_S


def test_a_device_with_a_wrong_clock_is_drawn_on_ours(heard: Heard) -> None:
    heard.say(Channel.SCORE, score(-86_400, seq=1), 3)
    assert heard.cam.scores[0].time_s == pytest.approx(T0 + 3)


def test_a_roll_up_fills_what_the_live_scores_missed(heard: Heard) -> None:
    heard.say(Channel.SCORE, score(0.5), 0.5)
    heard.say(Channel.SCORE, score(9.5), 9.5)
    before = heard.cam.gaps_filled
    heard.say(Channel.SCORE_AGG, second(4, [1.0, 2.0, 1.1]), 9.6)
    assert [p.score for p in heard.cam.scores] == pytest.approx([1.0, 1.0, 2.0, 1.1, 1.0])
    assert heard.cam.gaps_filled == before + 1


def test_a_roll_up_that_knows_no_more_changes_nothing(heard: Heard) -> None:
    for t in (4.1, 4.5, 4.9):
        heard.say(Channel.SCORE, score(t), t)
    heard.say(Channel.SCORE_AGG, second(4, [3.0, 3.0]), 5)
    assert [p.score for p in heard.cam.scores] == [1.0, 1.0, 1.0]


def test_a_roll_up_stands_in_where_no_live_score_comes(heard: Heard) -> None:
    heard.say(Channel.SCORE_AGG, second(4, [1.0, 2.0]), 5)
    assert heard.cam.score == pytest.approx(2.0)
    assert heard.cam.verdict == "anomaly"


def test_a_duplicate_roll_up_counts_once(heard: Heard) -> None:
    for _ in range(3):
        heard.say(Channel.SCORE_AGG, second(4, [1.0, 2.0]), 5)
    assert (heard.cam.inspected_today, heard.cam.anomalies_today) == (2, 1)


def test_a_late_roll_up_counts_all_the_same(heard: Heard) -> None:
    heard.say(Channel.SCORE_AGG, second(30, [1.0]), 31)
    heard.say(Channel.SCORE_AGG, second(4, [1.0, 1.0]), 32)
    assert heard.cam.inspected_today == 3


def test_a_new_day_starts_from_nothing(heard: Heard) -> None:
    heard.say(Channel.SCORE_AGG, second(0, [1.0, 1.0, 1.0]), 1)
    heard.say(Channel.SCORE_AGG, second(86_400, [1.0]), 86_401)
    assert heard.cam.inspected_today == 1


def test_a_roll_up_in_a_form_we_do_not_know_still_counts(heard: Heard) -> None:
    heard.say(Channel.SCORE_AGG, ScoreAggregate(ts=at(0), n=7, scores="not base64!"), 1)
    assert heard.cam.inspected_today == 7
    assert heard.cam.scores == ()


def event(name: str, t: float, **data: object) -> AnomalyEvent:
    return AnomalyEvent(id=name, time=at(t), ts=at(t), data=AnomalyData(score=2.0, **data))


def test_the_newest_anomaly_is_the_last_one_whatever_the_order(heard: Heard) -> None:
    for name, t in (("b", 20), ("c", 30), ("a", 10), ("c", 30)):
        heard.say(Channel.EVENT_ANOMALY, event(name, t), 31)
    assert [a.id for a in heard.cam.anomalies] == ["c", "b", "a"]
    assert heard.cam.last_anomaly.id == "c"


def test_anomalies_are_bounded(heard: Heard) -> None:
    for i in range(200):
        heard.say(Channel.EVENT_ANOMALY, event(str(i), i), i)
    assert len(heard.cam.anomalies) <= 24
    assert heard.cam.last_anomaly.id == "199"


def test_pictures_are_found_by_their_hash_and_bounded(heard: Heard) -> None:
    jpegs = [bytes([i]) * 10 for i in range(40)]
    for jpeg in jpegs:
        heard.say(Channel.PICTURE, jpeg, 0)
    newest = hashlib.sha256(jpegs[-1]).hexdigest()
    assert heard.cam.picture_sha256 == newest
    assert heard.cam.heatmap_sha256 is None
    assert heard.fleet.jpeg(newest) == jpegs[-1]
    assert heard.fleet.jpeg(hashlib.sha256(jpegs[0]).hexdigest()) is None


def test_values_of_a_newer_program_survive(heard: Heard) -> None:
    newer = b'{"v": 9, "phase": "levitating", "percent": 40, "reason": "because"}'
    heard.say(Channel.REPORTED_RELEASE, decode(Channel.REPORTED_RELEASE, newer), 0)
    heard.say(Channel.TELEMETRY, decode(Channel.TELEMETRY, b'{"camera": "dreaming"}'), 0)
    heard.say(Channel.SCORE, decode(Channel.SCORE, b'{"verdict": "maybe"}'), 0)
    assert heard.cam.phase == "levitating"
    assert heard.cam.telemetry.camera == "dreaming"
    assert heard.cam.verdict == "maybe"


def test_what_the_controller_says_changes_nothing(heard: Heard) -> None:
    from kenpin_wire.messages import DesiredConfig

    heard.say(Channel.SET_CONFIG, DesiredConfig(rev=1), 0)
    heard.fleet.apply(Topic(CAM.whole_line, Channel.SET_CONFIG), DesiredConfig(rev=1), T0)
    assert heard.fleet.lines() == []


def test_a_device_that_was_moved_stands_on_its_new_line_only(heard: Heard) -> None:
    heard.say(Channel.SCORE, score(1), 1)
    heard.say(Channel.SCORE, score(2), 2, Address("mill", "packing", "press-left"))
    assert [line.line for line in heard.fleet.lines()] == ["packing"]


def test_the_reported_threshold_holds_until_a_score_says_otherwise(heard: Heard) -> None:
    heard.say(Channel.SCORE, score(1), 1)
    heard.say(Channel.REPORTED_CONFIG, ReportedConfig(rev=4, threshold=2.2), 2)
    assert heard.cam.threshold == 2.2


def test_the_installed_release_is_known_from_the_report_or_else_from_the_status(heard: Heard) -> None:
    heard.say(Channel.STATUS, Status(state=Presence.ONLINE, release="a-1"), 0)
    assert heard.cam.installed == "a-1"
    name = ReleaseName(name="b", version="2")
    heard.say(Channel.REPORTED_RELEASE, ReportedRelease(installed=name, phase=Phase.COMMITTED), 1)
    assert heard.cam.installed == "b-2"


def test_warnings_of_a_device_are_kept_and_bounded(heard: Heard) -> None:
    for i in range(100):
        heard.say(Channel.LOG, LogLine(message=f"line {i}"), i)
    assert len(heard.cam.log) == 20
    assert heard.cam.log[-1].message == "line 99"


@pytest.mark.parametrize(
    ("bits", "words"),
    [
        (0, ()),
        (0x1, ("under-voltage",)),
        (0x50000, ("under-voltage (earlier)", "throttled (earlier)")),
        (0x50005, ("under-voltage", "throttled")),
        (0x80008, ("soft temperature limit",)),
    ],
)
def test_throttle_bits_become_words(bits: int, words: tuple[str, ...]) -> None:
    assert throttle_words(bits) == words


def test_many_read_while_one_writes() -> None:
    heard = Heard()
    done = threading.Event()
    failures: list[BaseException] = []

    def read() -> None:
        try:
            while not done.is_set():
                for line in heard.fleet.lines():
                    for device in line.devices:
                        times = [p.time_s for p in device.scores]
                        assert times == sorted(times)
        except BaseException as error:  # noqa: BLE001  handed to the test's own thread
            failures.append(error)

    readers = [threading.Thread(target=read) for _ in range(3)]
    for reader in readers:
        reader.start()
    for i in range(2000):
        heard.say(Channel.SCORE, score(i / 10, seq=i + 1), i / 10)
    done.set()
    for reader in readers:
        reader.join()
    assert failures == []


def test_what_was_encoded_and_decoded_folds_the_same(heard: Heard) -> None:
    message = score(1, 1.3)
    heard.say(Channel.SCORE, decode(Channel.SCORE, encode(message)), 1)
    assert heard.cam.score == 1.3
