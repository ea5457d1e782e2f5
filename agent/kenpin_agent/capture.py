"""Taking pictures to teach a line with: `kenpin-agent capture`."""

from __future__ import annotations

import shutil
import threading
from datetime import UTC, datetime
from pathlib import Path

import cv2

from kenpin_agent.files import write_atomically
from kenpin_agent.seams import Camera, Clock
from kenpin_wire.errors import ConfigError, PictureError, os_words

SPARE_BYTES = 200_000_000
"""What a disk must keep free: a Pi whose card is full neither logs nor updates."""


def capture(
    camera: Camera,
    folder: Path,
    count: int,
    *,
    every_s: float,
    clock: Clock,
    stop: threading.Event | None = None,
) -> int:
    """Write `count` pictures as PNG into a folder, one each `every_s` seconds.

    They are named by the time they were taken, in UTC (`20270115-080000-123.png`); no file is ever replaced.
    A part's own name, where the camera knows it, is not used: two rounds over the same folder would collide.

    Returns:
        How many were written; fewer than `count` if the camera ended or `stop` was set.

    Raises:
        CameraError: if the camera is lost. What was written stays.
        ConfigError: if the folder cannot be written, or the disk is nearly full.
    """
    stop = stop or threading.Event()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _unwritable(folder, error) from None
    due_s = clock.monotonic_s()
    written = 0
    while written < count and not stop.is_set():
        frame = camera.read()
        if frame is None:
            break
        if frame.captured_s < due_s:
            continue  # reading on keeps the camera's own buffer fresh
        due_s = frame.captured_s + every_s
        encoded, png = cv2.imencode(".png", frame.image)
        if not encoded:
            raise PictureError("cannot be written as PNG", where=f"frame {frame.index}")
        data = png.tobytes()
        _check_space(folder, len(data))
        try:
            write_atomically(_free_name(folder, clock.wall_s()), data)
        except OSError as error:
            raise _unwritable(folder, error) from None
        written += 1
    return written


def _check_space(folder: Path, needed: int) -> None:
    free = shutil.disk_usage(folder).free
    if free - needed < SPARE_BYTES:
        raise ConfigError(
            f"only {free / 1e6:.0f} MB are free on this disk",
            where=str(folder),
            remedy=f"Free some: {SPARE_BYTES / 1e6:.0f} MB are kept for the system.",
        )


def _free_name(folder: Path, wall_s: float) -> Path:
    stamp = datetime.fromtimestamp(wall_s, UTC).strftime("%Y%m%d-%H%M%S-%f")[:-3]
    path, again = folder / f"{stamp}.png", 1
    while path.exists():
        path, again = folder / f"{stamp}-{again}.png", again + 1
    return path


def _unwritable(folder: Path, error: OSError) -> ConfigError:
    return ConfigError(
        f"pictures cannot be written ({os_words(error)})",
        where=str(folder),
        remedy="Give a folder that this user may write.",
    )
