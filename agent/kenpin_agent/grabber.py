"""The thread between the camera and the inspection.

It reads as fast as the camera gives and keeps one frame, the newest, so that what is judged is what lies there
now. A camera that is lost is opened again, with back-off, for as long as it takes.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import replace

from kenpin_agent.seams import Camera, Clock, Frame
from kenpin_wire.errors import KenpinError
from kenpin_wire.messages import CameraState

log = logging.getLogger(__name__)

FIRST_RETRY_S = 0.5
LAST_RETRY_S = 30.0
_JOIN_S = 2.0


class Grabber:
    """Takes frames from a camera into a slot for one.

    Its own members may be used from any thread; `take` by one.

    Args:
        open: Opens the camera; called again after each loss.
        clock: For the waits between two tries.
        lossless: Wait for each frame to be taken before the next is read, for a source that can wait and must
            not lose a picture (a folder played once).
    """

    def __init__(self, open: Callable[[], Camera], clock: Clock, *, lossless: bool = False) -> None:
        self._open = open
        self._clock = clock
        self._lossless = lossless
        self._changed = threading.Condition()
        self._halt = threading.Event()  # set while the thread must not read: paused or stopped
        self._stopped = False
        self._interrupted = False  # the camera was closed by us, so its end is none
        self._slot: Frame | None = None
        self._camera: Camera | None = None
        self._state, self._detail = CameraState.STARTING, ""
        self._frames = self._dropped = 0
        # A daemon: a driver that hangs must not keep the program from ending.
        self._thread = threading.Thread(target=self._run, name="grabber", daemon=True)

    @property
    def state(self) -> CameraState:
        """Whether frames come."""
        return self._state

    @property
    def detail(self) -> str:
        """Why they do not, for a person; empty if all is well."""
        return self._detail

    @property
    def frames(self) -> int:
        """How many frames the camera has given since the start, over all its openings."""
        return self._frames

    @property
    def dropped(self) -> int:
        """How many of them were replaced by a newer one before they were taken."""
        return self._dropped

    @property
    def ended(self) -> bool:
        """Whether the source has ended and its last frame was taken."""
        with self._changed:
            return self._state is CameraState.ENDED and self._slot is None

    def start(self) -> None:
        """Begin to read. Once."""
        self._thread.start()

    def take(self, timeout_s: float) -> Frame | None:
        """The newest frame that was not taken yet, waiting for one at most `timeout_s` seconds.

        Its `index` counts over all openings of the camera; a gap is a dropped frame.

        Returns:
            None if none came, if the source has ended, or if the grabber was stopped.
        """
        with self._changed:
            self._changed.wait_for(
                lambda: self._slot or self._stopped or self._state is CameraState.ENDED, timeout_s
            )
            frame, self._slot = self._slot, None
            self._changed.notify_all()
            return frame

    def pause(self) -> None:
        """Close the camera until `resume`, and forget the frame that was not taken."""
        self._interrupt()
        with self._changed:
            self._slot = None

    def resume(self) -> None:
        """Open the camera again after `pause`."""
        with self._changed:
            if not self._stopped:
                self._halt.clear()
                self._changed.notify_all()

    def stop(self) -> None:
        """End the thread and close the camera. Waits two seconds at most; may be called twice."""
        with self._changed:
            self._stopped = True
        self._interrupt()
        if self._thread.is_alive():
            self._thread.join(_JOIN_S)

    def _interrupt(self) -> None:
        with self._changed:
            self._halt.set()
            self._interrupted = True
            camera = self._camera
            self._changed.notify_all()
        if camera is not None:
            camera.close()

    def _run(self) -> None:
        retry_s = FIRST_RETRY_S
        while self._may_read():
            before = self._frames
            try:
                self._read_until_end()
            except KenpinError as error:
                self._lose(str(error))
            except Exception as error:  # noqa: BLE001 - whatever a driver raises, the line wants its camera back
                self._lose(f"{type(error).__name__}: {error}")
            else:
                if not self._interrupted:
                    self._say(CameraState.ENDED)
                    return
                self._say(CameraState.STOPPED)
                continue
            if self._frames > before:
                retry_s = FIRST_RETRY_S
            self._clock.wait(self._halt, retry_s)
            retry_s = min(2 * retry_s, LAST_RETRY_S)
        self._say(CameraState.STOPPED)

    def _may_read(self) -> bool:
        """Wait until not paused; returns False once stopped."""
        with self._changed:
            self._changed.wait_for(lambda: self._stopped or not self._halt.is_set())
            self._interrupted = self._stopped
            return not self._stopped

    def _read_until_end(self) -> None:
        camera = self._open()
        try:
            with self._changed:
                self._camera = camera
            while not self._halt.is_set():
                frame = camera.read()
                if frame is None:
                    return
                self._put(frame)
        finally:
            with self._changed:
                self._camera = None
            camera.close()

    def _put(self, frame: Frame) -> None:
        with self._changed:
            if self._halt.is_set():
                return
            if self._lossless:
                self._changed.wait_for(lambda: self._slot is None or self._halt.is_set())
                if self._halt.is_set():
                    return
            self._dropped += self._slot is not None
            self._slot = replace(frame, index=self._frames)
            self._frames += 1
            self._changed.notify_all()
        if self._state is not CameraState.OK:
            if self._detail:
                log.info("the camera gives pictures again")
            self._say(CameraState.OK)

    def _lose(self, why: str) -> None:
        if why != self._detail:  # once for each reason, not at every try
            log.warning("%s", why)
        self._say(CameraState.LOST, why)

    def _say(self, state: CameraState, detail: str = "") -> None:
        with self._changed:
            self._state, self._detail = state, detail
            self._changed.notify_all()
