"""What a report shows of pictures and time: drawn and measured with the agent's own code."""

from __future__ import annotations

import platform
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from kenpin_agent import heatmap
from kenpin_agent.decoder import Decoder
from kenpin_agent.heads import Head
from kenpin_agent.pictures import encode_jpeg, shrink
from kenpin_agent.prepare import prepare, region
from kenpin_agent.seams import Image, Mask
from kenpin_models.report.data import Cost, Example, Examples
from kenpin_models.samples import Eye, Sample
from kenpin_models.synthetic import SIZES, Defective, Kind, add_defect
from kenpin_wire.manifest import Heatmap

Look = Callable[[Image], tuple[float, Image]]
"""A picture's score, and the picture with its odd places coloured."""

EACH = 4
"""Pictures of a group: what a person looks at before the eye gets tired."""

LONG_SIDE_PX = 360
JPEG_BYTES = 10_000
"""Of each of the 6 · `EACH` pictures at most: 320 kB of the page's 400, written as base64."""

TIMED_RUNS = 15


def look_with(eye: Eye, head: Head, scale: Heatmap, decoder: Decoder | None = None) -> Look:
    """How a release of these parts looks at a picture (see `kenpin_agent.inspect`)."""

    def look(image: Image) -> tuple[float, Image]:
        features = eye.see(image)
        found = head.assess(features)
        odd = decoder.patch_scores(features, prepare(image, eye.spec)) if decoder else found.patch_scores()
        return found.score, heatmap.render(image, odd, scale, region(image, eye.spec), LONG_SIDE_PX)

    return look


def collect(
    look: Look,
    good: Sequence[tuple[Sample, float]],
    bad: Sequence[tuple[Sample, float]],
    rng: np.random.Generator,
) -> Examples:
    """Draw the pictures worth a look.

    Args:
        good: Held-out good pictures and their scores.
        bad: Labelled bad ones. Without any, defects are painted on some of the good ones.
        rng: Decides which, and what they look like.

    Raises:
        PictureError: if a picture can no longer be read.
    """
    worst = _drawn(look, sorted(good, key=_score, reverse=True)[:EACH])
    if bad:
        ordered = sorted(bad, key=_score)
        least, most = ordered[:EACH], ordered[EACH:][-EACH:][::-1]
        return Examples(worst, _drawn(look, least), _drawn(look, most), synthetic=False)
    painted = _paint(look, [sample for sample, _ in good], rng)
    least_found = _one_of_a_kind(sorted(painted, key=lambda p: p.score))
    left = [p for p in painted if p not in least_found]
    most_found = _one_of_a_kind(sorted(left, key=lambda p: -p.score))
    return Examples(worst, tuple(p.example() for p in least_found), tuple(p.example() for p in most_found))


def measure_cost(
    eye: Eye,
    head: Head,
    scale: Heatmap,
    image: Image,
    *,
    decoder: Decoder | None = None,
    budget_ms: float | None = None,
) -> Cost:
    """What a frame like `image` costs here: each stage's median of `TIMED_RUNS`, on one thread as on a device."""
    alone = Eye(eye.spec, eye.encoder, threads=1)
    features, seen, picture = alone.see(image), region(image, eye.spec), prepare(image, eye.spec)
    found = head.assess(features)

    def draw() -> None:
        odd = decoder.patch_scores(features, picture) if decoder else found.patch_scores()
        heatmap.render(image, odd, scale, seen)

    prepare_ms = _median_ms(lambda: prepare(image, eye.spec))
    return Cost(
        prepare_ms=prepare_ms,
        encoder_ms=max(_median_ms(lambda: alone.see(image)) - prepare_ms, 0.0),
        head_ms=_median_ms(lambda: head.assess(features)),
        heatmap_ms=_median_ms(draw),
        budget_ms=budget_ms,
        machine=_machine(),
    )


_PAINTED_ON = 3  # pictures; each gets every kind and size: 45 looks, a second at most


@dataclass(frozen=True, slots=True, eq=False)
class _Painted:
    sample: Sample
    bad: Defective
    score: float
    drawn: Image

    def example(self) -> Example:
        ringed = _ring(self.bad.image, self.bad.mask)
        defect = (self.bad.kind.value, self.bad.size)
        return Example(self.sample.path.name, self.score, _jpeg(ringed), _jpeg(self.drawn), defect)


def _paint(look: Look, samples: Sequence[Sample], rng: np.random.Generator) -> list[_Painted]:
    painted = []
    for index in rng.permutation(len(samples))[:_PAINTED_ON]:
        image = samples[index].image
        for kind in Kind:
            for size in SIZES:
                bad = add_defect(image, kind, size, rng)
                score, drawn = look(bad.image)
                painted.append(_Painted(samples[index], bad, score, drawn))
    return painted


def _one_of_a_kind(ordered: Sequence[_Painted]) -> list[_Painted]:
    """The first of each kind: five stains in a row teach nobody anything."""
    first: dict[Kind, _Painted] = {}
    for painted in ordered:
        first.setdefault(painted.bad.kind, painted)
    return list(first.values())[:EACH]


def _drawn(look: Look, chosen: Sequence[tuple[Sample, float]]) -> tuple[Example, ...]:
    examples = []
    for sample, score in chosen:
        image = sample.image
        examples.append(Example(sample.path.name, score, _jpeg(image), _jpeg(look(image)[1])))
    return tuple(examples)


def _ring(image: Image, mask: Mask) -> Image:
    """The picture, small, with a ring around what was changed: at this size nobody would see it."""
    small = shrink(image, LONG_SIDE_PX).copy()
    if not mask.any():
        return small
    scale = small.shape[1] / image.shape[1]
    (x, y), radius = cv2.minEnclosingCircle(np.argwhere(mask)[:, ::-1].astype(np.float32))
    centre = (round(x * scale), round(y * scale))
    for colour, thickness_px in (((0, 0, 0), 4), ((255, 255, 255), 2)):
        cv2.circle(small, centre, round(radius * scale) + 6, colour, thickness_px, cv2.LINE_AA)
    return small


def _jpeg(image: Image) -> bytes:
    return encode_jpeg(image, JPEG_BYTES, LONG_SIDE_PX)


def _score(entry: tuple[Sample, float]) -> float:
    return entry[1]


def _median_ms(action: Callable[[], object]) -> float:
    times = []
    for _ in range(TIMED_RUNS):
        began_s = time.thread_time()  # the thread's own time: a busy machine does not change it
        action()
        times.append((time.thread_time() - began_s) * 1000)
    return float(np.median(times))


def _machine() -> str:
    """The processor's name, as far as the system tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    names = [
        value for line in lines for key, _, value in [line.partition(":")] if key.strip() == "model name"
    ]
    return names[0].strip() if names else platform.machine()
