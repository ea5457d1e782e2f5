"""Decoders: networks that draw the heatmap, taught on good pictures only. Teaching needs `kenpin[train]`.

| kind       | reads             | gives                                       | weights at 96 × 96 px |
|------------|-------------------|---------------------------------------------|-----------------------|
| `standard` | the pooled vector | the picture, as it would be if it were good | 20 to 21 million      |
| `mobile`   | the pooled vector | the same, faster and less well              | 19 to 20 million      |
| `slim`     | the maps          | how odd each place is                       | 0.15 million          |

`standard` and `mobile` are the published ones; `slim` is our own. `kenpin_models.decoders.compare` measures
them beside the patches of the head.
"""

# ruff: noqa: PLC0415 (torch is only where decoders are taught; asking for it comes first)

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from kenpin_agent.decoder import Decoder, Floats
from kenpin_agent.judge import false_reject_threshold
from kenpin_agent.prepare import prepare
from kenpin_agent.release import MAX_RELEASE_BYTES
from kenpin_agent.seams import Image
from kenpin_models.decoders.export import export
from kenpin_models.decoders.pictures import image_of
from kenpin_models.extras import need
from kenpin_models.hush import hushed
from kenpin_models.rehearse import patch_limit
from kenpin_models.samples import Eye, Progress, Sample, silent
from kenpin_wire import manifest as m
from kenpin_wire.errors import ConfigError

KINDS: tuple[m.DecoderKind, ...] = get_args(m.DecoderKind)

DECODER_FILE = "decoder.tflite"

GRID_PX = 8
"""Of the picture, a cell of the grid that a published decoder starts from: 12 × 12 cells for 96 × 96 px."""

_ROOM_BYTES = 16 * 1024 * 1024
"""Of a release, left for all that is not the decoder."""


@dataclass(frozen=True, eq=False)
class TrainedDecoder:
    """A decoder that was taught.

    Attributes:
        content: The `.tflite`, weights in half precision.
        reads: The encoder's outputs that are its inputs.
        gives: See `kenpin_wire.manifest.Decoder`.
        curves: By name, a value for each epoch.
        parameters: How many weights it has.
    """

    content: bytes
    kind: m.DecoderKind
    reads: tuple[str, ...]
    gives: Literal["picture", "map"]
    output: str
    curves: dict[str, list[float]]
    parameters: int

    @property
    def section(self) -> m.Decoder:
        """What the manifest says of it; the file is `DECODER_FILE`."""
        return m.Decoder(
            file=DECODER_FILE,
            sha256=hashlib.sha256(self.content).hexdigest(),
            size=len(self.content),
            kind=self.kind,
            reads=list(self.reads),
            gives=self.gives,
            output=self.output,
        )

    def open(self, eye: Eye, image: Image) -> Decoder:
        """The agent's own decoder, to draw with.

        Args:
            image: Any picture of the kind; the decoder is tried out on it.
        """
        return Decoder(self.content, self.section, eye.encoder.pooled, eye.see(image))


def train_decoder(
    kind: m.DecoderKind,
    eye: Eye,
    sources: Sequence[Sample | Image],
    *,
    seed: int = 0,
    progress: Progress = silent,
) -> TrainedDecoder:
    """Teach a decoder.

    Args:
        eye: The encoder at the release's input; it stays as it is.
        sources: The good pictures that the head is fitted on, at least one; held-out ones stay out here too.
        seed: The same pictures and seed make the same decoder, on the same machine.

    Raises:
        ConfigError: if torch or a converter is missing, or a published decoder is asked for pictures in tiles or
            so large that no release takes it.
    """
    where = f"--decoder {kind}"
    if kind != "slim":
        _check_published(eye.spec, where)
    need("torch", "litert_torch", "ai_edge_quantizer", for_what=where)
    with hushed():
        from kenpin_models.decoders import published, slim_lesson

    sample = eye.see(image_of(sources[0]))
    if kind == "slim":
        module, losses = slim_lesson.train_slim(sources, eye, seed=seed, progress=progress)
        shapes = {name: (1, *sample.maps[name].shape) for name in eye.encoder.maps}
    else:
        module, losses = published.train_published(
            sources, eye, mobile=kind == "mobile", seed=seed, progress=progress
        )
        shapes = {eye.encoder.pooled: (1, sample.pooled.size)}
    gives: Literal["picture", "map"] = "map" if kind == "slim" else "picture"
    progress("exporting the decoder", 0, 1)
    content = export(module, shapes, gives)
    progress("exporting the decoder", 1, 1)
    parameters = sum(weights.numel() for weights in module.parameters())
    return TrainedDecoder(content, kind, tuple(shapes), gives, gives, {"loss": losses}, parameters)


def heatmap_scale(
    decoder: Decoder, eye: Eye, held_out: Sequence[Sample | Image], false_rejects: float
) -> m.Heatmap:
    """The colour scale of a decoder's heatmaps, from good pictures that it has not seen, as the head's patch scores
    get theirs (see `kenpin_models.calibrate`).

    Args:
        held_out: At least one.
    """
    drawn = [draw(decoder, eye, image_of(source)) for source in held_out]
    normal = float(np.median([np.median(scores) for scores in drawn]))
    limit = false_reject_threshold([patch_limit(scores) for scores in drawn], false_rejects)
    return m.Heatmap(kind="decoder", normal=normal, limit=max(limit, normal + 1e-6))


def draw(decoder: Decoder, eye: Eye, image: Image) -> Floats:
    """What the decoder finds in a picture: how odd each place is, shape (h, w)."""
    return decoder.patch_scores(eye.see(image), prepare(image, eye.spec))


def _check_published(spec: m.Input, where: str) -> None:
    if spec.tiles is not None:
        raise ConfigError(
            "the published decoders draw one whole picture, and this one is looked at in tiles",
            where=where,
            remedy="Use --decoder slim, or a --size that needs no tiles.",
        )
    dense_bytes = 2 * 1024 * 128 * (spec.width // GRID_PX) * (spec.height // GRID_PX)
    if dense_bytes > MAX_RELEASE_BYTES - _ROOM_BYTES:
        raise ConfigError(
            f"the published decoder of {spec.width} × {spec.height} pixels takes {dense_bytes / 1e6:.0f} MB, "
            f"more than any release may",
            where=where,
            remedy="Use --decoder slim, or a smaller --size.",
        )
