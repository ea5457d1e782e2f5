"""What is particular to a kind of camera, and what its configuration takes."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import cv2
import pytest
from pydantic import SecretStr, TypeAdapter, ValidationError

from kenpin_agent.cameras import CameraConfig, open_camera
from kenpin_agent.cameras.config import FolderConfig, RtspConfig, SimulatedConfig, UsbConfig, VideoConfig
from kenpin_agent.cameras.opencv import UsbCamera
from kenpin_agent.clock import SystemClock
from kenpin_agent.testing import FakeClock
from kenpin_wire.errors import CameraError, ConfigError
from support import require
from support.camera_sources import HEIGHT, WIDTH, FakeCapture, drain, write_folder, write_video
from support.rtsp_server import rtsp_server


def parts(camera: Any, count: int) -> list[str]:
    return [camera.read().part for _ in range(count)]


# Configuration ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "table",
    [
        {"kind": "folder", "path": "parts"},
        {"kind": "video", "path": "line.mp4"},
        {"kind": "usb"},
        {"kind": "usb", "device": "/dev/v4l/by-id/usb-cam"},
        {"kind": "rtsp", "url": "rtsp://camera.local/stream"},
        {"kind": "simulated"},
    ],
)
def test_kind_and_at_most_one_key_make_a_camera(table: dict[str, Any]) -> None:
    config = TypeAdapter[Any](CameraConfig).validate_python(table)
    assert config.kind == table["kind"]


@pytest.mark.parametrize(
    "table",
    [
        {"kind": "telescope"},
        {"kind": "folder"},
        {"kind": "folder", "path": "parts", "looop": True},
        {"kind": "folder", "path": "parts", "rate_hz": 0},
        {"kind": "usb", "device": "video0"},
        {"kind": "simulated", "every": 3, "burst": 4},
        {"kind": "rtsp", "url": "file:///etc/passwd"},
        {"kind": "rtsp", "url": "rtsp://admin:hunter2@"},
    ],
)
def test_a_wrong_setting_is_refused_without_repeating_its_value(table: dict[str, Any]) -> None:
    with pytest.raises(ValidationError) as failure:
        TypeAdapter[Any](CameraConfig).validate_python(table)
    first = failure.value.errors(include_url=False, include_input=False)[0]
    assert "hunter2" not in str(first["msg"])


# Folder ----------------------------------------------------------------------------------------------------


def test_a_part_is_named_by_its_path_in_the_folder(tmp_path: Path) -> None:
    write_folder(tmp_path / "good", 2)
    write_folder(tmp_path / "bad", 1)
    camera = open_camera(FolderConfig(path=tmp_path), FakeClock())
    assert parts(camera, 3) == ["bad/0.png", "good/0.png", "good/1.png"]


def test_a_shuffled_folder_gives_each_picture_once_a_round_in_the_same_order_always(tmp_path: Path) -> None:
    write_folder(tmp_path, 8)
    config = FolderConfig(path=tmp_path, shuffle_seed=3)
    first, again = parts(open_camera(config, FakeClock()), 16), parts(open_camera(config, FakeClock()), 8)
    assert first[:8] == first[8:] == again
    assert first[:8] != sorted(first[:8])
    assert len(set(first)) == 8


def test_a_damaged_picture_is_skipped_with_one_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write_folder(tmp_path, 3)
    (tmp_path / "1.png").write_bytes(b"not a picture")
    camera = open_camera(FolderConfig(path=tmp_path), FakeClock())
    assert parts(camera, 6) == ["0.png", "2.png"] * 3
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    assert "1.png" in caplog.text


def test_a_folder_of_damaged_pictures_only_is_a_camera_error(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"")
    (tmp_path / "b.jpg").write_bytes(b"no")
    camera = open_camera(FolderConfig(path=tmp_path), FakeClock())
    with pytest.raises(CameraError, match="none of its 2 pictures"):
        camera.read()


def test_a_folder_that_is_missing_or_empty_is_the_operators_to_mend(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(ConfigError):
            open_camera(FolderConfig(path=path), FakeClock())


# Video -----------------------------------------------------------------------------------------------------


def test_a_video_plays_at_its_own_rate(tmp_path: Path) -> None:
    camera = open_camera(VideoConfig(path=write_video(tmp_path / "v.avi", 6)), FakeClock())  # 25 a second
    frames = [camera.read() for _ in range(6)]
    assert frames[5].captured_s - frames[0].captured_s == pytest.approx(0.2)  # type: ignore[union-attr]  # it loops


def test_a_missing_video_is_named() -> None:
    with pytest.raises(ConfigError, match=r"^/nowhere/line\.mp4: no such video file\."):
        open_camera(VideoConfig(path=Path("/nowhere/line.mp4")), FakeClock())


def test_a_video_that_vanishes_between_two_rounds_is_a_camera_error(tmp_path: Path) -> None:
    path = write_video(tmp_path / "v.avi", 2)
    camera = open_camera(VideoConfig(path=path), FakeClock())
    camera.read()
    path.unlink()
    with pytest.raises(CameraError, match="no picture can be read"):
        drain(camera)


def test_a_real_h264_video_is_read() -> None:
    bottles = Path(require("data")) / "videos" / "bottle-detection.mp4"
    camera = open_camera(VideoConfig(path=bottles), FakeClock())
    frame = camera.read()
    assert frame is not None
    assert frame.image.shape == (360, 640, 3)
    camera.close()


# RTSP, against a server on the loopback -------------------------------------------------------------------


def test_an_rtsp_camera_is_read_over_tcp_and_its_loss_is_told() -> None:
    with rtsp_server("operator", "secret") as server:
        camera = open_camera(RtspConfig(url=SecretStr(server.url)), SystemClock())
        frames = [camera.read() for _ in range(5)]
        assert [frame.index for frame in frames if frame] == [0, 1, 2, 3, 4]
        assert frames[0] is not None
        assert frames[0].image.shape == (HEIGHT, WIDTH, 3)
        assert all("RTP/AVP/TCP" in transport for transport in server.asked_transports)
        server.halt.set()
        with pytest.raises(CameraError, match=r"^rtsp://127\.0\.0\.1:\d+: the stream stopped\."):
            drain(camera)
        camera.close()


def test_an_rtsp_camera_with_another_password_is_refused() -> None:
    with rtsp_server("operator", "secret") as server:
        wrong = SecretStr(server.url.replace("secret", "guess"))
        with pytest.raises(CameraError, match=r"cannot be opened.*user and password") as failure:
            open_camera(RtspConfig(url=wrong), SystemClock())
        assert "guess" not in str(failure.value)


# USB, against a fake of cv2.VideoCapture -------------------------------------------------------------------


def test_a_missing_usb_camera_says_what_to_look_at() -> None:
    with pytest.raises(CameraError, match=r"no video device 0\. Is the camera plugged in.*ls /dev/video\*"):
        UsbCamera(UsbConfig(), FakeClock(), FakeCapture(opened=False))


def test_automatics_are_switched_off_before_their_value_is_set() -> None:
    device = FakeCapture()
    UsbCamera(UsbConfig(exposure_ms=4.0, gain=10, white_balance_k=4600), FakeClock(), device).close()
    order = device.set_order
    assert device.opened_as == (0, cv2.CAP_V4L2)
    assert order.index(cv2.CAP_PROP_FOURCC) < order.index(cv2.CAP_PROP_FRAME_WIDTH)
    assert order.index(cv2.CAP_PROP_AUTO_EXPOSURE) < order.index(cv2.CAP_PROP_EXPOSURE)
    assert order.index(cv2.CAP_PROP_AUTO_WB) < order.index(cv2.CAP_PROP_WB_TEMPERATURE)
    assert device.properties[cv2.CAP_PROP_EXPOSURE] == 40  # V4L2 counts in 100 µs
    assert device.properties[cv2.CAP_PROP_BUFFERSIZE] == 1


def test_what_is_not_configured_is_left_to_the_camera() -> None:
    device = FakeCapture()
    UsbCamera(UsbConfig(), FakeClock(), device).close()
    assert not {cv2.CAP_PROP_EXPOSURE, cv2.CAP_PROP_GAIN, cv2.CAP_PROP_AUTO_WB} & set(device.set_order)


def test_a_setting_that_does_not_stick_is_a_warning_with_both_values(
    caplog: pytest.LogCaptureFixture,
) -> None:
    device = FakeCapture(refuses=[cv2.CAP_PROP_EXPOSURE, cv2.CAP_PROP_FOURCC])
    UsbCamera(UsbConfig(exposure_ms=4.0), FakeClock(), device).close()
    warnings = [record.getMessage() for record in caplog.records]
    assert warnings == [
        "video device 0: format is unknown, not MJPG as configured",
        "video device 0: exposure is 0, not 40 as configured",
    ]


def test_a_usb_camera_that_hangs_is_an_error_and_is_released_once_it_comes_back() -> None:
    device = FakeCapture(0, hangs=True)
    camera = UsbCamera(UsbConfig(), FakeClock(), device, settle_s=-0.9)  # waits 0.1 s
    with pytest.raises(CameraError, match="stopped giving pictures"):
        camera.read()
    assert not device.released.is_set()  # its thread is still in OpenCV, which must not be torn down under it
    camera.close()
    device.comes_back.set()
    assert device.released.wait(5)


# Simulated -------------------------------------------------------------------------------------------------


def test_defects_come_in_bursts_and_their_kinds_take_turns() -> None:
    config = SimulatedConfig(first_defect_at=4, every=5, burst=2, defects=("rust", "scratch"))
    planted = [config.defect_of(number) for number in range(16)]
    good = [None] * 3
    assert planted == [None] * 4 + ["rust"] * 2 + good + ["scratch"] * 2 + good + ["rust"] * 2


def test_no_kinds_means_good_parts_only() -> None:
    assert {SimulatedConfig(defects=(), first_defect_at=0).defect_of(n) for n in range(200)} == {None}


def test_a_simulated_part_carries_its_number_and_its_truth() -> None:
    camera = open_camera(SimulatedConfig(first_defect_at=1, every=2, burst=1, defects=("rust",)), FakeClock())
    good, bad = camera.read(), camera.read()
    assert good is not None
    assert bad is not None
    assert (good.part, bad.part) == ("000000-good", "000001-rust")
    assert good.truth is not None
    assert (good.truth.defect, good.truth.mask) == ("", None)
    assert bad.truth is not None
    assert bad.truth.defect == "rust"
    assert bad.truth.mask is not None
    assert bad.truth.mask.any()
