"""What every camera does, whatever it is: one suite over all kinds (`support.camera_sources` says what is real)."""

from __future__ import annotations

import logging
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest
from pydantic import SecretStr

from kenpin_agent.cameras import open_camera
from kenpin_agent.cameras.config import FolderConfig, RtspConfig, SimulatedConfig, UsbConfig, VideoConfig
from kenpin_agent.cameras.opencv import UsbCamera
from kenpin_agent.clock import SystemClock
from kenpin_agent.seams import Camera, Clock, Frame
from kenpin_agent.testing import FakeClock
from kenpin_wire.errors import CameraError
from support.camera_sources import FakeCapture, drain, mjpeg_server, write_folder, write_video

KINDS = ["folder", "video", "usb", "rtsp", "simulated"]
SLOW_HZ = 0.01
Make = Callable[..., Camera]


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    """Opens a camera of a kind; `gives` pictures and then what its kind does then (`hangs`: it waits)."""
    with ExitStack() as stack:

        def make(
            kind: str, gives: int | None = None, *, hangs: bool = False, clock: Clock | None = None
        ) -> Camera:
            clock = clock or (SystemClock() if hangs else FakeClock())
            rate_hz = SLOW_HZ if hangs else 100.0
            loop = gives is None
            match kind:
                case "folder":
                    folder = write_folder(tmp_path / "pictures", gives or 3)
                    camera = open_camera(FolderConfig(path=folder, loop=loop, rate_hz=rate_hz), clock)
                case "video":
                    video = write_video(tmp_path / "video.avi", gives or 3)
                    camera = open_camera(VideoConfig(path=video, loop=loop, rate_hz=rate_hz), clock)
                case "usb":
                    camera = UsbCamera(UsbConfig(), clock, FakeCapture(gives, hangs=hangs))
                case "rtsp":
                    after = {"then_hang_after" if hangs else "then_hang_up_after": gives}
                    server = stack.enter_context(mjpeg_server(**after))
                    camera = open_camera(RtspConfig(url=SecretStr(server.url), timeout_s=4), clock)
                case _:
                    camera = open_camera(SimulatedConfig(rate_hz=rate_hz), clock)
            stack.callback(camera.close)
            return camera

        yield make


def frame_of(camera: Camera) -> Frame:
    frame = camera.read()
    assert frame is not None
    return frame


@pytest.mark.parametrize("kind", KINDS)
def test_a_frame_is_a_contiguous_bgr_picture(make: Make, kind: str) -> None:
    image = frame_of(make(kind)).image
    assert image.dtype == np.uint8
    assert image.ndim == 3
    assert image.shape[2] == 3
    assert image.flags.c_contiguous


@pytest.mark.parametrize("kind", KINDS)
def test_frames_are_counted_from_0_and_time_does_not_go_back(make: Make, kind: str) -> None:
    camera = make(kind)
    frames = [frame_of(camera) for _ in range(5)]
    assert [frame.index for frame in frames] == [0, 1, 2, 3, 4]
    times = [frame.captured_s for frame in frames]
    assert times == sorted(times)


@pytest.mark.parametrize("kind", KINDS)
def test_a_frame_stays_as_it_was_when_the_next_is_read(make: Make, kind: str) -> None:
    camera = make(kind)
    first = frame_of(camera).image
    copy = first.copy()
    frame_of(camera)
    assert np.array_equal(first, copy)


@pytest.mark.parametrize("kind", KINDS)
def test_closing_twice_is_fine_and_a_closed_camera_gives_no_frame(make: Make, kind: str) -> None:
    camera = make(kind)
    frame_of(camera)
    camera.close()
    camera.close()
    assert camera.read() is None


@pytest.mark.parametrize("kind", KINDS)
def test_closing_interrupts_a_read_that_waits(make: Make, kind: str) -> None:
    given = 60 if kind == "rtsp" else 1  # FFmpeg reads ahead to learn what the stream holds
    camera = make(kind, given, hangs=True)
    got: list[Frame | Exception | None] = []

    def read_until_it_waits() -> None:
        try:
            while (frame := camera.read()) is not None:
                got.append(frame)
        except CameraError as error:
            got.append(error)
        else:
            got.append(None)

    reader = threading.Thread(target=read_until_it_waits)
    reader.start()
    deadline_s = time.monotonic() + 10
    seen = -1
    while len(got) != seen or not got:  # until nothing came for a while: now it waits
        assert time.monotonic() < deadline_s
        seen = len(got)
        reader.join(0.15)
    began_s = time.monotonic()
    camera.close()
    reader.join(5)
    assert time.monotonic() - began_s < 1
    assert got[-1] is None


