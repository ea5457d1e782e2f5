"""A fleet's worth of brackets: pictures for cameras to play, and releases of an older and a newer model of them.

The older one looks at 64 × 64 px and has a blunt threshold; the newer one sees broken corners and rust at 128 × 96.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from kenpin_agent.cameras.config import Defect
from kenpin_agent.cameras.conveyor import render
from kenpin_agent.encoder import Encoder
from kenpin_agent.heads import Padim, PatchGaussian, patch_embedding
from kenpin_agent.prepare import prepare
from kenpin_agent.seams import Image
from kenpin_controller.demo.plan import Station
from kenpin_models.assets import ENCODER_FILE
from kenpin_wire.manifest import Calibration, File, Golden, Heatmap, Input, Manifest
from kenpin_wire.manifest import Encoder as EncoderSection
from kenpin_wire.manifest import Head as HeadSection
from kenpin_wire.messages import ReleaseName
from support.small_release import saved_head, write_zip

OLD_INPUT, NEW_INPUT = Input(width=64, height=64), Input(width=128, height=96)
OLD_THRESHOLD, NEW_THRESHOLD = 2.6, 1.05
BAD: tuple[Defect, ...] = (
    "missing_corner",
    "rust",
    "wrong_size",
    "rust",
    "missing_corner",
    "scratch",
    "rust",
)


def bracket(number: int, defect: Defect | None = None) -> Image:
    """A picture as the cameras of `play` give it."""
    picture = render(number, 101 + number % 3, defect)[0]
    return np.asarray(cv2.resize(picture, (320, 240), interpolation=cv2.INTER_AREA), np.uint8)


def write_brackets(folder: Path, *, good: int = 153) -> Path:
    """Good ones and a few bad."""
    folder.mkdir()
    for number in range(good):
        cv2.imwrite(str(folder / f"{number:03}.png"), bracket(1000 + 7 * number))
    for number, defect in enumerate(BAD):
        cv2.imwrite(str(folder / f"{good + number:03}.png"), bracket(40 + number, defect))
    return folder


def play(line: str, device: str, pictures: Path, *, seed: int, rate_hz: float) -> Station:
    """A camera that plays them in an order of its own."""
    camera: dict[str, Any] = {
        "kind": "folder",
        "path": str(pictures),
        "rate_hz": rate_hz,
        "shuffle_seed": seed,
        "loop": True,
    }
    return Station(line, device, "bracket", camera, {"kind": "simulated"})


def write_bracket_release(path: Path, version: str, input_: Input, threshold: float) -> Path:
    """A release of `bracket` at this input size."""
    maps = ("block4", "block7") if input_.width > 64 else ("block4",)
    encoder = Encoder(ENCODER_FILE, input_, "pooled", maps)

    def embed(image: Image) -> Any:
        return encoder.encode(prepare(image, input_))

    fitted = np.stack([patch_embedding(embed(bracket(9 * n)), maps) for n in range(36)])
    gaussian = PatchGaussian(maps, fitted.mean(axis=0), 1 / (fitted.std(axis=0) + np.float32(0.3)))
    head = Padim(gaussian, 16, 0.5)
    files = {"encoder.tflite": ENCODER_FILE.read_bytes(), "head.npz": saved_head(head)}
    golden = {"golden/0.png": bracket(3), "golden/1.png": bracket(4, "rust")}
    for name, image in golden.items():
        files[name] = cv2.imencode(".png", image)[1].tobytes()
    held_out = sorted(head.score(embed(bracket(503 + 7 * n))) for n in range(60))
    manifest = Manifest(
        release=ReleaseName(name="bracket", version=version),
        input=input_,
        encoder=EncoderSection(
            **_entry("encoder.tflite", files),
            architecture="EfficientNet-Lite0",
            pooled="pooled",
            maps=list(maps),
        ),
        head=HeadSection(
            **_entry("head.npz", files), kind=head.kind, maps=list(maps), parameters=head.parameters
        ),
        calibration=Calibration(scores=held_out, false_rejects=0.01, threshold=threshold),
        heatmap=Heatmap(normal=held_out[-1], limit=2.2 * held_out[-1]),
        golden=[
            Golden(**_entry(name, files), score=score, tolerance=1e-3 * (1 + score))
            for name, score in ((name, head.score(embed(image))) for name, image in golden.items())
        ],
    )
    return write_zip(path, {"manifest.json": manifest.model_dump_json().encode(), **files})


def _entry(name: str, files: dict[str, bytes]) -> dict[str, Any]:
    content = files[name]
    return File(file=name, sha256=hashlib.sha256(content).hexdigest(), size=len(content)).model_dump()
