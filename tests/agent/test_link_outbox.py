"""The outbox: order, bound, durability, and what becomes of it when the disk does not play along."""

import os
import signal
import sqlite3
import subprocess
import sys
import textwrap

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kenpin_agent.link.lanes import GIVE_UP_ORDER, Lane
from kenpin_agent.link.outbox import MEMORY_BYTES, Outbox
from kenpin_agent.link.outbox_file import ROW_OVERHEAD_BYTES
from kenpin_agent.testing import FakeClock
from kenpin_wire.topics import Channel

CHANNELS = {
    Lane.EVENT: Channel.EVENT_ANOMALY,
    Lane.REPLY: Channel.REPLY,
    Lane.PICTURE: Channel.PICTURE,
    Lane.BULK: Channel.SCORE_AGG,
}


@pytest.fixture
def clock():
    return FakeClock()


@pytest.fixture
def outbox(tmp_path, clock):
    box = Outbox(tmp_path / "state" / "outbox.sqlite", clock)
    yield box
    box.close()


def put(box, lane, payload=b"x", **more):
    return box.put(lane, CHANNELS[lane], payload, **more)


def payloads(box, lane, limit=1000, **how):
    return [row.payload for row in box.waiting(lane, limit, **how)]


def reopened(box, clock, **how):
    box.close()
    return Outbox(box.path, clock, **how)


def test_rows_come_back_in_order_from_memory_and_file_alike(outbox):
    put(outbox, Lane.BULK, b"1")
    put(outbox, Lane.BULK, b"2")
    outbox.flush()
    put(outbox, Lane.BULK, b"3")
    assert payloads(outbox, Lane.BULK) == [b"1", b"2", b"3"]
    assert payloads(outbox, Lane.BULK, newest_first=True) == [b"3", b"2", b"1"]
    assert payloads(outbox, Lane.BULK, limit=2, newest_first=True) == [b"3", b"2"]
    assert payloads(outbox, Lane.EVENT) == []


def test_rows_survive_a_restart_and_ids_go_on_ascending(outbox, clock):
    before = put(outbox, Lane.EVENT, b"old", event_id="e1", argument="")
    again = reopened(outbox, clock)
    (row,) = again.waiting(Lane.EVENT, 10)
    assert row == before
    assert put(again, Lane.EVENT, b"new").id > row.id
    again.close()


def test_ids_ascend_even_if_the_clock_went_back_over_the_restart(outbox, clock):
    put(outbox, Lane.BULK, b"1")
    outbox.close()
    clock.set_wall(1000.0)
    again = Outbox(outbox.path, clock)
    put(again, Lane.BULK, b"2", expiry_s=1e10)
    assert payloads(again, Lane.BULK) == [b"1", b"2"]
    again.close()


def test_what_leaves_before_the_flush_never_touches_the_file(outbox, clock):
    row = put(outbox, Lane.BULK)
    outbox.remove([row.id])
    outbox.flush()
    assert outbox.depth == 0
    with sqlite3.connect(outbox.path) as db:
        assert db.execute("SELECT count(*) FROM outbox").fetchone() == (0,)


def test_an_event_is_in_the_file_within_a_second(outbox, clock):
    put(outbox, Lane.EVENT, b"e", event_id="e")
    assert outbox.due_s is not None
    assert outbox.due_s - clock.monotonic_s() <= 1.0
    clock.advance(outbox.due_s - clock.monotonic_s())
    outbox.flush()
    with sqlite3.connect(outbox.path) as db:
        assert db.execute("SELECT event_id FROM outbox").fetchall() == [("e",)]


def test_a_removed_row_is_gone_at_once_and_after_a_restart(outbox, clock):
    row = put(outbox, Lane.BULK, b"1")
    put(outbox, Lane.BULK, b"2")
    outbox.flush()
    outbox.remove([row.id])
    outbox.remove([row.id])
    assert payloads(outbox, Lane.BULK) == [b"2"]
    assert outbox.depth == 1
    again = reopened(outbox, clock)
    assert payloads(again, Lane.BULK) == [b"2"]
    assert again.depth == 1
    again.close()


def test_acknowledged_events_are_forgotten_by_their_ids_in_memory_and_file(outbox):
    put(outbox, Lane.EVENT, b"1", event_id="a")
    outbox.flush()
    put(outbox, Lane.EVENT, b"2", event_id="b")
    put(outbox, Lane.EVENT, b"3", event_id="c")
    assert outbox.remove_events(["a", "b", "unknown", ""]) == 2
    assert outbox.remove_events(["a", "b"]) == 0
    assert payloads(outbox, Lane.EVENT) == [b"3"]


