"""Cameras: everything that gives `seams.Frame`s, opened from its configuration."""

from __future__ import annotations

from kenpin_agent.cameras.config import (
    CameraConfig,
    FolderConfig,
    RtspConfig,
    SimulatedConfig,
    UsbConfig,
    VideoConfig,
)
from kenpin_agent.cameras.folder import FolderCamera
from kenpin_agent.cameras.opencv import StreamCamera, UsbCamera, VideoCamera
from kenpin_agent.cameras.simulated import SimulatedCamera
from kenpin_agent.seams import Camera, Clock

__all__ = ["CameraConfig", "open_camera"]


def open_camera(config: CameraConfig, clock: Clock) -> Camera:
    """Open the camera that `config` describes.

    Raises:
        CameraError: if it cannot be opened now; trying again later may help.
        ConfigError: if what it names is not there (a file, a folder with pictures).
    """
    match config:
        case FolderConfig():
            return FolderCamera(config, clock)
        case VideoConfig():
            return VideoCamera(config, clock)
        case UsbConfig():
            return UsbCamera(config, clock)
        case RtspConfig():
            return StreamCamera(config, clock)
        case SimulatedConfig():
            return SimulatedCamera(config, clock)
