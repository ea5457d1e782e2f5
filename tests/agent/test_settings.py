"""Settings from three scopes: the device's file, the line's wish, the device's wish."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from kenpin_agent.config import load_config
from kenpin_agent.memory import Memory
from kenpin_agent.settings import Settings, Wishes, reconcile
from kenpin_agent.settings_desk import SettingsDesk
from kenpin_agent.testing.link import FakeLink
from kenpin_wire.errors import ConfigError
from kenpin_wire.manifest import Calibration, Encoder, Golden, Head, Heatmap, Input, Manifest
from kenpin_wire.messages import DesiredConfig, ReleaseName, ReportedConfig, Threshold
from kenpin_wire.topics import Channel

OWN = Settings(heatmap_every=5)


def manifest(version: str = "1") -> Manifest:
    file = {"sha256": "0" * 64, "size": 1}
    return Manifest(
        release=ReleaseName(name="part", version=version),
        input=Input(),
        encoder=Encoder(file="e.tflite", pooled="pooled", maps=[], **file),
        head=Head(file="h.npz", kind="knn", **file),
        calibration=Calibration(scores=[i / 100 for i in range(100)], false_rejects=0.01, threshold=1.5),
        heatmap=Heatmap(normal=0, limit=1),
        golden=[Golden(file="golden/1.png", score=0.1, tolerance=0.01, **file)],
    )


def wish(rev: int, **fields: object) -> DesiredConfig:
    return DesiredConfig.model_validate({"rev": rev, **fields})


def test_without_wishes_the_release_and_the_device_file_decide() -> None:
    settings, report = reconcile(OWN, Wishes(), manifest())
    assert settings == Settings(threshold=1.5, inspection=True, heatmap_every=5)
    assert (report.rev, report.applied, report.release) == (0, True, "part-1")


def test_the_device_overrules_its_line_field_by_field() -> None:
    wishes = Wishes(line=wish(4, inspection=False, heatmap_every=2), device=wish(7, inspection=True))
    settings, report = reconcile(OWN, wishes, manifest())
    assert (settings.inspection, settings.heatmap_every) == (True, 2)
    assert (report.rev, report.line_rev) == (7, 4)


def test_a_threshold_of_another_release_waits_for_that_release() -> None:
    wishes = Wishes(device=wish(1, threshold=Threshold(release="part-2", value=9.0)))
    settings, report = reconcile(OWN, wishes, manifest("1"))
    assert settings.threshold == 1.5
    assert not report.applied
    assert report.error == "the threshold belongs to part-2, but part-1 runs"
    settings, report = reconcile(OWN, wishes, manifest("2"))
    assert (settings.threshold, report.applied, report.error) == (9.0, True, "")


def test_a_threshold_can_be_a_false_reject_rate() -> None:
    wishes = Wishes(device=wish(1, threshold=Threshold(release="part-1", false_rejects=0.5)))
    settings, _ = reconcile(OWN, wishes, manifest())
    assert settings.threshold == pytest.approx(0.5)


def test_an_older_or_repeated_wish_changes_nothing() -> None:
    wishes = Wishes().with_newer(wish(5, inspection=False), whole_line=False)
    for rev in (4, 5):
        assert wishes.with_newer(wish(rev, inspection=True), whole_line=False) is wishes
    assert wishes.with_newer(wish(1, inspection=True), whole_line=True).line is not None


def test_an_older_wish_is_answered_with_the_revision_that_holds(tmp_path: Path) -> None:
    link = FakeLink()
    link.start()
    desk = SettingsDesk(OWN, Memory(tmp_path), link)
    for rev in (5, 3, 5):
        desk.wish(wish(rev, inspection=rev == 5), whole_line=False)
    reports = [message.payload for message in link.of(Channel.REPORTED_CONFIG)]
    assert [(r.rev, r.inspection) for r in reports if isinstance(r, ReportedConfig)] == [(5, True)] * 3


def test_reconciling_twice_is_reconciling_once() -> None:
    wishes = Wishes(line=wish(1, heatmap_every=3), device=wish(2, inspection=False))
    once, _ = reconcile(OWN, wishes, manifest())
    twice, _ = reconcile(once, wishes, manifest())
    assert twice == once


def test_wishes_and_boot_number_survive_a_restart(tmp_path: Path) -> None:
    memory = Memory(tmp_path)
    wishes = Wishes(device=wish(3, threshold=Threshold(release="part-1", value=2.0)))
    memory.remember(wishes)
    assert memory.next_boot() == 1
    again = Memory(tmp_path)
    assert again.wishes() == wishes
    assert again.next_boot() == 2


def test_damaged_memory_is_no_reason_to_stop(tmp_path: Path) -> None:
    (tmp_path / "settings.json").write_bytes(b"\x00\xff{")
    (tmp_path / "boot").write_text("soon")
    memory = Memory(tmp_path)
    assert memory.wishes() == Wishes()
    assert memory.next_boot() == 1


def test_the_boot_number_grows_on_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    assert Memory(tmp_path).next_boot() == 1
    monkeypatch.setattr("kenpin_agent.memory.write_atomically", full)
    assert [Memory(tmp_path).next_boot() for _ in range(10)] == list(range(2, 12))


MINIMAL = 'site = "s"\nline = "l"\ndevice = "d"\n'


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (MINIMAL + '[camera]\nkind = "folder"\npth = "x"', ("unknown key 'camera.pth'", "'path'")),
        (MINIMAL + '[camera]\nkind = "folder"\n', ("'camera.path' is missing",)),
        (MINIMAL + '[camera]\nkind = "webcam"\n', ("'webcam'", "'usb'")),
        (MINIMAL + '[camera]\npath = "x"', ("'camera.kind' is missing",)),
        (MINIMAL, ("'camera' is missing",)),
        (MINIMAL + 'stat_dir = "x"\n[camera]\nkind = "simulated"', ("'stat_dir'", "'state_dir'")),
        (MINIMAL + '[camera]\nkind = "simulated"\n[broker]\nport = "many"', ("'broker.port'",)),
        (MINIMAL.replace('"d"', '"Camera 1"') + '[camera]\nkind = "simulated"', ("'Camera 1'", "a-z")),
        ("site = ", ("not TOML",)),
    ],
)
def test_a_wrong_configuration_is_one_sentence_that_names_the_key(
    tmp_path: Path, text: str, says: tuple[str, ...]
) -> None:
    file = tmp_path / "agent.toml"
    file.write_text(text)
    with pytest.raises(ConfigError) as refused:
        load_config(file)
    message = str(refused.value)
    assert message.startswith(str(file))
    assert "\n" not in message.strip()
    for part in says:
        assert part in message


def test_a_password_is_never_repeated_in_an_error(tmp_path: Path) -> None:
    file = tmp_path / "agent.toml"
    file.write_text(
        MINIMAL + '[camera]\nkind = "simulated"\n[broker]\nusername = "u"\npassword = ["hunter2"]'
    )
    with pytest.raises(ConfigError) as refused:
        load_config(file)
    assert "hunter2" not in str(refused.value)


def test_paths_are_relative_to_the_configuration_file(tmp_path: Path) -> None:
    file = tmp_path / "agent.toml"
    file.write_text('state_dir = "state"\n' + MINIMAL + '[camera]\nkind = "folder"\npath = "good"')
    config = load_config(file)
    assert config.state_dir == tmp_path / "state"
    assert config.camera.path == tmp_path / "good"  # type: ignore[union-attr]  # it is a folder
    assert config.window == 1
