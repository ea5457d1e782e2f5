"""The seams between the agent's pure core and the world, and the values that cross them.

Each protocol has its real implementations in a module of its own and a fake in `kenpin_agent.testing`.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import numpy.typing as npt

from kenpin_wire.messages import DesiredRelease, Message
from kenpin_wire.topics import Channel

Image = npt.NDArray[np.uint8]
"""A picture of shape (height, width, 3), uint8, in OpenCV's channel order: blue, green, red."""

Mask = npt.NDArray[np.uint8]
"""Shape (height, width), uint8: 255 where the defect is, 0 elsewhere."""


@dataclass(frozen=True, slots=True)
class Truth:
    """What a simulated part really is. No real camera knows this; nothing judges by it."""

    defect: str = ""
    """The kind of defect, or empty for a good part."""
    mask: Mask | None = None


@dataclass(frozen=True, slots=True)
class Frame:
    """One picture as a camera gave it.

    Attributes:
        index: Counts this camera's frames from 0.
        captured_s: When it was taken, on the monotonic clock, in seconds.
        part: The part's own id where one is known (a picture's file name, a simulated part's number).
    """

    image: Image
    index: int
    captured_s: float
    part: str | None = None
    truth: Truth | None = None


class Clock(Protocol):
    """Time, injected. Durations come from `monotonic_s`; `wall_s` is for stamps only."""

    def monotonic_s(self) -> float: ...
    def wall_s(self) -> float: ...

    def wait(self, event: threading.Event, timeout_s: float) -> bool:
        """Wait until `event` is set or the time has passed; returns whether it is set."""


class Camera(Protocol):
    """Gives frames until it is closed. Read by one thread at a time."""

    def read(self) -> Frame | None:
        """The next frame, waiting for it; None when the source has ended for good (a folder played once) or the
        camera was closed.

        Raises:
            CameraError: if the camera is lost. The caller closes it and opens another with back-off.
        """

    def close(self) -> None:
        """Let go of the device, from any thread; a waiting `read` returns at once. May be called twice."""


class Thermometer(Protocol):
    """The board's temperature and the firmware's throttle bits."""

    def read(self) -> HeatReading: ...


@dataclass(frozen=True, slots=True)
class HeatReading:
    """A look at the board. `temperature_c` is None when no sensor answers.

    `throttle_bits` are `vcgencmd get_throttled`'s: 0 under-voltage, 1 capped, 2 throttled, 3 soft limit, and
    the same + 16 for "has happened since boot".
    """

    temperature_c: float | None
    throttle_bits: int = 0


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A message on its way out, before it is known when it will leave.

    Attributes:
        payload: A `Message`, or the bytes of a channel that carries bytes.
        event_id: For an anomaly event, its id; the outbox keeps the event until it is acknowledged.
        argument: The topic's last level, for channels that have one.
    """

    channel: Channel
    payload: Message | bytes
    argument: str = ""
    event_id: str = ""


@dataclass(frozen=True, slots=True)
class Incoming:
    """A message that kept the contract. `payload` is the channel's model, or bytes.

    Attributes:
        whole_line: Whether it was said to all devices of the line.
        anew: Whether it is signed by a key that replaced the one that spoke here before. Then an older revision
            is no step back: whoever stole a key may have said any revision.
    """

    channel: Channel
    payload: Message | bytes
    argument: str = ""
    whole_line: bool = False
    anew: bool = False


class Link(Protocol):
    """The way to the broker. Never blocks on the network; what cannot leave now is treated as the contract's
    `without_broker` says."""

    @property
    def connected(self) -> bool: ...

    @property
    def outbox_depth(self) -> int: ...

    @property
    def max_packet_bytes(self) -> int | None:
        """The longest packet that the broker takes; None if it has not said so."""

    @property
    def rejected_messages(self) -> int:
        """How many messages to this device broke the contract since it started."""

    def publish(self, message: Outgoing) -> None: ...

    def on_message(self, handler: Callable[[Incoming], None]) -> None:
        """Call `handler` for each message that keeps the contract, on the link's own thread. What breaks the
        contract is counted, logged and dropped before it gets here."""

    def on_connect(self, handler: Callable[[], None]) -> None:
        """Call `handler` after each (re)connection, once the subscriptions stand, on its thread."""

    def start(self) -> None: ...

    def stop(self) -> None:
        """Say offline, flush what can be flushed within two seconds, and disconnect."""


class ReleaseCheck(Protocol):
    """Whether the site's keys have signed a release."""

    def check(self, order: DesiredRelease) -> None:
        """Return if the ordered file may be fetched and installed. May wait for the network for some seconds, so
        never call it on the link's thread.

        Raises:
            ReleaseError: if it may not (a `TrustError`: it is not signed); asking again does not help.
            RepositoryAwayError: if that cannot be known now: nobody answers, or (a `RepositoryExpiredError`) what
                there is has expired. Ask again later.
        """


@dataclass(frozen=True, slots=True)
class Allowance:
    """What the heat allows now (design.md section 5).

    Attributes:
        rate: Share of the full frame rate, 0 to 1.
        threads: Inference threads.
        heatmaps: Whether heatmaps of good parts may be drawn; an anomaly's always is.
        preview: Whether live pictures may be sent.
        reason: Why, for a person.
    """

    rate: float = 1.0
    threads: int = 4
    heatmaps: bool = True
    preview: bool = True
    reason: str = ""
    notes: dict[str, float] = field(default_factory=dict)
