"""What a picture costs: a row's release through the agent's own sentence, a baseline through the same steps.

Each is measured in a fresh process that may use one thread a library, on the same frames; medians of 200. What is
counted is the processor's time of that thread: on a quiet machine the time it takes, on a busy one nearly so.
`python -m kenpin_models.benchmark.timing` is that process: it takes its orders as JSON, and answers in JSON.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any, Protocol

import cv2
import numpy as np

from kenpin_agent.decoder import Decoder
from kenpin_agent.encoder import Encoder
from kenpin_agent.inspect import inspect
from kenpin_agent.judge import Judge, JudgeState
from kenpin_agent.pictures import list_pictures, read_picture
from kenpin_agent.prepare import prepare
from kenpin_agent.release import load_release, unpack_release
from kenpin_agent.seams import Frame, Image
from kenpin_agent.threads import one_thread_environment
from kenpin_models.benchmark.protocol import INPUT, PICTURE_PX
from kenpin_models.benchmark.published import Baseline, ScaledLof, Vectors, WhitenedKnn, pixels
from kenpin_models.encoder_file import read_encoder_file
from kenpin_wire.errors import KenpinError
from kenpin_wire.manifest import Decoder as Section

ROUNDS, WARM_UP = 200, 10
HEATMAP_EVERY = 5


@dataclass(frozen=True, slots=True)
class Times:
    """Medians, one thread.

    Attributes:
        encoder_ms: The bare invoke of the network; 0 where there is none.
        head_ms: From its features to the score.
        frame_ms: From a frame in memory to its verdict.
        ratio: `frame_ms` ÷ `encoder_ms`, of neighbours in time; None without a network.
        heatmap_ms: What drawing the heatmap adds; None for what draws none.
    """

    encoder_ms: float
    head_ms: float
    frame_ms: float
    ratio: float | None = None
    heatmap_ms: float | None = None


def time_release(release: Path, frames: Path) -> Times:
    """Measure a release's file on a folder of pictures.

    Raises:
        ReleaseError: if the release is not sound.
        KenpinError: if the measuring process fails.
    """
    with tempfile.TemporaryDirectory(prefix="kenpin-") as scratch:
        folder = Path(scratch) / "release"
        unpack_release(release, folder)
        return _in_fresh_process({"release": str(folder), "frames": str(frames)}, release.name)


def time_baseline(
    head: str, references: Path, frames: Path, *, encoder: Path | None = None, decoder: Path | None = None
) -> Times:
    """Measure a baseline.

    Args:
        head: `lof` or `whitened knn`.
        references: An `.npz` with the array `references`.
        encoder: Its network; None if it looks at raw pixels.
        decoder: A decoder of the network's features, to draw a heatmap with.

    Raises:
        KenpinError: if the measuring process fails.
    """
    orders = {"head": head, "references": str(references), "frames": str(frames)}
    if encoder is not None:
        orders["encoder"] = str(encoder)
    if decoder is not None:
        orders["decoder"] = str(decoder)
    return _in_fresh_process(orders, references.name)


def _in_fresh_process(orders: dict[str, str], where: str) -> Times:
    done = subprocess.run(
        [sys.executable, "-m", __spec__.name, json.dumps(orders)],
        env=one_thread_environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        lines = done.stderr.strip().splitlines() or ["no word"]
        raise KenpinError(f"measuring failed: {lines[-1]}", where=where)
    return Times(**json.loads(done.stdout))


class _Subject(Protocol):
    """What is measured.

    Attributes:
        invoke: The bare network; None where there is none.
    """

    invoke: Callable[[], None] | None

    def verdict(self, image: Image) -> float:
        """Reach a verdict; the milliseconds that the head took of it."""

    def heatmap(self, image: Image) -> float | None:
        """Draw a heatmap; its milliseconds, None if it draws none."""


class _Release:
    def __init__(self, folder: Path) -> None:
        self._release = load_release(folder, threads=1)
        self._by = Judge(self._release.manifest.calibration.threshold)
        self.invoke: Callable[[], None] | None = self._release.encoder.invoke

    def verdict(self, image: Image) -> float:
        return self._inspect(image, heatmap=False)["score"]

    def heatmap(self, image: Image) -> float | None:
        return self._inspect(image, heatmap=True)["heatmap"]

    def _inspect(self, image: Image, heatmap: bool) -> dict[str, float]:
        frame, state = Frame(image, 0, 0.0), JudgeState()
        _, inspection = inspect(
            frame, self._release, state, self._by, wanted=lambda _: heatmap, monotonic_s=time.thread_time
        )
        return inspection.timings_ms


class _Baseline:
    def __init__(self, head: str, references: Path, encoder: Path | None, decoder: Path | None) -> None:
        known = np.load(references)["references"].astype(np.float64)
        self._judge: Baseline = ScaledLof(known) if head == "lof" else WhitenedKnn(known, known)
        self._threshold = float(np.median(self._judge.scores(known[:20])))
        self.invoke: Callable[[], None] | None = None
        self._network: Encoder | None = None
        if encoder is not None:
            self._network = Encoder(encoder, INPUT, read_encoder_file(encoder).pooled, (), threads=1)
            self.invoke = self._network.invoke
        self._decoder = self._open(decoder) if decoder is not None else None

    def verdict(self, image: Image) -> float:
        seen = self._look(image)
        began_s = time.thread_time()
        _ = self._judge.scores(seen)[0] > self._threshold
        return (time.thread_time() - began_s) * 1000

    def heatmap(self, image: Image) -> float | None:
        """As published: what was not reconstructed, through the JET colours, mixed with the picture."""
        if self._network is None or self._decoder is None:
            return None
        picture = prepare(image, INPUT)
        features = self._network.encode(picture)
        began_s = time.thread_time()
        odd = np.clip(self._decoder.patch_scores(features, picture), 0, 255).astype(np.uint8)
        cv2.addWeighted(picture[0].astype(np.uint8), 0.5, cv2.applyColorMap(odd, cv2.COLORMAP_JET), 0.5, 0)
        return (time.thread_time() - began_s) * 1000

    def _open(self, decoder: Path) -> Decoder:
        assert self._network is not None
        sample = self._network.encode(np.zeros((1, INPUT.height, INPUT.width, 3), np.float32))
        section = Section(
            file="decoder.tflite", sha256="0" * 64, size=decoder.stat().st_size,
            kind="standard", reads=["pooled"], gives="picture", output="picture",
        )  # fmt: skip
        return Decoder(decoder, section, "pooled", sample)

    def _look(self, image: Image) -> Vectors:
        if self._network is not None:
            return self._network.encode(prepare(image, INPUT)).pooled[np.newaxis]
        small = cv2.resize(image, (PICTURE_PX, PICTURE_PX), interpolation=cv2.INTER_AREA)
        return pixels(np.asarray(cv2.cvtColor(small, cv2.COLOR_BGR2GRAY), np.uint8)[np.newaxis])


def _measure(subject: _Subject, images: list[Image]) -> Times:
    invokes, heads, frames, heatmaps = [], [], [], []
    for number in range(-WARM_UP, ROUNDS):
        image = images[number % len(images)]
        invoke_ms = _ms(subject.invoke) if subject.invoke else 0.0
        began_s = time.thread_time()
        head_ms = subject.verdict(image)
        frame_ms = (time.thread_time() - began_s) * 1000
        if number >= 0:
            invokes.append(invoke_ms)
            heads.append(head_ms)
            frames.append(frame_ms)
        if number % HEATMAP_EVERY == 0:
            heatmaps.append(subject.heatmap(image))
    return Times(
        encoder_ms=median(invokes),
        head_ms=median(heads),
        frame_ms=median(frames),
        ratio=median(frame / bare for frame, bare in zip(frames, invokes, strict=True))
        if subject.invoke
        else None,
        heatmap_ms=None if None in heatmaps else median(ms for ms in heatmaps if ms is not None),
    )


def _ms(action: Callable[[], object]) -> float:
    began_s = time.thread_time()
    action()
    return (time.thread_time() - began_s) * 1000


def _main(orders: dict[str, Any]) -> None:
    subject: _Subject
    if "release" in orders:
        subject = _Release(Path(orders["release"]))
    else:
        encoder, decoder = (Path(orders[key]) if key in orders else None for key in ("encoder", "decoder"))
        subject = _Baseline(orders["head"], Path(orders["references"]), encoder, decoder)
    images = [read_picture(file) for file in list_pictures(Path(orders["frames"]))]
    sys.stdout.write(json.dumps(asdict(_measure(subject, images))))


if __name__ == "__main__":
    _main(json.loads(sys.argv[1]))
