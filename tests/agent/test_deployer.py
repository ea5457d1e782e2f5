"""A release on its way onto a device, with a controller that answers well, badly or not at all."""

from __future__ import annotations

import errno
import gc
import hashlib
import json
import shutil
import weakref
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from kenpin_agent.clock import SystemClock
from kenpin_agent.deployment.deployer import Deployer
from kenpin_agent.deployment.download import UNSYNCED_BYTES
from kenpin_agent.deployment.events import Activated, Ordered, TrialFailed, TrialPassed
from kenpin_agent.deployment.slots import Slots
from kenpin_agent.deployment.switch import Offer, Role, Switch
from kenpin_agent.release import Release
from kenpin_agent.testing.link import FakeLink
from kenpin_wire.blocks import Block, pack_block
from kenpin_wire.messages import (
    BLOCK_BYTES,
    BlockRequest,
    DesiredRelease,
    Phase,
    ReleaseName,
    ReportedRelease,
)
from kenpin_wire.topics import Channel
from support import wait_until
from support.small_release import members_of, write_release, write_zip


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Two releases and one whose golden picture must give a score that it cannot give."""
    folder = tmp_path_factory.mktemp("releases")
    made = {version: write_release(folder / f"discs-{version}.kenpin", version=version) for version in "12"}
    members = members_of(made["2"])
    manifest = json.loads(members["manifest.json"])
    manifest["golden"][1]["score"] += 1.0
    manifest["release"]["version"] = "bad"
    made["bad"] = write_zip(
        folder / "bad.kenpin", {**members, "manifest.json": json.dumps(manifest).encode()}
    )
    return made


class Device:
    """A deployer with a link in the test's hands, and a controller that serves files."""

    def __init__(self, folder: Path, *, running: bool = True) -> None:
        self.folder = folder
        self.link = FakeLink()
        self.link.start()
        self.switch = Switch()
        self.deployer = Deployer(Slots(folder), self.link, SystemClock(), self.switch, threads=1)
        self.started_with = self.deployer.load_committed()
        self.asked: list[tuple[int, int]] = []
        self._read = 0
        self._rev = self.deployer.state.order.rev if self.deployer.state.order else 0
        if running:
            self.deployer.start()

    def last_report(self) -> ReportedRelease:
        payload = self.link.of(Channel.REPORTED_RELEASE)[-1].payload
        assert isinstance(payload, ReportedRelease)
        return payload

    def order(self, file: Path, version: str, block_size: int = BLOCK_BYTES) -> None:
        self._rev += 1
        data = file.read_bytes()
        self.deployer.post(
            Ordered(
                DesiredRelease(
                    rev=self._rev,
                    release=ReleaseName(name="discs", version=version),
                    sha256=hashlib.sha256(data).hexdigest(),
                    size=len(data),
                    block_size=block_size,
                )
            )
        )

    def serve(self, file: Path, damage: Callable[[int, bytes], bytes | None] | None = None) -> None:
        """Answer every request that has come; `damage` may change a payload, or lose it with None."""
        data = file.read_bytes()
        requests = self.link.of(Channel.BLOB_REQ)
        for message in requests[self._read :]:
            request = message.payload
            assert isinstance(request, BlockRequest)
            self.asked.append((request.start, request.count))
            for index in range(request.start, request.start + request.count):
                chunk = data[index * request.block_size : (index + 1) * request.block_size]
                payload: bytes | None = pack_block(Block(index, chunk))
                if damage and payload:
                    payload = damage(index, payload)
                if payload:
                    self.deployer.block_came(request.sha256, payload)
        self._read = len(requests)

    def phase(self) -> Phase:
        return self.deployer.state.phase

    def reach(
        self, phase: Phase, file: Path, damage: Callable[[int, bytes], bytes | None] | None = None
    ) -> None:
        def there() -> bool:
            self.serve(file, damage)
            return self.phase() is phase

        wait_until(there, timeout_s=20, what=f"phase {phase}")

    def install(self, file: Path, version: str) -> None:
        """Order, fetch, and pass the trial as the inspection loop would."""
        self.order(file, version)
        self.reach(Phase.ACTIVATING, file)
        self.deployer.post(Activated())
        self.deployer.post(TrialPassed())
        self.reach(Phase.COMMITTED, file)

    def running(self) -> str:
        committed = self.deployer.state.committed
        return str(committed.release) if committed else ""


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[[], Device]]:
    """Start the device; again for a restart on the same disk."""
    devices: list[Device] = []

    def begin() -> Device:
        if devices:
            devices[-1].deployer.stop()
        devices.append(Device(tmp_path / "state"))
        return devices[-1]

    yield begin
    for device in devices:
        device.deployer.stop()


