"""The manifest of a release: everything that must be true together for a score to mean the same everywhere.

A release is one plain zip, `NAME-VERSION.kenpin`, holding `manifest.json` and the files it names. This module
describes the manifest only; reading the zip is the agent's, writing it the trainer's.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import (
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    FiniteFloat,
    ValidationError,
    model_validator,
)

from kenpin_wire.errors import ReleaseError
from kenpin_wire.faults import first_fault
from kenpin_wire.messages import ReleaseName, Sha256, now

SCHEMA_VERSION = 2
MANIFEST_FILE = "manifest.json"
MAX_ENCODED_PX = 8_000_000
"""Of a picture, through the encoder: seconds on a Pi, and 96 MB. More is a mistake."""

MAX_LABELS, MAX_LABEL_LENGTH = 1000, 80

HeadKind = Literal["lof", "knn", "cosine", "mahalanobis", "padim", "patch_knn", "fusion"]
DecoderKind = Literal["standard", "mobile", "slim"]
Precision = Literal["float32", "int8"]
FileName = Annotated[str, Field(pattern=r"^(golden/)?[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*$", max_length=80)]
"""A file inside the zip: no absolute path, no `..`, no folder but `golden/`."""
Label = Annotated[str, Field(min_length=1, max_length=MAX_LABEL_LENGTH)]


class Section(BaseModel):
    """A part of the manifest. Unknown fields are ignored, so that an older agent reads a newer trainer's
    manifest as long as the schema version is the same."""

    model_config = ConfigDict(extra="ignore", frozen=True)


class File(Section):
    """A file of the release and its hash."""

    file: FileName
    sha256: Sha256
    size: Annotated[int, Field(gt=0)]


class Tiles(Section):
    """A large picture is looked at in `columns` × `rows` parts, each as large as the encoder's input; their maps
    are put together to one, their pooled vectors are averaged.

    Neighbours overlap, and each gives the map up to the middle of what they share: an encoder sees nothing beyond
    a tile's edge, and what it says of places near one is off by as much as good parts differ.
    """

    columns: Annotated[int, Field(ge=1, le=16)] = 1
    rows: Annotated[int, Field(ge=1, le=16)] = 1
    overlap_px: Annotated[int, Field(ge=0, le=256)] = 64
    """Twice a multiple of the encoder's stride."""


class Input(Section):
    """How a camera's picture becomes the encoder's input: cropped, scaled, its colours put in order.

    The encoder takes float32 of shape (1, height, width, 3) with pixel values 0 to 255; any normalisation is
    inside the model.
    """

    width: Annotated[int, Field(ge=32, le=1024)] = 128
    height: Annotated[int, Field(ge=32, le=1024)] = 128
    color: Literal["RGB"] = "RGB"
    crop: Literal["none", "center_square"] = "none"
    resize: Literal["area", "linear"] = "area"
    tiles: Tiles | None = None
    """None for a picture that is looked at whole. Width and height are a tile's."""

    def __str__(self) -> str:
        """`160×120`; with tiles `576×784 in 1×3 tiles`."""
        width, height = self.picture_px
        in_tiles = f" in {self.tiles.columns}×{self.tiles.rows} tiles" if self.tiles else ""
        return f"{width}×{height}{in_tiles}"

    @property
    def picture_px(self) -> tuple[int, int]:
        """Width and height that a picture is scaled to; with tiles, what they cover together."""
        if self.tiles is None:
            return self.width, self.height
        columns, rows, overlap_px = self.tiles.columns, self.tiles.rows, self.tiles.overlap_px
        return (
            columns * self.width - (columns - 1) * overlap_px,
            rows * self.height - (rows - 1) * overlap_px,
        )

    @property
    def encoded_px(self) -> int:
        """The pixels that go through the encoder for a picture: what it costs."""
        return self.width * self.height * (self.tiles.columns * self.tiles.rows if self.tiles else 1)

    @model_validator(mode="after")
    def _tiles_make_sense(self) -> Self:
        if self.tiles is not None and 2 * self.tiles.overlap_px > min(self.width, self.height):
            raise ValueError("tiles overlap by more than half")
        if self.encoded_px > MAX_ENCODED_PX:
            raise ValueError(f"{self.encoded_px} pixels for the encoder, more than {MAX_ENCODED_PX}")
        return self


class Encoder(File):
    """The network. Outputs are found by name, not by order: the pooled vector, then each map."""

    architecture: str = ""
    pooled: str
    maps: list[str]
    precision: Precision = "float32"
    """Of weights and arithmetic; inputs and outputs are float32 in either."""
    provenance: str = ""


