"""`kenpin-agent`, used wrongly: one line that says what, where and what to do, and the right exit status."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import cv2
import pytest

from kenpin_agent import bench
from kenpin_agent.assembly import _only_one
from kenpin_agent.cli import main
from support import wait_until
from support.small_release import members_of, part, write_release, write_zip

Ran = tuple[int, str, str]


@pytest.fixture
def agent(capsys: pytest.CaptureFixture[str]) -> Callable[..., Ran]:
    """Runs a command line in this process; gives exit status, output and errors."""

    def run(*arguments: str) -> Ran:
        try:
            status = main(list(arguments))
        except SystemExit as left:  # argparse's way of saying that the command was wrong
            status = int(left.code or 0)
        out, err = capsys.readouterr()
        return status, out, err

    return run


def config(folder: Path, camera: str = 'kind = "simulated"', more: str = "") -> str:
    file = folder / "agent.toml"
    file.write_text(
        f'site = "s"\nline = "l"\ndevice = "d"\nstate_dir = "state"\n{more}\n[camera]\n{camera}\n'
    )
    return str(file)


@pytest.mark.parametrize(
    ("camera", "more", "says"),
    [
        ('kind = "simulated"\nrate = 3', "", "unknown key 'camera.rate'. Did you mean 'rate_hz'?"),
        ('kind = "usb"\ndevice = "cam0"', "", "key 'camera.device': a whole number is expected. Correct it."),
        ('kind = "usb"\nexposure_ms = nan', "", "key 'camera.exposure_ms': a finite number is expected."),
        ('kind = "rtsp"\nurl = "rtsp://u:hunter2@[::1"', "", "key 'camera.url': a URL like rtsp://"),
        ('kind = "simulated"', "broker = 3", "key 'broker': a table of keys and values is expected."),
        ('kind = "simulated"', "release = 7", "key 'release': a path is expected, as a text."),
    ],
)
def test_a_wrong_setting_is_named_in_a_person_s_words(
    agent: Callable[..., Ran], tmp_path: Path, camera: str, more: str, says: str
) -> None:
    for verb in ("run", "doctor", "capture"):
        status, _, err = agent(verb, "--config", config(tmp_path, camera, more))
        assert status == 1
        assert says in err
        assert "hunter2" not in err
        assert err.count("\n") == 1


@pytest.mark.parametrize("arguments", [("--count", "-3"), ("--count", "0"), ("--count", "nan"), ("--every", "nan"),
                                       ("--every", "-1"), ("--every", "inf")])  # fmt: skip
def test_a_senseless_number_is_a_wrong_command(
    agent: Callable[..., Ran], tmp_path: Path, arguments: tuple[str, ...]
) -> None:
    to = tmp_path / "good"
    status, _, err = agent("capture", "--config", config(tmp_path), "--to", str(to), *arguments)
    assert status == 2
    assert repr(arguments[1]) in err
    assert not to.exists()


def test_a_state_folder_that_is_a_file_is_told_from_one_that_cannot_be_made(
    agent: Callable[..., Ran], tmp_path: Path
) -> None:
    (tmp_path / "state").touch()
    file = config(tmp_path)
    status, _, err = agent("run", "--config", file)
    assert status == 1
    assert "it is a file, not a folder" in err
    assert "`state_dir`" in err
    status, out, err = agent("doctor", "--config", file)
    assert (status, err) == (1, "")
    assert [line[:4] for line in out.splitlines()] == ["MEND", "ok  ", "MEND", "ok  ", "MEND"]


def test_a_state_folder_belongs_to_one_agent(agent: Callable[..., Ran], tmp_path: Path) -> None:
    (tmp_path / "state").mkdir()
    with _only_one(tmp_path / "state"):
        status, _, err = agent("run", "--config", config(tmp_path))
    assert status == 1
    assert "another agent runs with this state folder" in err
    assert err.count("\n") == 1


def test_the_doctor_looks_into_the_release_that_is_to_be_installed(
    agent: Callable[..., Ran], tmp_path: Path
) -> None:
    sound = write_release(tmp_path / "sound.kenpin")
    members = members_of(sound)
    members["manifest.json"] = members["manifest.json"].replace(b'"schema_version":2', b'"schema_version":9')
    write_zip(tmp_path / "newer.kenpin", members)
    (tmp_path / "cut.kenpin").write_bytes(sound.read_bytes()[:-1000])

    def told(name: str) -> str:
        file = config(tmp_path, more=f'release = "{name}.kenpin"')
        return next(line for line in agent("doctor", "--config", file)[1].splitlines() if "release" in line)

    assert told("sound").startswith("ok")
    assert "made for release schema 9" in told("newer")
    assert "cut short" in told("cut")
    assert "No such file" in told("gone")


@pytest.mark.parametrize(
    ("number", "says"), [(errno.ENOSPC, "free some space"), (errno.EACCES, "Let this user in")]
)
def test_what_the_operating_system_refuses_is_one_line(
    agent: Callable[..., Ran], monkeypatch: pytest.MonkeyPatch, number: int, says: str
) -> None:
    def refuse(_: object) -> int:
        raise OSError(number, os.strerror(number), "/some/where")

    monkeypatch.setattr(bench, "run_bench", refuse)
    status, _, err = agent("bench", "--release", "x")
    assert status == 1
    assert err.startswith(f"/some/where: {os.strerror(number)}")
    assert says in err
    assert err.count("\n") == 1


def test_terminating_a_capture_leaves_whole_pictures_and_nothing_else(tmp_path: Path) -> None:
    (source := tmp_path / "source").mkdir()
    cv2.imwrite(str(source / "a.png"), part(0))
    camera = f'kind = "folder"\npath = "{source}"\nrate_hz = 50'
    command = ["capture", "--config", config(tmp_path, camera), "--to", str(tmp_path / "to"), "--every", "0"]
    process = subprocess.Popen(
        [sys.executable, "-m", "kenpin_agent.cli", *command, "--count", "100000"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    to = tmp_path / "to"
    wait_until(lambda: list(to.glob("*.png")), timeout_s=20, what="the first picture")
    process.terminate()
    out, err = process.communicate(timeout=20)
    assert (process.returncode, err) == (130, "")
    assert "stopped" in out
    assert all(path.suffix == ".png" and cv2.imread(str(path)) is not None for path in to.iterdir())