def test_an_expired_row_is_not_sent_and_does_not_hide_those_behind_it(outbox, clock):
    for _ in range(20):
        put(outbox, Lane.REPLY, b"stale", expiry_s=10)
    put(outbox, Lane.REPLY, b"good", expiry_s=1000)
    outbox.flush()
    clock.advance(11)
    assert payloads(outbox, Lane.REPLY, limit=1) == [b"good"]


def test_a_clock_put_right_by_years_ages_nothing(outbox, clock):
    put(outbox, Lane.BULK, b"file", expiry_s=3600)
    outbox.flush()
    put(outbox, Lane.BULK, b"memory", expiry_s=3600)
    clock.set_wall(clock.wall_s() + 5 * 365 * 86_400)
    outbox.flush()
    assert payloads(outbox, Lane.BULK) == [b"file", b"memory"]
    clock.advance(3601)
    assert payloads(outbox, Lane.BULK) == []


def test_bulk_is_given_up_before_pictures_and_pictures_before_events(tmp_path, clock):
    row_bytes = 1000 + ROW_OVERHEAD_BYTES
    box = Outbox(tmp_path / "o.sqlite", clock, cap_bytes=6 * row_bytes)
    for number in range(3):
        for lane in (Lane.EVENT, Lane.PICTURE, Lane.BULK):
            put(box, lane, str(number).encode() * 1000, event_id=f"{lane}{number}")
        box.flush()
    assert [p[:1] for p in payloads(box, Lane.EVENT)] == [b"0", b"1", b"2"]
    assert [p[:1] for p in payloads(box, Lane.PICTURE)] == [b"0", b"1", b"2"]
    assert payloads(box, Lane.BULK) == []
    put(box, Lane.EVENT, b"3" * 1000)
    box.flush()
    assert [p[:1] for p in payloads(box, Lane.PICTURE)] == [b"1", b"2"]  # the newest stay
    assert box.dropped == 4
    box.close()


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    cap=st.integers(500, 4000),
    steps=st.lists(
        st.one_of(
            st.tuples(st.sampled_from(list(Lane)), st.integers(0, 900)), st.just("flush"), st.just("remove")
        ),
        max_size=40,
    ),
)
def test_the_outbox_never_outgrows_its_cap_and_drops_the_least_first(tmp_path_factory, cap, steps):
    clock = FakeClock()
    box = Outbox(tmp_path_factory.mktemp("o") / "o.sqlite", clock, cap_bytes=cap)
    put_rows = []
    removed = set()
    for step in steps:
        if step == "flush":
            box.flush()
        elif step == "remove":
            waiting = box.waiting(Lane.BULK, 1)
            box.remove(row.id for row in waiting)
            removed.update(row.id for row in waiting)
        else:
            lane, size = step
            put_rows.append(put(box, lane, bytes(size)))
    box.flush()
    kept = {lane: box.waiting(lane, 1000) for lane in Lane}
    assert sum(row.size for rows in kept.values() for row in rows) == box.size_bytes <= cap
    assert box.depth == sum(map(len, kept.values()))
    assert box.depth == len(put_rows) - len(removed) - box.dropped
    for lane, rows in kept.items():
        # What stays of a lane is its newest.
        mine = [row.id for row in put_rows if row.lane is lane and row.id not in removed]
        assert [row.id for row in rows] == mine[len(mine) - len(rows) :]
    box.close()


@settings(max_examples=30, deadline=None)
@given(lanes=st.lists(st.sampled_from(list(Lane)), min_size=1, max_size=40), room=st.integers(0, 20))
def test_at_one_blow_no_row_is_given_up_while_a_lesser_one_stays(tmp_path_factory, lanes, room):
    size = 100 + ROW_OVERHEAD_BYTES
    box = Outbox(tmp_path_factory.mktemp("o") / "o.sqlite", FakeClock(), cap_bytes=room * size)
    for lane in lanes:
        put(box, lane, bytes(100))
    box.flush()
    left = [len(box.waiting(lane, 1000)) for lane in GIVE_UP_ORDER]
    had = [lanes.count(lane) for lane in GIVE_UP_ORDER]
    over = max(0, len(lanes) - room)
    for mine, before in zip(left, had, strict=True):
        assert before - mine == min(before, over)
        over -= before - mine
    box.close()