def test_a_release_is_fetched_proved_and_committed(
    start: Callable[[], Device], files: dict[str, Path]
) -> None:
    device = start()
    device.install(files["1"], "1")
    assert device.running() == "discs-1"
    wait_until(lambda: device.last_report().phase is Phase.COMMITTED, what="the report")
    assert (str(device.last_report().installed), device.last_report().percent) == ("discs-1", 100.0)
    again = start()
    assert again.started_with is not None
    assert again.started_with.label == "discs-1"


def test_a_damaged_block_is_asked_for_again(start: Callable[[], Device], files: dict[str, Path]) -> None:
    device = start()
    damaged: list[int] = []

    def once(index: int, payload: bytes) -> bytes:
        if index == 3 and not damaged:
            damaged.append(index)
            return payload[:-1] + bytes([payload[-1] ^ 1])
        return payload

    device.order(files["1"], "1")
    device.reach(Phase.ACTIVATING, files["1"], once)
    assert damaged == [3]
    assert [start for start, _ in device.asked].count(3) == 1


def test_lost_blocks_are_asked_for_again(start: Callable[[], Device], files: dict[str, Path]) -> None:
    device = start()
    lost: set[int] = set()

    def lose_each_fifth_once(index: int, payload: bytes) -> bytes | None:
        if index % 5 == 0 and index not in lost:
            lost.add(index)
            return None
        return payload

    device.order(files["1"], "1")
    device.reach(Phase.ACTIVATING, files["1"], lose_each_fifth_once)
    assert len(lost) > 1


def test_a_fetch_goes_on_after_a_restart_where_it_was(
    start: Callable[[], Device], files: dict[str, Path]
) -> None:
    device = start()
    device.order(files["1"], "1", block_size=8192)

    def almost() -> bool:
        device.serve(files["1"], lambda index, payload: payload if index < 70 else None)
        return device.asked[-1:] == [(70, 2)]

    wait_until(almost, timeout_s=20, what="the last request but one")
    again = start()
    again.reach(Phase.ACTIVATING, files["1"])
    assert again.asked[0][0] == 70 - UNSYNCED_BYTES // 8192


def test_wrong_golden_scores_are_a_reason_and_the_old_release_stays(
    start: Callable[[], Device], files: dict[str, Path]
) -> None:
    device = start()
    device.install(files["1"], "1")
    assert device.switch.take() is not None
    device.order(files["bad"], "bad")
    device.reach(Phase.REJECTED, files["bad"])
    assert "golden/1.png" in device.deployer.state.reason
    assert device.running() == "discs-1"
    assert device.switch.take() is None  # nothing was ever offered to the loop


def test_a_failed_trial_puts_the_old_release_back(
    start: Callable[[], Device], files: dict[str, Path]
) -> None:
    device = start()
    device.install(files["1"], "1")
    device.order(files["2"], "2")
    device.reach(Phase.ACTIVATING, files["2"])
    # The state is stored before the release is offered.
    wait_until(
        lambda: (o := device.switch.take()) and o.release and o.release.label == "discs-2",
        what="the candidate",
    )
    device.deployer.post(Activated())
    device.deployer.post(TrialFailed("it raised"))
    device.reach(Phase.ROLLED_BACK, files["2"])
    offered: list[Offer] = []
    wait_until(
        lambda: offered.extend([o] if (o := device.switch.take()) else []) or offered, what="the offer"
    )
    release = offered[0].release
    assert release is not None
    assert (release.label, offered[0].role) == ("discs-1", Role.COMMITTED)
    assert start().running() == "discs-1"


