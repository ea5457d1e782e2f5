"""Cameras that OpenCV reads: USB, network streams and video files.

OpenCV's own calls can wait for seconds and cannot be interrupted, so what may wait is done on a thread of its
own (`_Waiter`); OpenCV's own messages are kept off stderr.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Sequence
from typing import Protocol

import cv2
import numpy as np

from kenpin_agent.cameras.config import RtspConfig, UsbConfig, VideoConfig
from kenpin_agent.cameras.pace import Pace
from kenpin_agent.seams import Clock, Frame, Image
from kenpin_wire.errors import CameraError, ConfigError

log = logging.getLogger(__name__)


class Capture(Protocol):
    """What is used of `cv2.VideoCapture`."""

    def isOpened(self) -> bool: ...  # noqa: N802 - OpenCV's name
    def read(self) -> tuple[bool, object]: ...
    def get(self, prop: int, /) -> float: ...
    def set(self, prop: int, value: float, /) -> bool: ...
    def release(self) -> None: ...


OpenCapture = Callable[[int | str, int, Sequence[int]], Capture]
"""As `cv2.VideoCapture(source, backend, parameters)`."""


def open_capture(source: int | str, backend: int, parameters: Sequence[int] = ()) -> Capture:
    """Open a source with OpenCV, in silence."""
    # Read by OpenCV when it first opens a stream; -8 is FFmpeg's AV_LOG_QUIET.
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    return cv2.VideoCapture(source, backend, parameters)


class VideoCamera:
    """`seams.Camera` over a video file.

    Raises:
        ConfigError: if there is no such file.
        CameraError: if it holds no picture that can be decoded.
    """

    def __init__(self, config: VideoConfig, clock: Clock) -> None:
        self._path = config.path.expanduser()
        self._loop = config.loop
        self._clock = clock
        if not self._path.is_file():
            raise ConfigError("no such video file", where=str(self._path), remedy="Give the path of a video.")
        self._capture = self._open()
        self._first = self._decode()
        if self._first is None:
            self._capture.release()
            raise self._unreadable()
        self._pace = Pace(config.rate_hz or _own_rate(self._capture), clock)
        self._count = 0
        self._lock = threading.Lock()

    def read(self) -> Frame | None:
        """See `seams.Camera`; None at the end of a video that is not looped.

        Raises:
            CameraError: if the video cannot be read again for the next round.
        """
        if not self._pace.wait():
            return None
        with self._lock:
            if self._pace.stopped:
                return None
            image, self._first = self._first, None
            if image is None:
                image = self._decode()
            if image is None and self._loop:
                self._capture.release()
                self._capture = self._open()
                image = self._decode()
                if image is None:
                    raise self._unreadable()
        if image is None:
            return None
        index, self._count = self._count, self._count + 1
        return Frame(image, index, self._clock.monotonic_s())

    def close(self) -> None:
        self._pace.stop()
        with self._lock:
            self._capture.release()

    def _open(self) -> Capture:
        return open_capture(str(self._path), cv2.CAP_ANY)

    def _decode(self) -> Image | None:
        given, image = self._capture.read()
        return _picture(image) if given else None

    def _unreadable(self) -> CameraError:
        return CameraError(
            "no picture can be read from this video",
            where=str(self._path),
            remedy="Check that it plays elsewhere, or convert it to MP4 (H.264).",
        )


class UsbCamera:
    """`seams.Camera` over V4L2. Settings that the driver does not take are logged, once, as a warning.

    Raises:
        CameraError: if there is no such device, or it gives no picture.
    """

    def __init__(
        self, config: UsbConfig, clock: Clock, open_with: OpenCapture = open_capture, settle_s: float = 10.0
    ) -> None:
        self._where = f"video device {config.device}"
        lost = CameraError(
            "it stopped giving pictures", where=self._where, remedy="Check its cable and its power."
        )
        capture = open_with(config.device, cv2.CAP_V4L2, ())
        if not capture.isOpened():
            capture.release()
            raise CameraError(
                f"no {self._where}",
                where="camera",
                remedy="Is the camera plugged in, and used by no other program? See `ls /dev/video*`.",
            )
        for complaint in _configure(capture, config):
            log.warning("%s: %s", self._where, complaint)
        self._waiter = _Waiter(capture, clock, lost, settle_s)

    def read(self) -> Frame | None:
        """See `seams.Camera`.

        Raises:
            CameraError: if it stopped giving pictures.
        """
        return self._waiter.read()

    def close(self) -> None:
        self._waiter.close()


class StreamCamera:
    """`seams.Camera` over an RTSP or HTTP stream, by FFmpeg; RTSP over TCP where the camera offers it.

    Raises:
        CameraError: if no connection comes about within the timeout.
    """

    def __init__(self, config: RtspConfig, clock: Clock) -> None:
        where = config.address
        timeout_ms = round(config.timeout_s * 1000)
        capture = open_capture(
            config.url.get_secret_value(),
            cv2.CAP_FFMPEG,
            (cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, timeout_ms, cv2.CAP_PROP_READ_TIMEOUT_MSEC, timeout_ms),
        )
        if not capture.isOpened():
            capture.release()
            raise CameraError(
                "the stream cannot be opened",
                where=where,
                remedy="Check the address, user and password, and that the camera is on the network.",
            )
        lost = CameraError("the stream stopped", where=where, remedy="Check the camera and the network.")
        self._waiter = _Waiter(capture, clock, lost, config.timeout_s)

    def read(self) -> Frame | None:
        """See `seams.Camera`.

        Raises:
            CameraError: if the stream stopped, or gave nothing for the timeout.
        """
        return self._waiter.read()

    def close(self) -> None:
        self._waiter.close()


class _Waiter:
    """Reads a capture on a thread of its own, a picture for each that is asked for, so that closing does not
    wait for a camera that hangs. The thread releases the capture when it comes back."""

    def __init__(self, capture: Capture, clock: Clock, lost: CameraError, patience_s: float) -> None:
        self._capture = capture
        self._clock = clock
        self._lost = lost
        self._patience_s = patience_s
        self._count = 0
        self._asked = False
        self._closed = False
        self._answer: Frame | CameraError | None = None
        self._changed = threading.Condition()
        # A daemon: a camera that never comes back must not keep the program from ending.
        threading.Thread(target=self._serve, name="camera", daemon=True).start()

    def read(self) -> Frame | None:
        with self._changed:
            self._asked, self._answer = True, None
            self._changed.notify_all()
            # FFmpeg's own timeout comes first where it works; this one is for drivers that have none.
            if not self._changed.wait_for(lambda: self._closed or self._answer, self._patience_s + 1):
                raise self._lost
            if self._closed:
                return None
            answer, self._answer = self._answer, None
        if isinstance(answer, CameraError):
            raise answer
        return answer

    def close(self) -> None:
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def _serve(self) -> None:
        try:
            while self._awaits_question():
                answer = self._grab()
                with self._changed:
                    self._asked, self._answer = False, answer
                    self._changed.notify_all()
        finally:
            self._capture.release()

    def _awaits_question(self) -> bool:
        with self._changed:
            self._changed.wait_for(lambda: self._closed or self._asked)
            return not self._closed

    def _grab(self) -> Frame | CameraError:
        try:
            given, image = self._capture.read()
        except cv2.error as error:
            return CameraError(f"{self._lost.what} ({error.err})", where=self._lost.where)
        if not given:
            return self._lost
        index, self._count = self._count, self._count + 1
        return Frame(_picture(image), index, self._clock.monotonic_s())


def _configure(capture: Capture, config: UsbConfig) -> list[str]:
    """Put the settings into the driver and read them back; returns what did not stick, one line each."""
    wanted = [
        # MJPG first: uncompressed, most cameras give a few pictures a second at best.
        ("format", cv2.CAP_PROP_FOURCC, float(cv2.VideoWriter.fourcc(*"MJPG"))),
        ("width", cv2.CAP_PROP_FRAME_WIDTH, config.width),
        ("height", cv2.CAP_PROP_FRAME_HEIGHT, config.height),
        ("fps", cv2.CAP_PROP_FPS, config.fps),
    ]
    if config.exposure_ms is not None:
        wanted.append(("auto exposure", cv2.CAP_PROP_AUTO_EXPOSURE, _V4L2_EXPOSURE_MANUAL))
        wanted.append(("exposure", cv2.CAP_PROP_EXPOSURE, round(config.exposure_ms * _V4L2_EXPOSURE_PER_MS)))
    if config.gain is not None:
        wanted.append(("gain", cv2.CAP_PROP_GAIN, config.gain))
    if config.white_balance_k is not None:
        wanted.append(("auto white balance", cv2.CAP_PROP_AUTO_WB, 0))
        wanted.append(("white balance", cv2.CAP_PROP_WB_TEMPERATURE, config.white_balance_k))
    for _, prop, value in wanted:
        capture.set(prop, value)
    capture.set(cv2.CAP_PROP_BUFFERSIZE, 1)  # not every driver has it; the grabber reads fast enough anyway
    return [
        f"{name} is {_spelled(name, capture.get(prop))}, not {_spelled(name, value)} as configured"
        for name, prop, value in wanted
        if abs(capture.get(prop) - value) > max(0.01, abs(value) * 0.01)
    ]


_V4L2_EXPOSURE_MANUAL = 1
_V4L2_EXPOSURE_PER_MS = 10  # V4L2_CID_EXPOSURE_ABSOLUTE counts in 100 µs
_FALLBACK_RATE_HZ = 25.0


def _spelled(name: str, value: float) -> str:
    if name == "format":
        code = int(value).to_bytes(4, "little", signed=True) if abs(value) < 1 << 31 else b"?"
        return code.decode("ascii", "replace").strip("\0") or "unknown"
    return f"{value:g}"


def _own_rate(capture: Capture) -> float:
    rate_hz = capture.get(cv2.CAP_PROP_FPS)
    return rate_hz if 0 < rate_hz <= 1000 else _FALLBACK_RATE_HZ


def _picture(image: object) -> Image:
    return np.ascontiguousarray(image, np.uint8)
