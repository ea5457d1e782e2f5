"""The grabber: the newest frame, a camera that comes back, a thread that never dies and always stops."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from kenpin_agent.grabber import FIRST_RETRY_S, LAST_RETRY_S, Grabber
from kenpin_agent.seams import Camera, Frame
from kenpin_agent.testing import FakeCamera, FakeClock, picture
from kenpin_wire.errors import CameraError
from kenpin_wire.messages import CameraState


def eventually(condition: Callable[[], bool], what: str) -> None:
    deadline_s = time.monotonic() + 5
    while not condition():
        assert time.monotonic() < deadline_s, f"never: {what}"
        time.sleep(0.002)


@contextmanager
def running(
    open_camera: Callable[[], Camera], clock: FakeClock | None = None, *, lossless: bool = False
) -> Iterator[Grabber]:
    grabber = Grabber(open_camera, clock or FakeClock(), lossless=lossless)
    grabber.start()
    try:
        yield grabber
    finally:
        grabber.stop()


def brightness(frame: Frame | None) -> int:
    assert frame is not None
    return int(frame.image[0, 0, 0])


def test_the_newest_frame_wins_and_the_others_are_counted_as_dropped() -> None:
    camera = FakeCamera([picture(value) for value in (1, 2, 3, 4)], hang=True)
    with running(lambda: camera) as grabber:
        eventually(lambda: camera.reads == 5, "all read")
        frame = grabber.take(0)
        assert brightness(frame) == 4
        assert frame is not None
        assert frame.index == 3
        assert (grabber.frames, grabber.dropped) == (4, 3)
        assert grabber.take(0) is None, "each frame is given once"


def test_a_frame_that_comes_later_is_waited_for() -> None:
    came = threading.Event()

    class Late(FakeCamera):
        def read(self) -> Frame | None:
            came.wait(5)
            return super().read()

    with running(lambda: Late([picture(7)], hang=True)) as grabber:
        assert grabber.take(0.01) is None
        threading.Timer(0.05, came.set).start()
        assert brightness(grabber.take(5)) == 7


def test_without_loss_each_frame_is_given_exactly_once_and_in_order() -> None:
    with running(lambda: FakeCamera([picture(value) for value in range(50)]), lossless=True) as grabber:
        seen = []
        while not grabber.ended:
            frame = grabber.take(1)
            if frame is not None:
                seen.append(brightness(frame))
        assert seen == list(range(50))
        assert (grabber.frames, grabber.dropped, grabber.state) == (50, 0, CameraState.ENDED)


def test_a_source_that_ended_still_gives_its_last_frame_and_is_not_opened_again() -> None:
    opened = []
    with running(lambda: opened.append(1) or FakeCamera([picture(9)])) as grabber:  # type: ignore[func-returns-value]
        eventually(lambda: grabber.state is CameraState.ENDED, "ended")
        assert not grabber.ended
        assert brightness(grabber.take(1)) == 9
        assert grabber.ended
        assert grabber.take(5) is None
    assert opened == [1]


def test_a_lost_camera_is_reported_closed_and_opened_again() -> None:
    cameras = [
        FakeCamera([picture(1), CameraError("unplugged", where="usb")]),
        FakeCamera([picture(2)], hang=True),
    ]
    left = list(cameras)
    clock = FakeClock(frozen=True)
    with running(lambda: left.pop(0), clock, lossless=True) as grabber:
        assert grabber.take(1) is not None
        eventually(lambda: grabber.state is CameraState.LOST, "reported")
        assert grabber.detail == "usb: unplugged"
        assert cameras[0].closed
        clock.advance(FIRST_RETRY_S)
        frame = grabber.take(5)
        assert brightness(frame) == 2
        assert frame is not None
        assert frame.index == 1, "indexes go on over openings"
        eventually(lambda: grabber.state is CameraState.OK, "well again")
        assert grabber.detail == ""


def test_back_off_doubles_up_to_its_cap_and_begins_anew_after_a_frame() -> None:
    clock = FakeClock()
    tries = 0
    done = threading.Event()

    def open_camera() -> Camera:
        nonlocal tries
        tries += 1
        if tries == 9:
            return FakeCamera([picture(), CameraError("lost again")])
        if tries == 11:
            done.set()
            return FakeCamera([], hang=True)
        raise CameraError("not there")

    with running(open_camera, clock):
        assert done.wait(5)
    # Eight failures, then a loss after a frame, which begins anew.
    assert clock.waits_s == [
        0.5,
        1,
        2,
        4,
        8,
        16,
        LAST_RETRY_S,
        LAST_RETRY_S,
        FIRST_RETRY_S,
        2 * FIRST_RETRY_S,
    ]


def test_an_error_that_nobody_foresaw_does_not_end_the_thread() -> None:
    script: list[Exception | Camera] = [ZeroDivisionError("in a driver"), FakeCamera([picture(5)], hang=True)]

    def open_camera() -> Camera:
        entry = script.pop(0)
        if isinstance(entry, Exception):
            raise entry
        return entry

    with running(open_camera) as grabber:
        assert brightness(grabber.take(5)) == 5


def test_the_same_loss_is_logged_once_however_often_it_is_tried(caplog: object) -> None:
    clock = FakeClock()

    def open_camera() -> Camera:
        raise CameraError("no camera")

    with running(open_camera, clock) as grabber:
        eventually(lambda: len(clock.waits_s) > 20, "many tries")
        assert grabber.detail == "no camera"
    assert [record.getMessage() for record in caplog.records] == ["no camera"]  # type: ignore[attr-defined]


def test_stopping_interrupts_a_waiting_camera_and_a_waiting_taker() -> None:
    camera = FakeCamera([], hang=True)
    with running(lambda: camera) as grabber:
        eventually(lambda: camera.reads == 1, "reading")
        taken: list[Frame | None] = []
        taker = threading.Thread(target=lambda: taken.append(grabber.take(30)))
        taker.start()
        began_s = time.monotonic()
        grabber.stop()
        taker.join(5)
        assert time.monotonic() - began_s < 1
    assert taken == [None]
    assert camera.closed
    assert grabber.state is CameraState.STOPPED


def test_stopping_interrupts_the_back_off_and_a_lossless_wait() -> None:
    def nothing() -> Camera:
        raise CameraError("none")

    for open_camera, clock in (
        (nothing, FakeClock(frozen=True)),
        (lambda: FakeCamera([picture(), picture()]), FakeClock()),
    ):
        grabber = Grabber(open_camera, clock, lossless=True)
        grabber.start()
        eventually(lambda grabber=grabber: grabber.state is not CameraState.STARTING, "begun")  # type: ignore[misc]
        began_s = time.monotonic()
        grabber.stop()
        grabber.stop()
        assert time.monotonic() - began_s < 1
        assert grabber.state is CameraState.STOPPED


def test_a_grabber_that_never_started_can_be_stopped() -> None:
    Grabber(lambda: FakeCamera([]), FakeClock()).stop()


def test_pausing_closes_the_camera_and_resuming_opens_it_again() -> None:
    cameras: list[FakeCamera] = []

    def open_camera() -> Camera:
        cameras.append(FakeCamera([picture(len(cameras))], hang=True))
        return cameras[-1]

    with running(open_camera) as grabber:
        assert brightness(grabber.take(5)) == 0
        grabber.pause()
        eventually(lambda: grabber.state is CameraState.STOPPED, "paused")
        assert cameras[0].closed
        assert grabber.take(0.02) is None
        grabber.resume()
        assert brightness(grabber.take(5)) == 1


def test_pausing_and_resuming_in_a_breath_does_not_look_like_the_end() -> None:
    with running(lambda: FakeCamera([picture()], hang=True)) as grabber:
        for _ in range(50):
            grabber.pause()
            grabber.resume()
        assert grabber.take(5) is not None
        assert grabber.state is not CameraState.ENDED
