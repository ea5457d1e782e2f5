"""A network camera that speaks RTSP: enough of RFC 2326 over TCP, with JPEG in RTP (RFC 2435)."""

from __future__ import annotations

import base64
import socketserver
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import cv2

from kenpin_agent.seams import Image
from support.camera_sources import HEIGHT, WIDTH, scene

_FRAGMENT_BYTES = 1200
_CLOCK_HZ = 90_000


@dataclass
class RtspServer:
    """`asked_transports` are the Transport headers as the client sent them; `halt` pulls the plug."""

    url: str = ""
    halt: threading.Event = field(default_factory=threading.Event)
    asked_transports: list[str] = field(default_factory=list)


@contextmanager
def rtsp_server(user: str, password: str, *, rate_hz: float = 50) -> Iterator[RtspServer]:
    camera = RtspServer()
    expected = "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            while line := self.rfile.readline().decode().strip():
                method = line.split()[0]
                headers = {}
                while header := self.rfile.readline().decode().strip():
                    name, _, value = header.partition(": ")
                    headers[name.lower()] = value
                if method == "DESCRIBE" and headers.get("authorization") != expected:
                    self._answer(headers, 'WWW-Authenticate: Basic realm="camera"', status="401 Unauthorized")
                elif method == "DESCRIBE":
                    self._answer(headers, "Content-Type: application/sdp", body=_SDP)
                elif method == "SETUP":
                    camera.asked_transports.append(headers["transport"])
                    self._answer(headers, "Transport: RTP/AVP/TCP;unicast;interleaved=0-1", "Session: 1")
                elif method == "PLAY":
                    self._answer(headers, "Session: 1")
                    self._play()
                    return
                else:
                    self._answer(headers, "Public: OPTIONS, DESCRIBE, SETUP, PLAY, TEARDOWN")

        def _answer(self, asked: dict[str, str], *said: str, status: str = "200 OK", body: str = "") -> None:
            lines = [f"RTSP/1.0 {status}", f"CSeq: {asked['cseq']}", *said]
            if body:
                lines.append(f"Content-Length: {len(body)}")
            self.wfile.write(("\r\n".join(lines) + "\r\n\r\n" + body).encode())

        def _play(self) -> None:
            sequence = number = 0
            try:
                while not camera.halt.wait(1 / rate_hz):
                    for packet in _packets(scene(number), sequence, int(number * _CLOCK_HZ / rate_hz)):
                        self.wfile.write(b"$\0" + struct.pack(">H", len(packet)) + packet)
                        sequence += 1
                    number += 1
            except OSError:
                return  # the client hung up

    server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    camera.url = f"rtsp://{user}:{password}@127.0.0.1:{server.server_address[1]}/stream"
    try:
        yield camera
    finally:
        camera.halt.set()
        server.shutdown()
        server.server_close()


_SDP = "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=camera\r\nt=0 0\r\nm=video 0 RTP/AVP 26\r\nc=IN IP4 0.0.0.0\r\na=control:track1\r\n"


def _packets(image: Image, sequence: int, timestamp: int) -> Iterator[bytes]:
    tables, scan = _take_apart(cv2.imencode(".jpg", image)[1].tobytes())
    for offset in range(0, len(scan), _FRAGMENT_BYTES):
        data = scan[offset : offset + _FRAGMENT_BYTES]
        last = offset + _FRAGMENT_BYTES >= len(scan)
        rtp = struct.pack(">BBHII", 0x80, 26 | (0x80 if last else 0), sequence & 0xFFFF, timestamp, 1)
        # Type 1: 4:2:0, as OpenCV writes; Q 255: the quantisation tables come with the first fragment.
        jpeg = struct.pack(">I", offset) + bytes((1, 255, WIDTH // 8, HEIGHT // 8))
        if offset == 0:
            jpeg += struct.pack(">BBH", 0, 0, len(tables)) + tables
        yield rtp + jpeg + data
        sequence += 1


def _take_apart(jpeg: bytes) -> tuple[bytes, bytes]:
    """A baseline JPEG's quantisation tables and its entropy-coded scan."""
    at, tables = 2, b""
    while True:
        marker, length = struct.unpack_from(">HH", jpeg, at)
        body = jpeg[at + 4 : at + 2 + length]
        at += 2 + length
        if marker == 0xFFDB:
            for start in range(0, len(body), 65):
                tables += body[start + 1 : start + 65]
        elif marker == 0xFFDA:
            return tables, jpeg[at:-2]
