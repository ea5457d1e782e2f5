"""Every kind of camera with a source that a test can end, take away or let hang.

Folder, video, stream and conveyor are the real thing: files, a socket, a renderer. There is no USB camera in a
test: there `FakeCapture` stands in for `cv2.VideoCapture`, at the seam that `UsbCamera` opens it through.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import cv2
import numpy as np

from kenpin_agent.seams import Camera, Image

WIDTH, HEIGHT = 96, 64


def scene(number: int) -> Image:
    """A picture that compression leaves recognisable: its brightness tells its number."""
    return np.full((HEIGHT, WIDTH, 3), 40 + 8 * (number % 20), np.uint8)


def drain(camera: Camera) -> int:
    """Read until the camera ends or raises."""
    count = 0
    while camera.read() is not None:
        count += 1
    return count


def write_folder(folder: Path, count: int) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        cv2.imwrite(str(folder / f"{number}.png"), scene(number))
    return folder


def write_video(path: Path, count: int) -> Path:
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 25.0, (WIDTH, HEIGHT))
    for number in range(count):
        writer.write(scene(number))
    writer.release()
    return path


@dataclass
class MjpegServer:
    """A network camera at work. `halt` pulls its plug."""

    url: str
    halt: threading.Event = field(default_factory=threading.Event)


@contextmanager
def mjpeg_server(
    *, then_hang_after: int | None = None, then_hang_up_after: int | None = None
) -> Iterator[MjpegServer]:
    """An HTTP stream of JPEG pictures: endless, or it hangs or hangs up after so many."""
    halt = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
            self.end_headers()
            number = 0
            while not halt.wait(0.005):
                if number == then_hang_up_after:
                    return
                if number == then_hang_after:
                    halt.wait()
                    return
                jpeg = cv2.imencode(".jpg", scene(number))[1].tobytes()
                head = f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {len(jpeg)}\r\n\r\n"
                try:
                    self.wfile.write(head.encode() + jpeg + b"\r\n")
                except OSError:
                    return
                number += 1

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield MjpegServer(f"http://operator:secret@127.0.0.1:{server.server_port}/video?token=secret", halt)
    finally:
        halt.set()
        server.shutdown()
        server.server_close()


class FakeCapture:
    """What `UsbCamera` uses of `cv2.VideoCapture`, with V4L2's manners.

    Args:
        gives: How many pictures before it fails (an unplugged camera); None for no end.
        hangs: Whether it waits for `comes_back` then, as a camera without a trigger does, instead of failing.
        refuses: Properties that its driver does not have: `set` says no and `get` gives 0.
    """

    def __init__(
        self,
        gives: int | None = None,
        *,
        hangs: bool = False,
        refuses: Sequence[int] = (),
        opened: bool = True,
    ) -> None:
        self.properties: dict[int, float] = {}
        self.set_order: list[int] = []
        self.released = threading.Event()
        self.comes_back = threading.Event()
        self._gives, self._hangs, self._refuses, self._opened = gives, hangs, set(refuses), opened
        self._given = 0

    def __call__(self, source: int | str, backend: int, parameters: Sequence[int]) -> FakeCapture:
        self.opened_as = (source, backend)
        return self

    def isOpened(self) -> bool:  # noqa: N802 - OpenCV's name
        return self._opened

    def read(self) -> tuple[bool, object]:
        assert not self.released.is_set(), "read after release crashes OpenCV"
        if self._given == self._gives:
            if self._hangs:
                self.comes_back.wait(5)
            return False, None
        self._given += 1
        return True, scene(self._given - 1)

    def get(self, prop: int, /) -> float:
        return self.properties.get(prop, 0.0)

    def set(self, prop: int, value: float, /) -> bool:
        self.set_order.append(prop)
        if prop in self._refuses:
            return False
        self.properties[prop] = value
        return True

    def release(self) -> None:
        self.released.set()
