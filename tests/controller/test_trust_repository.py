"""A site's keys and its TUF repository, read by python-tuf's own client."""

import json
import os
import random
import shutil
import stat
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta

import pytest
from tuf.api.exceptions import ExpiredMetadataError, RepositoryError

from kenpin_controller.errors import ConflictError, NotFoundError
from kenpin_controller.trust import keys as key_files
from kenpin_controller.trust import repository as files
from kenpin_controller.trust.changes import signed_elsewhere
from kenpin_controller.trust.desk import TrustDesk
from kenpin_controller.trust.keys import CONTROLLER, ROLES, KeyFolder
from kenpin_controller.trust.metadata import Named, sign, with_targets
from kenpin_wire.errors import ConfigError
from support.tuf_client import TufClient

DAY_1 = datetime(2030, 5, 1, 12, 0, tzinfo=UTC)
METAL = Named.of("metal-1.kenpin", b"a release")
GLASS = Named.of("glass-1.kenpin", b"another")


@pytest.fixture(autouse=True)
def _no_waiting_for_the_disk(monkeypatch):
    """A kill loses nothing that was written, synced or not; a power cut is not tried here."""
    monkeypatch.setattr(os, "fsync", lambda _handle: None)


class Site:
    """A desk with a clock of its own, and a device that has pinned its root."""

    def __init__(self, folder, *, keys=None, secret=None):
        self.folder, self.keys, self.now = folder, keys, DAY_1
        self.desk = self.open(keys=keys, passphrase=lambda _file: secret)
        self.desk.make(secret=secret)
        self.device = self.new_device("device")

    def open(self, **how):
        return TrustDesk(self.folder / "data", wall=lambda: self.now, **how)

    def new_device(self, name):
        return TufClient(self.folder / name, self.desk.root(), self.desk.repository)

    def later(self, **delta):
        self.now += timedelta(**delta)

    def refresh(self, device=None):
        (device or self.device).refresh(self.now)

    def controller_keys(self):
        self.refresh()
        return json.loads(self.device.read("controller.json"))["keys"]


@pytest.fixture
def site(tmp_path):
    return Site(tmp_path)


@pytest.fixture
def offline_site(tmp_path):
    """Root and targets keys lie in `stick`, behind a passphrase; the controller has its data folder alone."""
    made = Site(tmp_path, keys=tmp_path / "stick", secret=b"open sesame")
    made.controller = made.open()
    made.admin = made.desk
    return made


def held(*files):
    return {file.name: file for file in files}.get


def test_a_device_that_pinned_the_root_learns_of_a_signed_release_and_the_controller_s_key(site):
    assert site.desk.sign([METAL])
    site.refresh()
    found = site.device.find(METAL.name)
    assert (found.length, found.hashes) == (METAL.length, {"sha256": METAL.sha256})
    public = KeyFolder(site.folder / "data" / "keys").load(CONTROLLER).public.hex()
    assert site.controller_keys() == [public]


def test_key_files_are_for_their_owner_alone_and_never_overwritten(site):
    folder = site.folder / "data" / "keys"
    assert {path.name for path in folder.iterdir()} == {f"{name}.pem" for name in (*ROLES, CONTROLLER)}
    assert {stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()} == {0o600}
    before = {path: path.read_bytes() for path in folder.iterdir()}
    with pytest.raises(ConflictError, match="has its keys already"):
        site.desk.make()
    with pytest.raises(ConflictError, match="a key is there already"):
        KeyFolder(folder).make("root")
    assert {path: path.read_bytes() for path in folder.iterdir()} == before


def test_offline_keys_lie_where_they_are_told_and_open_only_with_their_passphrase(offline_site):
    stick, data = offline_site.folder / "stick", offline_site.folder / "data" / "keys"
    assert {path.name for path in stick.iterdir()} == {"root.pem", "targets.pem"}
    assert {path.name for path in data.iterdir()} == {"snapshot.pem", "timestamp.pem", "controller.pem"}
    assert b"ENCRYPTED" in (stick / "root.pem").read_bytes()
    assert KeyFolder(stick, lambda _file: b"open sesame").load("root")
    with pytest.raises(ConfigError, match="does not open"):
        KeyFolder(stick, lambda _file: b"wrong").load("root")
    with pytest.raises(ConfigError, match="needs its passphrase"):
        KeyFolder(stick).load("root")


def test_another_site_s_keys_are_not_taken_for_this_one_s(site, tmp_path):
    (tmp_path / "two").mkdir()
    other = Site(tmp_path / "two")
    desk = site.open(keys=other.folder / "data" / "keys")
    with pytest.raises(ConfigError, match="not the one in force"):
        desk.rotate("timestamp")
    with pytest.raises(ConfigError, match="not the one in force"):
        desk.rotate(CONTROLLER)
    assert not desk.sign([METAL])
    site.refresh()
    with pytest.raises(ConflictError, match="a key is there already"):
        TrustDesk(tmp_path / "three", keys=other.folder / "data" / "keys").make()