def test_a_process_killed_with_minus_nine_loses_nothing_that_was_flushed(tmp_path, clock):
    program = """
        import os, signal, sys, time
        from pathlib import Path
        from kenpin_agent.clock import SystemClock
        from kenpin_agent.link.lanes import Lane
        from kenpin_agent.link.outbox import Outbox
        from kenpin_wire.topics import Channel
        box = Outbox(Path(sys.argv[1]), SystemClock())
        n = 0
        while True:
            for _ in range(20):
                box.put(Lane.EVENT, Channel.EVENT_ANOMALY, b"%d" % n, event_id=str(n))
                n += 1
            box.flush()
            print(n, flush=True)
    """
    path = tmp_path / "o.sqlite"
    command = [sys.executable, "-c", textwrap.dedent(program), str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        while int(process.stdout.readline()) < 400:
            pass
        process.send_signal(signal.SIGKILL)
        promised = [int(line) for line in process.stdout.read().split()]
    box = Outbox(path, clock)
    clock.set_wall(0)
    found = payloads(box, Lane.EVENT, limit=10**6)
    assert found == [b"%d" % n for n in range(len(found))]
    assert len(found) >= max([400, *promised])
    box.close()


@pytest.mark.parametrize(
    "damage",
    [
        lambda path: path.write_bytes(b"this is no database" * 1000),
        lambda path: path.write_bytes(path.read_bytes()[:4096] + os.urandom(8192)),
        lambda path: _execute(path, "DROP TABLE outbox"),
        lambda path: _execute(path, "PRAGMA user_version = 99"),
    ],
    ids=["not a database", "torn pages", "no table", "another schema"],
)
def test_a_damaged_file_is_set_aside_and_a_new_one_begun(outbox, clock, caplog, damage):
    for _ in range(200):
        put(outbox, Lane.BULK, bytes(100))
    outbox.close()
    damage(outbox.path)
    box = Outbox(outbox.path, clock)
    put(box, Lane.EVENT, b"goes on", event_id="e")
    box.flush()
    assert payloads(box, Lane.EVENT) == [b"goes on"]
    assert outbox.path.with_name("outbox.sqlite.damaged").exists()
    (record,) = caplog.records
    assert "damaged" in record.getMessage()
    again = reopened(box, clock)
    assert payloads(again, Lane.EVENT) == [b"goes on"]
    again.close()


def test_a_file_damaged_while_in_use_does_not_raise(outbox, clock):
    for _ in range(500):
        put(outbox, Lane.BULK, bytes(300))
    outbox.flush()
    _execute(outbox.path, "PRAGMA wal_checkpoint(TRUNCATE)")
    with outbox.path.open("r+b") as file:
        file.write(os.urandom(65536))
    for _ in range(3):
        put(outbox, Lane.EVENT, b"goes on")
        outbox.flush()
        outbox.waiting(Lane.BULK, 1000)
        clock.advance(10)
    assert payloads(outbox, Lane.EVENT)[-1] == b"goes on"


def test_a_full_disk_raises_nothing_keeps_events_in_memory_and_is_said_once(tmp_path, clock, caplog):
    # SQLite's own limit gives the same SQLITE_FULL as a disk without space.
    box = Outbox(tmp_path / "o.sqlite", clock)
    put(box, Lane.BULK, b"before")
    box.flush()
    box._file._db.execute("PRAGMA max_page_count = 8")
    for number in range(60):
        put(box, Lane.BULK, bytes(200_000))
        put(box, Lane.EVENT, b"%d" % number, event_id=str(number))
        box.flush()
        clock.advance(1.0)
    assert payloads(box, Lane.EVENT) == [b"%d" % number for number in range(60)]
    assert payloads(box, Lane.BULK)[0] == b"before"
    assert box.size_bytes <= MEMORY_BYTES + 10_000
    assert box.dropped > 0
    assert len(caplog.records) == 1
    assert "Free some space" in caplog.text
    box._file._db.execute("PRAGMA max_page_count = 100000")
    clock.advance(10.0)
    box.flush()
    again = reopened(box, clock)
    assert len(payloads(again, Lane.EVENT)) == 60
    again.close()


def test_a_folder_that_cannot_be_made_raises_nothing(tmp_path, clock, caplog):
    (tmp_path / "file").write_text("in the way")
    box = Outbox(tmp_path / "file" / "o.sqlite", clock)
    put(box, Lane.EVENT, b"e", event_id="e")
    box.flush()
    assert payloads(box, Lane.EVENT) == [b"e"]
    assert box.remove_events(["e"]) == 1
    box.close()
    assert len(caplog.records) == 1


def test_a_file_that_can_only_be_opened_later_is_joined_to_what_memory_holds(outbox, clock, tmp_path):
    put(outbox, Lane.EVENT, b"1", event_id="1")
    outbox.close()
    folder = outbox.path.parent
    folder.rename(tmp_path / "away")
    folder.write_text("in the way")
    box = Outbox(outbox.path, clock)
    put(box, Lane.EVENT, b"2", event_id="2")
    box.flush()
    folder.unlink()
    (tmp_path / "away").rename(folder)
    clock.advance(10.0)
    assert payloads(box, Lane.EVENT) == [b"1", b"2"]
    box.flush()
    assert box.depth == 2
    box.close()


def _execute(path, sql):
    db = sqlite3.connect(path)
    db.execute(sql)
    db.commit()
    db.close()
