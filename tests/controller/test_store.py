"""The store: what is written is there, once, whatever happens around it."""

import signal
import sqlite3
import subprocess
import sys
import textwrap
from dataclasses import replace

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import event, text

from kenpin_controller.errors import ConflictError, StoreError
from kenpin_controller.operations import EventRecord, ReleaseRecord
from kenpin_controller.store import Store
from kenpin_controller.store.audit import Deed
from kenpin_controller.store.schema import metadata
from kenpin_controller.store.writes import UNCLAIMED_PICTURES, Event, Picture, Second, Seen
from kenpin_wire.errors import ConfigError
from kenpin_wire.messages import ReleaseName, Threshold
from kenpin_wire.topics import Address, Channel

CAM = Address("tokyo", "line-a", "cam-1")
DEED = Deed("tester", "test", "cam-1", 100.0, {})


def an_event(event_id="e1", time_s=100.0, *, picture=None, heatmap=None, device="cam-1"):
    record = EventRecord(event_id, time_s, "line-a", device, 3.0, 2.0, "metal-1", None, 7, picture, heatmap)
    return Event(record, "tokyo", time_s)


def a_second(second_s=100, n=10, device="cam-1"):
    return Second(device, second_s, n, 1.0, 1.5, 2.0, 1, 2.5, "metal-1", b"\0\0\0\0" * n)


def a_picture(number=1, time_s=100.0, size=50):
    return Picture(f"{number:064x}", "cam-1", "picture", time_s, b"j" * size)


@pytest.fixture
def store(tmp_path):
    opened = Store.open(tmp_path)
    yield opened
    opened.close()


def count(store, table):
    with store.engine.connect() as connection:
        return connection.execute(text(f"select count(*) from {table}")).scalar_one()


def test_the_migrations_make_the_schema_that_the_code_uses(store):
    with store.engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []


def test_opening_twice_keeps_what_is_there(store, tmp_path):
    store.readings.write([an_event()])
    again = Store.open(tmp_path)
    assert [e.id for e in again.readings.events()] == ["e1"]
    again.close()


def test_a_database_of_a_newer_program_is_refused_in_one_line_and_left_alone(tmp_path):
    Store.open(tmp_path).close()
    with sqlite3.connect(tmp_path / "kenpin.db") as database:
        database.execute("update alembic_version set version_num = '9999'")
    with pytest.raises(StoreError, match="newer program") as refused:
        Store.open(tmp_path)
    assert "\n" not in str(refused.value)
    assert "Update Kenpin" in str(refused.value)
    with sqlite3.connect(tmp_path / "kenpin.db") as database:
        assert database.execute("select version_num from alembic_version").fetchall() == [("9999",)]


def test_a_file_that_is_no_database_is_refused_and_left_alone(tmp_path):
    file = tmp_path / "kenpin.db"
    file.write_bytes(b"these are my holiday notes" * 100)
    with pytest.raises(StoreError, match="not a database"):
        Store.open(tmp_path)
    assert file.read_bytes() == b"these are my holiday notes" * 100


def test_a_folder_that_cannot_be_made_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="cannot be used"):
        Store.open(tmp_path / "file" / "data")


def test_a_url_that_is_none_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="database URL"):
        Store.open(tmp_path, "notes.txt")


@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_messages_in_any_order_and_number_give_the_same_rows(data, tmp_path_factory):
    everything = [
        Seen("cam-1", "tokyo", "line-a", 100.0, "metal-1", 3, 4),
        *(an_event(f"e{i}", 100.0 + i, picture=f"{i:064x}") for i in range(3)),
        *(a_picture(i) for i in range(5)),
        *(a_second(100 + i) for i in range(3)),
    ]
    order = data.draw(st.permutations(everything * 2))
    store = Store.open(tmp_path_factory.mktemp("store"))
    cut = data.draw(st.integers(0, len(order)))
    store.readings.write(order[:cut])
    store.readings.write(order[cut:])

    assert [e.id for e in store.readings.events()] == ["e2", "e1", "e0"]
    assert [s.time_s for s in store.readings.scores("cam-1", since_s=0)] == [100, 101, 102]
    assert store.readings.device("cam-1").release_rev == 4
    with store.engine.connect() as connection:
        rows = connection.execute(text("select sha256, claimed from pictures order by sha256")).all()
    assert [(row.sha256, bool(row.claimed)) for row in rows] == [(f"{i:064x}", i < 3) for i in range(5)]
    store.close()


def test_of_a_second_that_a_restart_cut_in_two_the_fuller_half_stays(store):
    for n in (3, 9, 5):
        store.readings.write([a_second(n=n)])
    (second,) = store.readings.seconds("cam-1", since_s=0)
    assert (second.n, len(second.scores)) == (9, 36)


def test_pictures_that_no_event_names_make_room_for_each_other(store):
    store.readings.write([an_event(picture=f"{0:064x}"), a_picture(0, time_s=1.0)])
    for i in range(1, 2 * UNCLAIMED_PICTURES):
        store.readings.write([a_picture(i, time_s=float(i))])
    assert count(store, "pictures") == UNCLAIMED_PICTURES + 1
    assert store.readings.picture(f"{0:064x}") is not None


def test_the_oldest_pictures_go_first_and_events_stay(store):
    store.readings.write([an_event(f"e{i}", picture=f"{i:064x}") for i in range(10)])
    store.readings.write([a_picture(i, time_s=float(i), size=100) for i in range(10)])
    store.readings.forget(pictures_before_s=2.0, seconds_before_s=0.0, picture_bytes=500)
    kept = [i for i in range(10) if store.readings.picture(f"{i:064x}")]
    assert kept == [5, 6, 7, 8, 9]
    assert count(store, "events") == 10


