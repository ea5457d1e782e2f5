"""Write a release: one plain zip with the manifest, the encoder, the head's arrays and the golden pictures."""

from __future__ import annotations

import hashlib
import io
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from kenpin_agent.classifier import Classifier
from kenpin_agent.files import write_atomically
from kenpin_agent.heads import Head
from kenpin_agent.pictures import shrink
from kenpin_agent.seams import Image
from kenpin_models.classifier_file import ClassifierFile
from kenpin_models.decoders import TrainedDecoder
from kenpin_models.samples import Eye
from kenpin_wire import manifest as m
from kenpin_wire.errors import ConfigError
from kenpin_wire.messages import ReleaseName

GOLDEN_TOLERANCE = 1e-3
"""Of a golden score, relative. x86-64 and aarch64 differ by 6e-5 in the encoder's outputs (measured); another
colour order or resizing changes a score by several per cent."""

GOLDEN_SIDE_PX = 192
"""Longest side of a golden picture: four take a fifth of a megabyte, whatever the camera's are."""


@dataclass(frozen=True, slots=True)
class Content:
    """What a release is made of, apart from the encoder.

    Attributes:
        golden: Pictures of any size; what of them goes into the release, `golden_pictures` says, and their scores
            and labels are taken here.
        classifier: The second model, if there shall be one.
        decoder: Draws the heatmap, if there shall be one; `heatmap` then says `decoder`.
        report_page: The training's report as HTML; it is written beside the release, too.
    """

    name: ReleaseName
    head: Head
    calibration: m.Calibration
    heatmap: m.Heatmap
    golden: Sequence[Image]
    fitted_on: Sequence[str]
    calibrated_on: Sequence[str]
    report: dict[str, Any]
    classifier: ClassifierFile | None = None
    decoder: TrainedDecoder | None = None
    report_page: str | None = None


def write_release(out: Path, content: Content, eye: Eye) -> m.Manifest:
    """Write the release. A file that was there is replaced once the new one is complete, and not before.

    Raises:
        ConfigError: if the file cannot be written.
    """
    files = {"encoder.tflite": eye.encoder.file.read_bytes(), "head.npz": _head_bytes(content.head)}
    if content.classifier is not None:
        files[content.classifier.section.file] = content.classifier.model
    if content.decoder is not None:
        files[content.decoder.section.file] = content.decoder.content
    if content.report_page is not None:
        files[_PAGE] = content.report_page.encode()
    golden = _golden(content, eye, files)
    manifest = m.Manifest(
        release=content.name,
        input=eye.spec,
        encoder=m.Encoder(
            **_entry("encoder.tflite", files),
            architecture=eye.encoder.architecture,
            pooled=eye.encoder.pooled,
            maps=list(eye.encoder.maps),
            precision=eye.encoder.precision,
            provenance=eye.encoder.provenance,
        ),
        head=m.Head(
            **_entry("head.npz", files),
            kind=content.head.kind,
            maps=list(content.head.maps),
            parameters=content.head.parameters,
        ),
        calibration=content.calibration,
        heatmap=content.heatmap,
        decoder=content.decoder.section if content.decoder else None,
        classifier=content.classifier.section if content.classifier else None,
        golden=golden,
        fitted_on=list(content.fitted_on),
        calibrated_on=list(content.calibrated_on),
        report=content.report,
        report_page=m.File(**_entry(_PAGE, files)) if _PAGE in files else None,
    )
    try:
        write_atomically(out, _zip(manifest, files))
        if _PAGE in files:
            write_atomically(page_beside(out), files[_PAGE])
    except OSError as error:
        raise ConfigError(
            f"the release cannot be written ({error.strerror})",
            where=str(out),
            remedy="Give a file in a folder that exists, can be written to and has room.",
        ) from None
    return manifest


def golden_pictures(images: Sequence[Image], spec: m.Input) -> list[Image]:
    """Pictures to prove a release with that take little room.

    A small picture exercises encoder, head and colours as well as a large one, but is never halved on its way to
    the encoder. So the first is there a second time with each pixel enlarged to a square, until it is at least
    twice as large as pictures are scaled to; as PNG that takes hardly more. The squares' side is odd: halving such
    a picture mixes neighbours, where even squares would only give the small one back, however it is done.
    """
    small = [shrink(image, GOLDEN_SIDE_PX) for image in images]
    width, height = spec.picture_px
    factor = max(-(-2 * height // small[0].shape[0]), -(-2 * width // small[0].shape[1]))
    if factor > 1:
        small.append(small[0].repeat(factor | 1, axis=0).repeat(factor | 1, axis=1))
    return small


def page_beside(release: Path) -> Path:
    """Where the report of a release's file lies: `X.html` beside `X.kenpin`."""
    return release.with_name(release.name.removesuffix(".kenpin") + ".html")


_PAGE = "report.html"


def _golden(content: Content, eye: Eye, files: dict[str, bytes]) -> list[m.Golden]:
    """The golden pictures' entries; the pictures are put among `files`."""
    second = content.classifier
    classifier = Classifier(second.model, second.section) if second else None
    golden = []
    for number, image in enumerate(golden_pictures(content.golden, eye.spec)):
        name = f"golden/{number}.png"
        files[name] = cv2.imencode(".png", image, [cv2.IMWRITE_PNG_COMPRESSION, 9])[1].tobytes()
        score = content.head.score(eye.see(image))
        named = classifier.classify(image) if classifier else None
        golden.append(
            m.Golden(
                **_entry(name, files),
                score=score,
                tolerance=GOLDEN_TOLERANCE * abs(score) + 1e-6,
                label=named.label if named else None,
                confidence=named.confidence if named else None,
            )
        )
    return golden


def _zip(manifest: m.Manifest, files: dict[str, bytes]) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(m.MANIFEST_FILE, manifest.model_dump_json(indent=1))
        for name, data in files.items():
            archive.writestr(name, data)
    return packed.getvalue()


def _head_bytes(head: Head) -> bytes:
    packed = io.BytesIO()
    arrays: dict[str, Any] = {name: _smallest(array) for name, array in head.arrays().items()}
    np.savez(packed, **arrays)  # not compressed: the release's zip does that
    return packed.getvalue()


def _smallest(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """In half precision where that loses nothing (see `fit`)."""
    if array.dtype != np.float32:
        return array
    half = np.clip(array, -65504, 65504).astype(np.float16)
    return half if np.array_equal(half.astype(np.float32), array) else array


def _entry(name: str, files: dict[str, bytes]) -> dict[str, Any]:
    data = files[name]
    return {"file": name, "sha256": hashlib.sha256(data).hexdigest(), "size": len(data)}
