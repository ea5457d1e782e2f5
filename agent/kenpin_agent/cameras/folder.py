"""A folder of pictures as a camera."""

from __future__ import annotations

import logging
import random
from collections.abc import Iterator
from pathlib import Path

from kenpin_agent.cameras.config import FolderConfig
from kenpin_agent.cameras.pace import Pace
from kenpin_agent.pictures import list_pictures, read_picture
from kenpin_agent.seams import Clock, Frame
from kenpin_wire.errors import CameraError, PictureError

log = logging.getLogger(__name__)


class FolderCamera:
    """`seams.Camera` over the pictures that are in the folder when it is opened.

    A frame's `part` is the picture's path relative to the folder, such as `bad/12.png`. A picture that cannot
    be read is skipped, with one warning however often the folder is looped.

    Raises:
        ConfigError: if there is no such folder, or no picture in it.
    """

    def __init__(self, config: FolderConfig, clock: Clock) -> None:
        self._folder = config.path.expanduser()
        self._pictures = list_pictures(self._folder, recursive=config.recursive)
        if config.shuffle_seed is not None:
            random.Random(config.shuffle_seed).shuffle(self._pictures)
        self._clock = clock
        self._pace = Pace(config.rate_hz, clock)
        self._frames = self._give(config.loop)

    def read(self) -> Frame | None:
        """See `seams.Camera`.

        Raises:
            CameraError: if not one picture of the folder can be read.
        """
        return next(self._frames, None)

    def close(self) -> None:
        self._pace.stop()

    def _give(self, loop: bool) -> Iterator[Frame]:
        index, bad = 0, set[Path]()
        while True:
            for path in self._pictures:
                if path in bad:
                    continue
                try:
                    image = read_picture(path)
                except PictureError as error:
                    log.warning("skipped: %s", error)
                    bad.add(path)
                    continue
                if not self._pace.wait():
                    return
                part = path.relative_to(self._folder).as_posix()
                yield Frame(image, index, self._clock.monotonic_s(), part)
                index += 1
            if len(bad) == len(self._pictures):
                raise CameraError(
                    f"none of its {len(bad)} pictures can be read",
                    where=str(self._folder),
                    remedy="Put good PNG or JPEG pictures there.",
                )
            if not loop:
                return