def test_what_ends_soon_is_renewed_by_the_controller_and_nothing_else_is_written(site):
    site.refresh()
    assert site.desk.tick() == []
    assert site.desk.repository.names() == {
        "1.root.json",
        "1.targets.json",
        "1.snapshot.json",
        "timestamp.json",
        *(name for name in site.desk.repository.names() if name.endswith("controller.json")),
    }
    for _ in range(24 * 8):
        site.later(hours=1, seconds=1)
        site.desk.tick()
        site.refresh()
    books = site.desk.repository.books()
    assert (books.root.signed.version, books.targets.signed.version) == (1, 1)
    assert books.snapshot.signed.version == 3
    assert books.timestamp.signed.version == 1 + 24 * 8


def test_a_controller_that_was_off_for_years_renews_everything_at_its_start(site):
    site.later(days=3000)
    with pytest.raises(ExpiredMetadataError):
        site.refresh()
    assert site.desk.tick() == []
    site.refresh()


def test_a_repository_that_nobody_renews_is_not_believed_after_a_day(site):
    site.later(days=1, seconds=1)
    with pytest.raises(ExpiredMetadataError):
        site.refresh()


def test_the_end_of_what_only_offline_keys_can_renew_is_said_well_before_it_comes(offline_site):
    site = offline_site
    assert site.controller.tick() == []
    site.later(days=365 - 89)
    (said,) = site.controller.tick()
    assert said.startswith("targets: it ends in 88 days") or said.startswith("targets: it ends in 89 days")
    site.refresh()
    site.later(days=365)
    assert any("has ended" in line for line in site.controller.tick())
    site.admin.tick()
    assert site.controller.tick() == []
    site.refresh()


def test_a_clock_that_was_ahead_is_told_of_and_its_signatures_are_replaced_by_a_rotation(site):
    site.later(days=4000)
    site.desk.tick()
    site.later(days=-4000)
    assert [line.partition(":")[0] for line in site.desk.tick()] == [
        "root",
        "targets",
        "snapshot",
        "timestamp",
    ]
    for role in reversed(ROLES):
        site.desk.rotate(role)
    assert site.desk.tick() == []
    site.refresh()
    site.later(days=1, seconds=1)
    with pytest.raises(ExpiredMetadataError):
        site.refresh()


def test_old_versions_are_cleared_away_and_every_root_is_kept(site):
    for number in range(10):
        site.desk.sign([Named.of(f"metal-{number}.kenpin", bytes(number))])
    site.desk.rotate("root")
    names = site.desk.repository.names()
    assert {"1.root.json", "2.root.json", "11.targets.json", "8.targets.json"} <= names
    assert not {"7.targets.json", "1.snapshot.json"} & names
    site.refresh()


def test_another_file_under_a_signed_name_is_refused(site):
    site.desk.sign([METAL])
    with pytest.raises(ConflictError, match="another file is signed"):
        site.desk.sign([Named.of(METAL.name, b"not that one")])
    assert site.desk.sign([METAL])
    assert site.desk.repository.books().targets.signed.version == 2


@pytest.mark.parametrize(
    "name",
    ["../keys/root.pem", "../keys/root", ".lock", "keys", "..", "", "/etc/passwd", "99.root.json", "a" * 81],
)
def test_nothing_but_the_repository_s_own_files_can_be_read(site, name):
    with pytest.raises(NotFoundError):
        site.desk.repository.read(name)


# Signing far from the controller ---------------------------------------------------------------------------


def signed_on_the_stick(site, *named):
    key = KeyFolder(site.folder / "stick", lambda _file: b"open sesame").load("targets")
    base = site.controller.repository.books().targets
    return signed_elsewhere(base, named, key, now=site.now).to_bytes()


def test_without_the_targets_key_the_controller_signs_no_release(offline_site):
    assert not offline_site.controller.sign([METAL])
    assert not offline_site.controller.signed(METAL)


def test_targets_that_were_signed_elsewhere_are_taken_in(offline_site):
    site = offline_site
    site.controller.accept(signed_on_the_stick(site, METAL), held(METAL))
    assert site.controller.signed(METAL)
    site.refresh()
    assert site.device.find(METAL.name)


