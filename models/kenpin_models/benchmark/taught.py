"""The encoders that are not shipped: taught ones, the published design's, and those in int8. Each is made once and
kept; making one needs torch."""

# ruff: noqa: PLC0415 (torch is only where encoders are made; asking for it comes first)

from __future__ import annotations

import hashlib
import tempfile
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kenpin_agent.files import write_atomically
from kenpin_agent.pictures import picture_id
from kenpin_agent.prepare import prepare
from kenpin_agent.seams import Image
from kenpin_models.benchmark.protocol import INPUT, SIZE_PX, Pictures, as_image, write_reference
from kenpin_models.benchmark.rows import PUBLISHED, WIDE, Row, slug
from kenpin_models.benchmark.store import Result, code_hash
from kenpin_models.encoder_file import EncoderFile, read_encoder_file, shipped_encoder
from kenpin_models.encoders.plan import EncoderPlan
from kenpin_models.encoders.quantize import quantize
from kenpin_models.extras import need
from kenpin_models.finetune.settings import DEFAULTS, FineTuneSettings, Method, method_named

if TYPE_CHECKING:
    from kenpin_models.benchmark.lab import Lab

SHIPPED = EncoderPlan("efficientnet-lite0")
HALF = EncoderPlan("mobilenetv2", alpha=0.5, pooled="last", weights="none")
"""The published design's network. No package on PyPI has weights for it, so it begins with random ones."""
WHOLE = EncoderPlan("mobilenetv2", alpha=1.0, pooled="last")

LAST_FEATURES = 1280

HALF_SETTINGS = replace(DEFAULTS["doc"], freeze=-1, steps=300, round_steps=60)
"""Everything is learnt, and for longer, as nothing was learnt before."""


@dataclass(frozen=True, slots=True, eq=False)
class FashionPicture:
    """A picture as `finetune` takes it."""

    pixels: Pictures

    @property
    def id(self) -> str:
        return picture_id(self.image)

    @property
    def image(self) -> Image:
        return as_image(self.pixels)


def encoder_facts(row: Row, seed: int, lab: Lab) -> Result:
    """What a row's encoder follows from."""
    own: Result = {"precision": row.precision}
    if row.precision == "int8":  # calibrated on good pictures
        own |= lab.facts(seed) | {"quantized by": code_hash("kenpin_models.encoders.quantize")}
    if row.method == "frozen":
        return own | {"encoder": hashlib.sha256(shipped_encoder().file.read_bytes()).hexdigest()}
    own["code"] = code_hash("kenpin_models.encoders.build", "kenpin_models.encoders.export")
    if row.method == WIDE:
        return own | {"plan": str(WHOLE)}
    plan, method, settings = _lesson(row, lab)
    return (
        own
        | lab.facts(seed)
        | {
            "plan": str(plan),
            "method": method,
            "settings": asdict(settings),
            "teaching": code_hash("kenpin_models.finetune.tune", without=("kenpin_models.samples",)),
        }
    )


def find_encoder(row: Row, seed: int, lab: Lab) -> EncoderFile:
    """A row's encoder, made now if it has not been yet.

    Raises:
        ConfigError: if it cannot be made here.
    """
    if row.method == "frozen" and row.precision == "float32":
        return shipped_encoder()
    name = slug("encoder", row.method, row.precision, None if row.method == WIDE else f"s{seed}")
    facts = encoder_facts(row, seed, lab)
    file = lab.store.file(name, facts, "-network.tflite")
    lab.store.result(name, facts, lambda: _make(row, seed, lab, file))
    return read_encoder_file(file)


def find_decoder(lab: Lab) -> Path:
    """The published dense decoder for the published network's features, made now if it has not been yet. Its weights
    are random: it is here for its cost alone, which does not depend on them.

    Raises:
        ConfigError: if it cannot be made here.
    """
    learning = ("decoders", "decoders.pictures", "samples")
    unused = tuple(f"kenpin_models.{name}" for name in learning)
    facts = {"code": code_hash("kenpin_models.decoders.published", without=unused)}
    file = lab.store.file("decoder-published", facts, "-network.tflite")

    def make() -> Result:
        need("torch", "litert_torch", "ai_edge_quantizer", for_what="the published decoder")
        from kenpin_models.decoders.export import export
        from kenpin_models.decoders.published import Published

        module = Published(LAST_FEATURES, SIZE_PX, SIZE_PX, mobile=False).eval()
        content = export(module, {"pooled": (1, LAST_FEATURES)}, "picture")
        write_atomically(file, content)
        return {"parameters": sum(weights.numel() for weights in module.parameters())}

    lab.store.result("decoder-published", facts, make)
    return file


def _make(row: Row, seed: int, lab: Lab, file: Path) -> Result:
    """Write the encoder to `file`, and its description beside it.

    Returns:
        What is to be known of how it was made.
    """
    if row.precision == "int8":
        need("ai_edge_quantizer", for_what="int8")
        plain = find_encoder(replace(row, precision="float32"), seed, lab)
        good = lab.protocol(seed).good
        tensors = (prepare(as_image(good[i]), INPUT) for i in lab.split(seed)[0])
        return quantize(plain, tensors, file, lab.progress)[1].as_report()
    need("torch", "litert_torch", for_what=row.method)
    from kenpin_models.encoders.build import build
    from kenpin_models.encoders.export import export

    module, figures = (build(WHOLE), Result()) if row.method == WIDE else _teach(row, seed, lab)
    export(module, file)
    return figures


def _lesson(row: Row, lab: Lab) -> tuple[EncoderPlan, Method, FineTuneSettings]:
    plan, method = (
        (HALF, method_named("doc")) if row.method == PUBLISHED else (SHIPPED, method_named(row.method))
    )
    settings = HALF_SETTINGS if row.method == PUBLISHED else DEFAULTS[method]
    steps = lab.setting.steps
    return plan, method, settings if steps is None else replace(settings, steps=steps, round_steps=steps)


def _teach(row: Row, seed: int, lab: Lab) -> tuple[Any, Result]:
    from kenpin_models.finetune.tune import teach

    plan, method, settings = _lesson(row, lab)
    protocol = lab.protocol(seed)
    target = [FashionPicture(protocol.good[i]) for i in lab.split(seed)[0]]
    with tempfile.TemporaryDirectory(prefix="kenpin-") as scratch:
        reference = write_reference(protocol.reference, Path(scratch) / "reference")
        # What the frozen blocks give is the same for all methods. The published network has none, and all its
        # pictures take a gigabyte.
        shared = lab.store.file(f"lesson-s{seed}", lab.facts(seed), "")
        workdir = Path(scratch) if row.method == PUBLISHED else shared
        workdir.mkdir(exist_ok=True)
        taught = teach(
            method, plan, target, reference, INPUT,
            workdir=workdir, seed=seed, settings=settings, progress=lab.progress,
        )  # fmt: skip
    module = taught.module
    if row.method == PUBLISHED:
        # LOF is to see the network's own 1,280 features, which were taught through the embedding.
        module.plan, module.embedding = replace(module.plan, embedding=0), None
    return module, {"seconds": taught.seconds}
