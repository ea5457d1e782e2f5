"""Files that come with the package: the frozen encoder and where it is from."""

from __future__ import annotations

from pathlib import Path

ENCODER_FILE = Path(__file__).with_name("efficientnet_lite0.tflite")
PROVENANCE_FILE = ENCODER_FILE.with_suffix(".json")
