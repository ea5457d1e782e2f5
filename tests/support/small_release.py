"""A small sound release, made file by file, so that a test can break any of them.

Seven rendered discs, the real encoder at 64 × 64 px, a diagonal `padim` head or another.
"""

from __future__ import annotations

import functools
import hashlib
import io
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from kenpin_agent.encoder import Encoder, Features
from kenpin_agent.heads import (
    Cosine,
    Fusion,
    Head,
    Knn,
    Lof,
    Mahalanobis,
    Padim,
    PatchGaussian,
    PatchKnn,
    Projection,
    Whitening,
    local_densities,
    patch_embedding,
)
from kenpin_agent.prepare import prepare
from kenpin_agent.seams import Image
from kenpin_models.assets import ENCODER_FILE
from kenpin_wire.manifest import Calibration, File, Golden, Heatmap, Input, Manifest
from kenpin_wire.manifest import Encoder as EncoderSection
from kenpin_wire.manifest import Head as HeadSection
from kenpin_wire.messages import ReleaseName

INPUT = Input(width=64, height=64)
MAPS = ("block4", "block7")
KINDS = ("lof", "knn", "cosine", "mahalanobis", "padim", "patch_knn", "fusion")


def part(number: int, *, scratched: bool = False, size: tuple[int, int] = (96, 128)) -> Image:
    """A grey disc, each a little different; shape (*size, 3)."""
    rng = np.random.default_rng(number)
    image = np.full((*size, 3), 90, dtype=np.uint8)
    centre = (size[1] // 2 + int(rng.integers(-2, 3)), size[0] // 2 + int(rng.integers(-2, 3)))
    cv2.circle(image, centre, size[0] // 3, (170, 175, 180), -1, cv2.LINE_AA)
    if scratched:
        cv2.line(image, (centre[0] - 20, centre[1] - 14), (centre[0] + 16, centre[1] + 10), (20, 30, 200), 4)
    noise = rng.normal(0, 3, image.shape)
    return np.clip(image + noise, 0, 255).astype(np.uint8)


@functools.cache
def encoder() -> Encoder:
    return Encoder(ENCODER_FILE, INPUT, "pooled", MAPS)


@functools.cache
def good_features() -> tuple[Features, ...]:
    return tuple(encoder().encode(prepare(part(number), INPUT)) for number in range(7))


def make_head(kind: str) -> Head:
    """A head of this kind, fitted in the plainest way."""
    features = good_features()
    patches = np.stack([patch_embedding(f, MAPS) for f in features])
    gaussian = PatchGaussian(MAPS, patches.mean(axis=0), 1 / (patches.std(axis=0) + np.float32(0.3)))
    pooled = np.stack([f.pooled for f in features])
    match kind:
        case "lof":
            return Lof(gaussian, pooled, *local_densities(pooled, 3), 3)
        case "knn":
            return Knn(gaussian, pooled, 3)
        case "cosine":
            return Cosine(gaussian, pooled.mean(axis=0))
        case "mahalanobis":
            centred = pooled - pooled.mean(axis=0)
            components = np.linalg.svd(centred, full_matrices=False)[2][:3].astype(np.float32)
            shrinks = np.array([-0.5, -0.4, -0.2], np.float32)
            return Mahalanobis(gaussian, Whitening(pooled.mean(axis=0), components, shrinks, 0.1))
        case "padim":
            return Padim(gaussian, 16, 0.5)
        case "fusion":
            members = (Padim(gaussian, 16, 0.5), Knn(gaussian, pooled, 3))
            return Fusion(members, np.array([1.0, 0.5]), np.array([0.5, 0.2]))
        case _:
            flat = patches.reshape(-1, patches.shape[-1])
            matrix = np.diag(1 / (flat.std(axis=0) + np.float32(0.1))).astype(np.float32)
            projection = Projection(MAPS, flat.mean(axis=0), matrix)
            return PatchKnn(projection, ((flat - projection.mean) @ matrix)[::2].copy(), 16, 0.5)


def saved_head(head: Head) -> bytes:
    """A head as a release carries it."""
    stored = io.BytesIO()
    np.savez_compressed(stored, allow_pickle=False, **head.arrays())
    return stored.getvalue()


def release_files(kind: str = "padim") -> dict[str, bytes]:
    """The members of a sound release: `encoder.tflite`, `head.npz` and two golden pictures; no manifest."""
    files = {"encoder.tflite": ENCODER_FILE.read_bytes(), "head.npz": saved_head(make_head(kind))}
    for number, scratched in ((0, False), (1, True)):
        files[f"golden/{number}.png"] = cv2.imencode(".png", part(number, scratched=scratched))[1].tobytes()
    return files


def manifest_for(
    files: Mapping[str, bytes],
    kind: str = "padim",
    version: str = "1",
    golden_pictures: Mapping[str, Image] | None = None,
) -> Manifest:
    """The manifest that goes with `release_files(kind)`, or with other golden pictures in place of its own."""
    head = make_head(kind)
    golden = {"golden/0.png": part(0), "golden/1.png": part(1, scratched=True), **(golden_pictures or {})}

    def entry(name: str) -> dict[str, Any]:
        content = files[name]
        return File(file=name, sha256=hashlib.sha256(content).hexdigest(), size=len(content)).model_dump()

    def score(image: Image) -> float:
        return head.score(encoder().encode(prepare(image, INPUT)))

    good = sorted(score(part(number)) for number in range(10, 20))
    return Manifest(
        release=ReleaseName(name="discs", version=version),
        input=INPUT,
        encoder=EncoderSection(**entry("encoder.tflite"), pooled="pooled", maps=list(MAPS)),
        head=HeadSection(**entry("head.npz"), kind=head.kind, maps=list(MAPS), parameters=head.parameters),
        calibration=Calibration(scores=good, false_rejects=0.01, threshold=good[-1] * 1.5),
        heatmap=Heatmap(normal=1.0, limit=3.0),
        golden=[
            Golden(**entry(name), score=score(image), tolerance=1e-3 * (1 + score(image)))
            for name, image in golden.items()
        ],
    )


def write_zip(path: Path, members: Mapping[str, bytes]) -> Path:
    """Any members as a zip."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def write_release(path: Path, kind: str = "padim", version: str = "1") -> Path:
    """A sound release at `path`."""
    files = release_files(kind)
    manifest = manifest_for(files, kind, version).model_dump_json().encode()
    return write_zip(path, {"manifest.json": manifest, **files})


def members_of(path: Path) -> dict[str, bytes]:
    """A release's members by name."""
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}