@pytest.mark.parametrize("kind", ["folder", "video"])
def test_a_source_played_once_ends_with_none(make: Make, kind: str) -> None:
    camera = make(kind, 3)
    frames = [camera.read() for _ in range(5)]
    assert [frame is not None for frame in frames] == [True, True, True, False, False]


@pytest.mark.parametrize("kind", ["usb", "rtsp"])
def test_a_camera_that_goes_away_is_an_error_that_says_so(make: Make, kind: str) -> None:
    camera = make(kind, 4)
    with pytest.raises(CameraError, match="stopped"):
        drain(camera)


def test_a_stream_that_hangs_is_an_error_after_its_timeout() -> None:
    with mjpeg_server(then_hang_after=60) as server:
        camera = open_camera(RtspConfig(url=SecretStr(server.url), timeout_s=0.5), SystemClock())
        with pytest.raises(CameraError, match="the stream stopped"):
            drain(camera)
        camera.close()


@pytest.mark.parametrize("kind", ["folder", "video", "simulated"])
def test_pictures_come_at_the_rate_that_is_set(make: Make, kind: str) -> None:
    clock = FakeClock()
    camera = make(kind, clock=clock)  # 100 a second
    times = [frame_of(camera).captured_s for _ in range(11)]
    assert times[-1] - times[0] == pytest.approx(0.1)


@pytest.mark.parametrize("kind", ["folder", "video", "simulated"])
def test_a_slow_reader_gets_no_burst_afterwards(make: Make, kind: str) -> None:
    clock = FakeClock()
    camera = make(kind, clock=clock)
    frame_of(camera)
    clock.advance(60)
    times = [frame_of(camera).captured_s for _ in range(4)]
    assert times[-1] - times[1] == pytest.approx(0.02)


def test_a_looped_folder_begins_again_and_counts_on(make: Make) -> None:
    camera = make("folder")
    frames = [frame_of(camera) for _ in range(7)]
    assert [frame.part for frame in frames] == ["0.png", "1.png", "2.png"] * 2 + ["0.png"]
    assert [frame.index for frame in frames] == list(range(7))


def test_a_looped_video_begins_again(make: Make) -> None:
    camera = make("video")
    brightness = [round(float(frame_of(camera).image.mean()) / 8) for _ in range(6)]
    assert brightness[:3] == brightness[3:]
    assert len(set(brightness[:3])) == 3


def test_opencv_says_nothing_of_its_own(tmp_path: Path) -> None:
    junk = tmp_path / "junk.mp4"
    junk.write_bytes(bytes(range(256)) * 64)
    program = f"""
from kenpin_agent.cameras import open_camera
from kenpin_agent.cameras.config import RtspConfig, UsbConfig, VideoConfig
from kenpin_agent.testing import FakeClock
from kenpin_wire.errors import CameraError

for config in (RtspConfig(url="rtsp://127.0.0.1:9/none"), UsbConfig(device=99), VideoConfig(path={str(junk)!r})):
    try:
        open_camera(config, FakeClock())
    except CameraError:
        print("refused")
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("refused\n" * 3, "")


def test_a_stream_never_tells_its_password(caplog: pytest.LogCaptureFixture) -> None:
    config = RtspConfig(
        url=SecretStr("rtsp://admin:hunter2@127.0.0.1:9/user=admin_password=hunter2?pwd=hunter2")
    )
    caplog.set_level(logging.DEBUG)
    with pytest.raises(CameraError) as failure:
        open_camera(config, SystemClock())
    assert str(failure.value).startswith("rtsp://127.0.0.1:9: ")
    for said in (str(failure.value), repr(config), str(config), config.model_dump_json(), caplog.text):
        assert "hunter2" not in said