def test_a_value_that_the_database_cannot_hold_costs_only_itself(store):
    strange = replace(a_second(101), n=2**80)
    dropped = store.readings.write([a_second(100), strange, an_event(), a_second(102)])
    assert dropped == [strange]
    assert [s.time_s for s in store.readings.scores("cam-1", since_s=0)] == [100, 102]
    assert count(store, "events") == 1


def test_a_full_disk_loses_nothing_and_ends(store):
    store.readings.write([an_event("before")])
    limit = _cap_pages(store, extra=2)
    with pytest.raises(StoreError, match="disk is full"):
        store.readings.write([a_picture(i, size=20_000) for i in range(100)])
    assert [e.id for e in store.readings.events()] == ["before"]
    limit["pages"] = 1 << 30
    store.readings.write([an_event("after")])
    assert {e.id for e in store.readings.events()} == {"before", "after"}


def _cap_pages(store, extra):
    """Have SQLite refuse to grow, as it does when the disk is full; the returned dict's `pages` lifts it."""
    with store.engine.connect() as connection:
        limit = {"pages": connection.execute(text("pragma page_count")).scalar_one() + extra}

    @event.listens_for(store.engine, "begin")
    def cap(connection):
        connection.connection.driver_connection.execute(f"pragma max_page_count = {limit['pages']}").close()

    return limit


def test_pages_of_events_show_each_exactly_once_even_at_one_moment(store):
    store.readings.write([an_event(f"e{i:02}", time_s=100.0 + i // 7) for i in range(30)])
    seen, before = [], {}
    while page := store.readings.events(limit=4, **before):
        seen += [e.id for e in page]
        before = {"before_s": page[-1].time_s, "before_id": page[-1].id}
    assert sorted(seen) == [f"e{i:02}" for i in range(30)]


@settings(max_examples=15, deadline=None)
@given(reported=st.lists(st.integers(0, 20), min_size=1, max_size=5))
def test_revisions_only_grow_whatever_the_device_says(reported, tmp_path_factory):
    folder = tmp_path_factory.mktemp("store")
    last = 0
    for i, reported_rev in enumerate(reported):
        store = Store.open(folder)
        config = store.intents.change_config(
            CAM, lambda c: c.model_copy(update={"inspection": True}), reported_rev=reported_rev, deed=DEED
        )
        assert config.rev > max(last, reported_rev), i
        last = config.rev
        store.close()


def test_desired_settings_accumulate(store):
    change = store.intents.change_config
    change(
        CAM,
        lambda c: c.model_copy(update={"threshold": Threshold(release="m-1", value=2.0)}),
        reported_rev=0,
        deed=DEED,
    )
    config = change(CAM, lambda c: c.model_copy(update={"inspection": False}), reported_rev=0, deed=DEED)
    assert config.threshold == Threshold(release="m-1", value=2.0)
    assert config.inspection is False
    (desire,) = store.intents.desired()
    assert (desire.address, desire.channel, desire.message) == (CAM, Channel.SET_CONFIG, config)


def test_a_change_that_fails_leaves_no_trace(store):
    def refuse(config):
        raise ConfigError("no")

    with pytest.raises(ConfigError):
        store.intents.change_config(CAM, refuse, reported_rev=0, deed=DEED)
    assert store.intents.desired() == []
    assert count(store, "audit") == 0


def test_a_name_and_version_belong_to_one_file_for_ever(store):
    release = ReleaseName(name="metal", version="1")
    first = ReleaseRecord(release, "a" * 64, 3, 1.0, {"head": "lof"})
    assert store.releases.add(first, b"one", who="x") == first
    assert store.releases.add(replace(first, uploaded_s=2.0), b"one", who="y") == first
    with pytest.raises(ConflictError, match="another file"):
        store.releases.add(ReleaseRecord(release, "b" * 64, 3, 3.0), b"two", who="x")
    assert store.releases.list() == [first]
    assert store.releases.path("a" * 64).read_bytes() == b"one"


def test_what_was_committed_survives_kill_9(tmp_path):
    program = textwrap.dedent(
        """
        import itertools, sys
        from pathlib import Path
        from kenpin_controller.operations import EventRecord
        from kenpin_controller.store import Store
        from kenpin_controller.store.writes import Event, Picture

        store = Store.open(Path(sys.argv[1]))
        start = int(sys.argv[2])
        for batch in itertools.count(start):
            record = EventRecord(f"e{batch}", batch, "l", "d", 1.0, None, "", None, 0, f"{batch:064x}", None)
            picture = Picture(f"{batch:064x}", "d", "picture", batch, bytes(30_000))
            store.readings.write([Event(record, "s", batch), picture])
            print(batch, flush=True)
        """
    )
    last = -1
    for wanted in (3, 23):
        writer = subprocess.Popen(
            [sys.executable, "-c", program, str(tmp_path), str(last + 1)], stdout=subprocess.PIPE, text=True
        )
        for _ in range(wanted):
            last = int(writer.stdout.readline())
        writer.send_signal(signal.SIGKILL)
        rest = writer.communicate()[0].split()
        last = int(rest[-1]) if rest else last
        store = Store.open(tmp_path)
        ids = {e.id for e in store.readings.events(limit=10_000)}
        assert ids >= {f"e{i}" for i in range(last + 1)}
        assert all(store.readings.picture(f"{i:064x}") for i in range(last + 1))
        assert len(ids) <= last + 2  # at most the one that was committed but not yet told
        store.close()
        last = len(ids) - 1