class Head(File):
    """The scorer and its arrays. `maps` names the encoder's maps that it, or the heatmap, is made from."""

    kind: HeadKind
    maps: list[str] = Field(default_factory=list)
    parameters: dict[str, FiniteFloat] = Field(default_factory=dict)


class Calibration(Section):
    """What held-out good pictures scored, and the threshold that follows.

    `scores` are all of them, ascending, so that a threshold can be set as a false-reject rate on the device.
    """

    scores: list[FiniteFloat]
    false_rejects: Annotated[FiniteFloat, Field(gt=0, lt=1)]
    threshold: FiniteFloat
    method: str = ""
    note: str = ""


class Decoder(File):
    """A network that draws the heatmap from what the encoder saw; it runs on demand.

    Its inputs are called as the encoder's outputs that it `reads`, and have their shapes. Its one output is either
    a picture, as it would be if it were good, float32 (1, h, w, 3), RGB, 0 to 255; or a map of how odd each
    place is, float32 (1, h, w, 1).
    """

    kind: DecoderKind
    reads: Annotated[list[str], Field(min_length=1)]
    gives: Literal["picture", "map"]
    output: str


class Classifier(File):
    """A second model that names what was judged normal; it never sees what the head finds odd.

    It takes one picture by its own `input`, red-green-blue: float32 with `black` to `white` for pixel values 0 to
    255; uint8 with pixel values as they are; or int8 with 128 less. It gives a number for each label, shape (1, n),
    float32 or quantised.
    """

    input: Input
    output: str
    labels: Annotated[list[Label], Field(min_length=1, max_length=MAX_LABELS)]
    gives: Literal["probabilities", "logits"] = "probabilities"
    black: FiniteFloat = 0.0
    white: FiniteFloat = 255.0

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if self.input.tiles is not None:
            raise ValueError("a classifier sees the picture whole, not in tiles")
        return self


class Heatmap(Section):
    """What is drawn and its colour scale, which is absolute: `normal` is drawn as the first colour, `limit` as
    the colour of the threshold, and so a good part stays calm whatever its own maximum.

    `patch` draws the head's own patch scores; `decoder` what the decoder finds."""

    kind: Literal["patch", "decoder"] = "patch"
    normal: FiniteFloat
    limit: FiniteFloat


class Golden(File):
    """A picture and the score that it must give on every device, within `tolerance`; with a classifier also the
    label, about as surely."""

    score: FiniteFloat
    tolerance: Annotated[FiniteFloat, Field(gt=0)]
    label: str | None = None
    confidence: Annotated[FiniteFloat, Field(ge=0, le=1)] | None = None


class Manifest(Section):
    """See the module's docstring."""

    schema_version: int = SCHEMA_VERSION
    release: ReleaseName
    created: AwareDatetime = Field(default_factory=now)
    input: Input
    encoder: Encoder
    head: Head
    calibration: Calibration
    heatmap: Heatmap
    decoder: Decoder | None = None
    classifier: Classifier | None = None
    golden: Annotated[list[Golden], Field(min_length=1)]
    fitted_on: list[Sha256] = Field(default_factory=list)
    """`picture_id` of every picture that the head was fitted on: never counted in an evaluation."""
    calibrated_on: list[Sha256] = Field(default_factory=list)
    report: dict[str, Any] = Field(default_factory=dict)
    """How it was made: arguments, candidates and their cross-validated results, program versions."""
    report_page: File | None = None
    """The same for people, with pictures: one HTML page, whole in itself. It is for the controller to show; a
    device leaves it in the zip."""


def parse_manifest(text: bytes, where: str) -> Manifest:
    """Read a manifest.

    Args:
        text: The JSON.
        where: The release's file, for the error.

    Raises:
        ReleaseError: if it is no manifest, or one of a newer schema.
    """
    try:
        schema = _Schema.model_validate_json(text).schema_version
    except ValidationError:
        raise ReleaseError("its manifest is not a Kenpin manifest", where=where, remedy=_REMAKE) from None
    if schema > SCHEMA_VERSION:
        raise ReleaseError(
            f"made for release schema {schema}, this program reads up to {SCHEMA_VERSION}",
            where=where,
            remedy="Update the program on this device, or make the release with an older trainer.",
        )
    try:
        return Manifest.model_validate_json(text)
    except ValidationError as error:
        field, what = first_fault(error)
        raise ReleaseError(f"manifest field {field}: {what}", where=where, remedy=_REMAKE) from None


class _Schema(Section):
    schema_version: int


_REMAKE = "Make the release again with `kenpin train`, or fetch it again."
