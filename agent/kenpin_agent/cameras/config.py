"""What can stand under `camera` in the configuration: one model a kind, told apart by `kind`.

Only settings; nothing here opens anything.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, SecretStr, field_validator, model_validator

RateHz = Annotated[FiniteFloat, Field(gt=0, le=1000)]
Side = Annotated[int, Field(ge=16, le=10_000)]

Defect = Literal["scratch", "missing_corner", "rust", "wrong_size"]
Design = Literal["bracket", "plate", "ring"]


class _Kind(BaseModel):
    # A stream's URL holds a password: pydantic's own messages must not repeat what they were given.
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class FolderConfig(_Kind):
    """A folder of pictures, in order of name."""

    kind: Literal["folder"] = "folder"
    path: Path
    loop: bool = True
    """Begin again after the last; else the camera ends there."""
    rate_hz: RateHz = 2.0
    recursive: bool = True
    """Also the pictures in its folders."""
    lossless: bool = False
    """Wait until a picture was inspected rather than go on without it."""
    shuffle_seed: int | None = None
    """Give them in an order drawn from this seed, the same in every round."""


class VideoConfig(_Kind):
    """A video file."""

    kind: Literal["video"] = "video"
    path: Path
    loop: bool = True
    rate_hz: RateHz | None = None
    """Pictures a second; the video's own rate if absent."""


class UsbConfig(_Kind):
    """A USB camera, by V4L2. What is not set is left to the camera, whose automatics move the scores."""

    kind: Literal["usb"] = "usb"
    device: Annotated[int, Field(ge=0)] | Annotated[str, Field(pattern=r"^/dev/\S+$")] = 0
    """Its number, or its path; `/dev/v4l/by-id/...` stays the same when another camera is plugged in."""
    width: Side = 640
    height: Side = 480
    fps: RateHz = 30.0
    exposure_ms: Annotated[FiniteFloat, Field(gt=0, le=10_000)] | None = None
    gain: FiniteFloat | None = None
    """In the driver's own unit (`v4l2-ctl --list-ctrls` shows its range)."""
    white_balance_k: Annotated[int, Field(ge=1000, le=20_000)] | None = None
    """Colour temperature in kelvin."""


class RtspConfig(_Kind):
    """A network camera: an RTSP or HTTP (MJPEG) stream."""

    kind: Literal["rtsp"] = "rtsp"
    url: SecretStr
    timeout_s: Annotated[FiniteFloat, Field(gt=0, le=120)] = 5.0
    """How long to wait for the connection, and for each picture."""

    @field_validator("url")
    @classmethod
    def _is_a_stream(cls, url: SecretStr) -> SecretStr:
        try:
            parts = urlsplit(url.get_secret_value())
            known = parts.scheme in {"rtsp", "rtsps", "http", "https"} and bool(parts.hostname)
        except ValueError:
            known = False
        if not known:
            raise ValueError(
                "a URL like rtsp://user:password@camera/stream or http://camera/video is expected"
            )
        return url

    @property
    def address(self) -> str:
        """Where the stream comes from, as it may be shown: without user, password, path and query, since
        makers hide passwords in each of them."""
        parts = urlsplit(self.url.get_secret_value())
        return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"


class SimulatedConfig(_Kind):
    """A conveyor of rendered metal parts (`kenpin_agent.cameras.conveyor`).

    From part `first_defect_at` on, every `every` parts begin with `burst` bad ones of the same kind; the kinds
    take turns.
    """

    kind: Literal["simulated"] = "simulated"
    design: Design = "bracket"
    rate_hz: RateHz = 4.0
    seed: Annotated[int, Field(ge=0)] = 0
    defects: tuple[Defect, ...] = ("scratch", "missing_corner", "rust", "wrong_size")
    """None at all for good parts only."""
    every: Annotated[int, Field(ge=1)] = 60
    burst: Annotated[int, Field(ge=1)] = 3
    first_defect_at: Annotated[int, Field(ge=0)] = 40

    @model_validator(mode="after")
    def _bursts_fit(self) -> Self:
        if self.burst > self.every:
            raise ValueError(f"burst is {self.burst}, more than every ({self.every})")
        return self

    def defect_of(self, part_number: int) -> Defect | None:
        """What is planted in this part, None for a good one."""
        since = part_number - self.first_defect_at
        if since < 0 or not self.defects or since % self.every >= self.burst:
            return None
        return self.defects[since // self.every % len(self.defects)]


CameraConfig = Annotated[
    FolderConfig | VideoConfig | UsbConfig | RtspConfig | SimulatedConfig, Field(discriminator="kind")
]