def test_a_release_under_another_name_is_refused(start: Callable[[], Device], files: dict[str, Path]) -> None:
    device = start()
    device.order(files["1"], "9")
    device.reach(Phase.REJECTED, files["1"])
    assert device.deployer.state.reason == "the file holds discs-1, not discs-9"


def test_a_truncated_release_is_refused_and_nothing_is_lost(
    start: Callable[[], Device], files: dict[str, Path], tmp_path: Path
) -> None:
    device = start()
    device.install(files["1"], "1")
    cut = tmp_path / "cut.kenpin"
    cut.write_bytes(files["2"].read_bytes()[:-1000])
    device.order(cut, "2")
    device.reach(Phase.REJECTED, cut)
    assert device.deployer.state.reason
    assert device.running() == "discs-1"


def test_a_full_disk_fails_the_deployment_not_the_device(
    start: Callable[[], Device], files: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    device = start()
    device.install(files["1"], "1")
    real = Path.open

    def full(self: Path, mode: str = "r", *args: object, **kwargs: object) -> object:
        if "a" in mode and self.parent.name == "blobs":  # as a block is appended
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(self, mode, *args, **kwargs)  # type: ignore[call-overload]  # as it was called

    monkeypatch.setattr(Path, "open", full)
    device.order(files["2"], "2")
    device.reach(Phase.FAILED_NO_CHANGE, files["2"])
    assert "disk is full" in device.deployer.state.reason
    assert device.running() == "discs-1"


def full_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """From now on the state cannot be stored."""

    def refuse(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Slots, "store", refuse)


def test_a_deployment_whose_state_cannot_be_stored_ends_with_its_reason_and_clears_no_slot(
    start: Callable[[], Device], files: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    device = start()
    device.install(files["1"], "1")
    full_disk(monkeypatch)
    device.order(files["2"], "2")
    device.reach(Phase.FAILED_NO_CHANGE, files["2"])
    wait_until(lambda: "disk is full" in device.last_report().reason, what="the report")
    assert device.last_report().phase == Phase.FAILED_NO_CHANGE
    monkeypatch.undo()
    wait_until(
        lambda: Slots(device.folder).load().phase is Phase.FAILED_NO_CHANGE,
        what="the state, stored after all",
    )
    assert start().running() == "discs-1"


def test_a_trial_that_fails_on_a_full_disk_is_reverted_all_the_same(
    start: Callable[[], Device], files: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    device = start()
    device.install(files["1"], "1")
    device.order(files["2"], "2")
    device.reach(Phase.ACTIVATING, files["2"])
    device.deployer.post(Activated())
    full_disk(monkeypatch)
    device.deployer.post(TrialFailed("it raised"))
    last: list[Offer] = []
    wait_until(
        lambda: (
            last.extend([o] if (o := device.switch.take()) else [])
            or (last and last[-1].role is Role.COMMITTED)
        ),
        what="the way back",
    )
    release = last[-1].release
    assert release is not None
    assert release.label == "discs-1"


def test_a_fetch_whose_folder_is_gone_ends_with_its_reason(
    start: Callable[[], Device], files: dict[str, Path]
) -> None:
    device = start()
    device.install(files["1"], "1")
    shutil.rmtree(device.folder / "blobs")
    device.order(files["2"], "2")
    device.reach(Phase.FAILED_NO_CHANGE, files["2"])
    assert "cannot be written" in device.deployer.state.reason


@pytest.mark.parametrize(
    "broken",
    [
        (TypeError("no number"), Phase.REJECTED, "TypeError: no number"),
        (MemoryError(), Phase.FAILED_NO_CHANGE, "memory does not hold it"),
    ],
)
def test_a_release_that_breaks_what_verifies_it_ends_with_a_reason_and_the_next_one_is_taken(
    start: Callable[[], Device],
    files: dict[str, Path],
    monkeypatch: pytest.MonkeyPatch,
    broken: tuple[Exception, Phase, str],
) -> None:
    error, phase, says = broken

    def break_down(_release: Release) -> None:
        raise error

    device = start()
    monkeypatch.setattr("kenpin_agent.deployment.loader.check_golden", break_down)
    device.order(files["1"], "1")
    device.reach(phase, files["1"])
    assert says in device.deployer.state.reason
    monkeypatch.undo()
    device.install(files["2"], "2")
    assert device.running() == "discs-2"


def test_a_release_larger_than_the_disk_is_never_asked_for(
    start: Callable[[], Device], files: dict[str, Path]
) -> None:
    device = start()
    device.install(files["1"], "1")
    device.asked.clear()
    order = DesiredRelease(rev=9, release=ReleaseName(name="x", version="1"), sha256="0" * 64, size=10**15)
    device.deployer.post(Ordered(order))
    device.reach(Phase.FAILED_NO_CHANGE, files["1"])
    assert "the disk is full" in device.deployer.state.reason
    assert not device.asked


def test_a_file_of_this_device_that_its_disk_cannot_take_fails_with_the_reason(
    tmp_path: Path, files: dict[str, Path]
) -> None:
    def refuse(blob: Path) -> None:
        blob.write_bytes(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    device = Device(tmp_path, running=False)
    order = DesiredRelease(rev=0, release=ReleaseName(name="discs", version="1"), sha256="0" * 64, size=100)
    device.deployer.install_file(order, refuse)
    device.deployer.start()
    device.reach(Phase.FAILED_NO_CHANGE, files["1"])
    device.deployer.stop()
    assert "disk is full" in device.last_report().reason
    assert sum(blob.stat().st_size for blob in (tmp_path / "blobs").iterdir()) == 0


def test_a_committed_release_that_became_unreadable_is_fetched_anew(
    start: Callable[[], Device], files: dict[str, Path]
) -> None:
    device = start()
    device.install(files["1"], "1")
    slot = Slots(device.folder).slot(device.deployer.state.committed.slot)  # type: ignore[union-attr]
    (slot / "head.npz").write_bytes(b"rotten")
    again = start()
    assert again.started_with is None
    again.reach(Phase.ACTIVATING, files["1"])


def test_the_file_is_a_plain_zip(files: dict[str, Path]) -> None:
    with zipfile.ZipFile(files["1"]) as archive:
        assert {"manifest.json", "encoder.tflite", "head.npz"} < set(archive.namelist())


def test_a_release_that_was_replaced_or_refused_is_let_go(
    start: Callable[[], Device], files: dict[str, Path]
) -> None:
    device = start()
    device.install(files["1"], "1")
    offered = device.switch.take()
    assert offered is not None
    first = weakref.ref(offered.release)
    del offered
    device.install(files["2"], "2")
    wait_until(lambda: first() is None, what="the first release to be freed")

    device.order(files["bad"], "bad")
    device.reach(Phase.REJECTED, files["bad"])
    alive = [thing for thing in gc.get_objects() if isinstance(thing, Release)]
    alive = [release for release in alive if release.folder.is_relative_to(device.folder)]
    assert {release.label for release in alive} == {"discs-2"}


def test_a_file_on_this_device_is_verified_once(tmp_path: Path, files: dict[str, Path]) -> None:
    link = FakeLink()
    link.start()
    deployer = Deployer(Slots(tmp_path), link, SystemClock(), Switch(), threads=1)
    order = DesiredRelease(
        rev=0,
        release=ReleaseName(name="discs", version="1"),
        sha256=hashlib.sha256(files["1"].read_bytes()).hexdigest(),
        size=files["1"].stat().st_size,
    )
    deployer.install_file(order, lambda blob: shutil.copyfile(files["1"], blob))
    deployer.start()
    wait_until(lambda: deployer.state.phase is Phase.ACTIVATING, timeout_s=20, what="the release")
    deployer.stop()
    reports = [m.payload for m in link.of(Channel.REPORTED_RELEASE)]
    phases = [report.phase for report in reports if isinstance(report, ReportedRelease)]
    assert phases.count(Phase.VERIFYING) == 1
    assert deployer.state.starts == 0