def test_targets_of_a_stranger_of_yesterday_or_of_unknown_files_are_refused(offline_site):
    site = offline_site
    good = signed_on_the_stick(site, METAL)
    state = site.controller.repository.names()
    with pytest.raises(ConfigError, match="not here"):
        site.controller.accept(good, held(GLASS))
    with pytest.raises(ConfigError, match="not signed with this site's targets key"):
        site.controller.accept(good.replace(b'"metal-1', b'"metal-2'), held(METAL))
    for junk in (b"", b"{}", b"[]", b"\xff", site.desk.root()):
        with pytest.raises(ConfigError):
            site.controller.accept(junk, held(METAL))
    assert site.controller.repository.names() == state
    site.controller.accept(good, held(METAL))
    with pytest.raises(ConflictError, match="version 2 of targets, and 2 is in force"):
        site.controller.accept(good, held(METAL))
    late = signed_on_the_stick(site, GLASS)
    site.later(days=366)
    with pytest.raises(ConfigError, match="ended"):
        site.controller.accept(late, held(METAL, GLASS))


def test_the_offline_key_goes_on_only_from_what_it_signed_itself(offline_site, tmp_path):
    (tmp_path / "two").mkdir()
    forged = Site(tmp_path / "two").desk.repository.books().targets
    key = KeyFolder(offline_site.folder / "stick", lambda _file: b"open sesame").load("targets")
    with pytest.raises(ConfigError, match="was not signed with this key"):
        signed_elsewhere(forged, [METAL], key, now=DAY_1)


def test_a_controller_s_new_key_counts_once_the_offline_key_has_signed_for_it(offline_site):
    site = offline_site
    (before,) = site.controller_keys()
    content = site.controller.propose_controller_key()
    site.controller.tick()
    assert site.controller_keys() == [before]
    old_id = site.controller.controller_key_id
    site.controller.accept(signed_on_the_stick(site, Named.of("controller.json", content)), held())
    assert site.controller_keys() == json.loads(content)["keys"] != [before]
    assert site.controller.controller_key_id != old_id


# Rotation --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("role", ROLES)
def test_a_rotated_role_has_a_new_key_and_devices_on_both_sides_of_it_follow(site, role):
    site.desk.sign([METAL])
    site.refresh()
    before = site.desk.repository.books().public(role)
    site.desk.rotate(role)
    after = site.desk.repository.books().public(role)
    assert len(after) == 1
    assert not after & before
    site.refresh()
    site.refresh(site.new_device("new"))
    site.later(days=2)
    site.desk.tick()
    site.refresh()
    assert site.device.find(METAL.name)


@pytest.mark.parametrize("role", ["targets", "snapshot", "timestamp"])
def test_a_lost_key_is_replaced_by_root_s_word_alone(site, role):
    site.desk.sign([METAL])
    site.refresh()
    (site.folder / "data" / "keys" / f"{role}.pem").unlink()
    site.desk.rotate(role)
    site.refresh()
    site.later(days=1)
    site.desk.tick()
    site.refresh()
    assert site.desk.sign([GLASS])


def test_a_stolen_targets_key_signs_nothing_after_its_rotation(offline_site):
    site = offline_site
    stolen = KeyFolder(site.folder / "stick", lambda _file: b"open sesame").load("targets")
    site.admin.rotate("targets", secret=b"open sesame")
    books = site.controller.repository.books()
    forged = sign(with_targets(books.targets.signed, [METAL], now=site.now), [stolen.signer]).to_bytes()
    with pytest.raises(ConfigError, match="not signed with this site's targets key"):
        site.controller.accept(forged, held(METAL))
    site.refresh()
    site.controller.accept(signed_on_the_stick(site, METAL), held(METAL))
    assert site.controller.signed(METAL)


def test_a_rotated_controller_key_is_taken_up_by_a_controller_that_runs(site):
    running = site.open()
    old = running.controller_key_id
    site.desk.rotate(CONTROLLER)
    assert running.controller_key_id == site.desk.controller_key_id != old
    (public,) = site.controller_keys()
    assert public == KeyFolder(site.folder / "data" / "keys").load(CONTROLLER).public.hex()


def test_a_controller_that_burned_down_is_put_back_from_an_old_copy_and_the_offline_keys(offline_site):
    site = offline_site
    shutil.copytree(site.folder / "data" / "tuf", site.folder / "copy")
    for _ in range(5):
        site.later(hours=20)
        site.controller.tick()
    site.controller.accept(signed_on_the_stick(site, METAL), held(METAL))
    site.refresh()
    (old_key,) = site.controller_keys()
    shutil.rmtree(site.folder / "data")
    shutil.copytree(site.folder / "copy", site.folder / "data" / "tuf")
    for name in ("timestamp", "snapshot", CONTROLLER):
        site.admin.rotate(name)
    assert site.controller.tick() == []
    assert old_key not in site.controller_keys()
    site.controller.accept(signed_on_the_stick(site, METAL), held(METAL))
    site.refresh()
    assert site.device.find(METAL.name)


# Pulling the plug ------------------------------------------------------------------------------------------


