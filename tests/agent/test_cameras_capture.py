"""Taking pictures to teach a line with."""

from __future__ import annotations

import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from kenpin_agent.cameras.config import SimulatedConfig
from kenpin_agent.cameras.simulated import SimulatedCamera
from kenpin_agent.capture import SPARE_BYTES, capture
from kenpin_agent.pictures import list_pictures, read_picture
from kenpin_agent.testing import FakeCamera, FakeClock, picture
from kenpin_wire.errors import CameraError, ConfigError


def test_pictures_are_written_as_they_are_named_by_time_and_in_order(tmp_path: Path) -> None:
    clock = FakeClock()
    shown = [picture(10), picture(20), picture(30)]
    assert capture(FakeCamera(shown, clock), tmp_path / "new" / "good", 3, every_s=0, clock=clock) == 3
    paths = list_pictures(tmp_path / "new" / "good")
    assert [
        int(read_picture(path)[0, 0, 0]) for path in sorted(paths, key=lambda p: p.stat().st_mtime_ns)
    ] == [10, 20, 30]
    assert all(path.name.startswith("20270115-080000-000") for path in paths)
    assert len(list(paths[0].parent.iterdir())) == 3, "nothing half-written is left"


def test_one_picture_is_taken_each_interval(tmp_path: Path) -> None:
    clock = FakeClock()
    camera = SimulatedCamera(SimulatedConfig(rate_hz=10), clock)
    assert capture(camera, tmp_path, 3, every_s=1.0, clock=clock) == 3
    assert clock.monotonic_s() == pytest.approx(1002.0)


def test_nothing_is_ever_replaced(tmp_path: Path) -> None:
    clock = FakeClock()
    for value in (1, 2):
        capture(FakeCamera([picture(value)], clock), tmp_path, 1, every_s=0, clock=clock)
    assert {int(np.mean(read_picture(path))) for path in list_pictures(tmp_path)} == {1, 2}


def test_a_camera_that_ends_early_is_told_by_the_count(tmp_path: Path) -> None:
    clock = FakeClock()
    assert capture(FakeCamera([picture()], clock), tmp_path, 5, every_s=0, clock=clock) == 1


def test_a_lost_camera_costs_nothing_that_was_written(tmp_path: Path) -> None:
    clock = FakeClock()
    with pytest.raises(CameraError):
        capture(FakeCamera([picture(), CameraError("gone")], clock), tmp_path, 5, every_s=0, clock=clock)
    assert len(list_pictures(tmp_path)) == 1


def test_a_disk_that_is_nearly_full_is_one_clear_refusal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=SPARE_BYTES))
    clock = FakeClock()
    with pytest.raises(ConfigError, match=r"only 200 MB are free on this disk\. Free some"):
        capture(FakeCamera([picture()], clock), tmp_path, 1, every_s=0, clock=clock)
    assert not list(tmp_path.iterdir())


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="file/good: pictures cannot be written"):
        capture(FakeCamera([picture()]), tmp_path / "file" / "good", 1, every_s=0, clock=FakeClock())