class Killed(BaseException):
    """As kill -9 would: nothing of ours handles it."""


class Plug:
    """Pulled before or after the n-th change that is made to the disk."""

    def __init__(self, monkeypatch, at):
        self.at, self.count = at, 0
        for module, name in ((files, "write_atomically"), (key_files, "_create")):
            monkeypatch.setattr(module, name, self._around(getattr(module, name)))
        monkeypatch.setattr(key_files.Path, "replace", self._around(key_files.Path.replace))
        monkeypatch.setattr(key_files.Path, "unlink", self._around(key_files.Path.unlink))

    def _around(self, real):
        def change(*arguments, **how):
            self._step()
            real(*arguments, **how)
            self._step()

        return change

    def _step(self):
        self.count += 1
        if self.count == self.at:
            raise Killed


CHANGES = {
    "release": lambda desk: desk.sign([GLASS]),
    "renewal": lambda desk: desk.tick(),
    "controller": lambda desk: desk.rotate(CONTROLLER),
    **{role: lambda desk, role=role: desk.rotate(role) for role in ROLES},
}


@pytest.mark.parametrize("what", CHANGES)
def test_a_kill_at_any_write_leaves_a_repository_that_devices_can_refresh_from(tmp_path, what, monkeypatch):
    for at in range(1, 100):
        (tmp_path / str(at)).mkdir()
        site = Site(tmp_path / str(at))
        site.desk.sign([METAL])
        site.refresh()
        site.later(days=4 if what == "renewal" else 0, minutes=5)
        finished = False
        with monkeypatch.context() as patch:
            plug = Plug(patch, at)
            try:
                CHANGES[what](site.desk)
                finished = True
            except Killed:
                pass
        if what != "renewal":
            site.refresh()
            site.refresh(site.new_device("new"))
        again = site.open()
        again.tick()
        site.refresh()
        assert site.device.find(METAL.name)
        public = KeyFolder(site.folder / "data" / "keys").load(CONTROLLER).public.hex()
        assert site.controller_keys() == [public]
        assert again.sign([Named.of("after-1.kenpin", b"life goes on")])
        site.refresh()
        if finished:
            break
    assert finished
    assert plug.count >= 2


def test_a_kill_on_the_first_day_is_made_good_by_the_next_start(tmp_path, monkeypatch):
    for at in range(1, 100):
        folder = tmp_path / str(at)
        desk = TrustDesk(folder, wall=lambda: DAY_1)
        with monkeypatch.context() as patch:
            Plug(patch, at)
            try:
                desk.make()
                break
            except Killed:
                pass
        again = TrustDesk(folder, wall=lambda: DAY_1)
        if not again.made:
            again.make()
        device = TufClient(folder / "device", again.root(), again.repository)
        device.refresh(DAY_1)
        assert device.read("controller.json")
    assert at > 10


def test_a_lost_timestamp_key_and_a_kill_in_between_are_made_good_by_the_next_start(site, monkeypatch):
    site.refresh()
    (site.folder / "data" / "keys" / "timestamp.pem").unlink()
    with monkeypatch.context() as patch:
        Plug(patch, 10)  # the new root is written, and nothing that fits it
        with pytest.raises(Killed):
            site.desk.rotate("timestamp")
    with pytest.raises(RepositoryError):
        site.refresh()
    site.open().tick()
    site.refresh()


_WORK = """
import sys
from pathlib import Path
from kenpin_controller.trust.desk import TrustDesk
from kenpin_controller.trust.metadata import Named
desk = TrustDesk(Path(sys.argv[1]))
print("ready", flush=True)
number = 0
while True:
    for name in ("timestamp", "snapshot", "targets", "controller", "root"):
        number += 1
        desk.rotate(name)
        desk.sign([Named.of(f"r-{sys.argv[2]}-{number}.kenpin", b"x")])
        desk.tick()
"""


def test_a_process_that_is_killed_while_it_signs_and_rotates_leaves_devices_able_to_refresh(tmp_path):
    data, chance = tmp_path / "data", random.Random(20)
    desk = TrustDesk(data)
    desk.make()
    device = TufClient(tmp_path / "device", desk.root(), desk.repository)
    for kill in range(6):
        with subprocess.Popen(
            [sys.executable, "-c", _WORK, str(data), str(kill)], stdout=subprocess.PIPE, text=True
        ) as worker:
            assert worker.stdout.readline() == "ready\n"
            time.sleep(chance.uniform(0.05, 0.8))
            worker.kill()
        device.refresh()
        TrustDesk(data).tick()
        device.refresh()
        assert json.loads(device.read("controller.json"))["keys"] == [
            KeyFolder(data / "keys").load(CONTROLLER).public.hex()
        ]
    assert desk.repository.books().root.signed.version > 5
