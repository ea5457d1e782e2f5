"""Everything that a report needs, as values. What a training did not have is empty or None, and its section is
left out, or says in a line what would bring it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from kenpin_wire.manifest import Calibration, Input


@dataclass(frozen=True, slots=True)
class Pictures:
    """How many pictures took which part. `left_out` could not be used; the warnings say why."""

    fitted: int
    held_out: int
    bad: int = 0
    left_out: int = 0


@dataclass(frozen=True, slots=True)
class Scores:
    """What pictures scored that the head had not been fitted on.

    Attributes:
        held_out: Good pictures, by the release's own head.
        out_of_fold: Good pictures, by heads fitted on the other folds.
        defects: Synthetic ones, by kind and size; the size is a share of the square root of the picture's area.
        bad: Labelled bad pictures.
    """

    held_out: Sequence[float] = ()
    out_of_fold: Sequence[float] = ()
    defects: Mapping[tuple[str, float], Sequence[float]] = field(default_factory=dict)
    bad: Sequence[float] = ()

    @property
    def good(self) -> list[float]:
        return [*self.held_out, *self.out_of_fold]

    @property
    def synthetic(self) -> list[float]:
        return [score for scores in self.defects.values() for score in scores]


@dataclass(frozen=True, slots=True)
class Example:
    """A picture, and where it is odd.

    Attributes:
        name: The file that it is from.
        picture, heatmap: JPEG.
        defect: Of a synthetic defect, its kind and its size as in `Scores`; else None.
    """

    name: str
    score: float
    picture: bytes
    heatmap: bytes
    defect: tuple[str, float] | None = None


@dataclass(frozen=True, slots=True)
class Examples:
    """Pictures worth a look, the most telling first.

    Attributes:
        good: The held-out good ones that scored highest.
        least_found: The bad ones that scored lowest.
        most_found: The bad ones that scored highest.
        synthetic: Whether the bad ones are synthetic, since none were labelled.
    """

    good: tuple[Example, ...] = ()
    least_found: tuple[Example, ...] = ()
    most_found: tuple[Example, ...] = ()
    synthetic: bool = True


@dataclass(frozen=True, slots=True)
class Tried:
    """A way that was tried, and how it did in the rehearsal.

    Attributes:
        head: Its name.
        input: What the picture was scaled to, and its tiles.
        found: The share of synthetic defects found at few false rejects; `auroc` on the same.
        bad_found, bad_auroc: On labelled bad pictures; None without any.
        mark: What they are ranked by, 0 to 1.
        frame_ms: From frame to verdict; None where it was not measured.
        chosen: Whether the release is made so.
    """

    head: str
    input: Input
    auroc: float
    found: float
    mark: float
    bad_auroc: float | None = None
    bad_found: float | None = None
    frame_ms: float | None = None
    chosen: bool = False


@dataclass(frozen=True, slots=True)
class Cost:
    """Medians in milliseconds, one thread, of one frame.

    Attributes:
        heatmap_ms: On demand only, not a part of the verdict.
        budget_ms: What a frame may cost up to its verdict; None if nobody said.
        machine: Where it was measured.
    """

    prepare_ms: float
    encoder_ms: float
    head_ms: float
    heatmap_ms: float
    budget_ms: float | None = None
    machine: str = ""

    @property
    def frame_ms(self) -> float:
        """From frame to verdict."""
        return self.prepare_ms + self.encoder_ms + self.head_ms


@dataclass(frozen=True, slots=True)
class Line:
    """A curve's line: its name in the legend, and its points (x, y)."""

    name: str
    points: Sequence[tuple[float, float]]


@dataclass(frozen=True, slots=True)
class Curve:
    """How something learned went.

    Attributes:
        meaning: One plain sentence: what it means for the line.
        kept: The x whose state the release carries; None if it is the last.
    """

    title: str
    meaning: str
    x_label: str
    y_label: str
    lines: tuple[Line, ...]
    kept: float | None = None


@dataclass(frozen=True, slots=True)
class Parity:
    """The encoder in int8 beside the same in float32, on the same pictures.

    Attributes:
        pictures: How many were compared.
        output_error: How far what they see is apart: the differences' root mean square by the values', of the worst
            output.
        encoder_ms, size_bytes, auroc: Of float32 and of int8; None where it was not measured. The area is that of
            good against bad, or synthetic without any.
        changed_verdicts: Pictures that are judged otherwise, each by its own threshold; None as before.
    """

    pictures: int
    output_error: float
    encoder_ms: tuple[float, float] | None = None
    size_bytes: tuple[int, int] | None = None
    auroc: tuple[float, float] | None = None
    changed_verdicts: int | None = None


@dataclass(frozen=True, slots=True)
class ReportData:
    """See the module's docstring.

    Attributes:
        release: `NAME-VERSION`.
        method: How the encoder was taught.
        head, input: As in `Tried`.
        picture_px: Width and height of a typical picture, for what sizes mean; None if unknown.
        provenance: Name and value, for whoever must know what exactly this is: encoder, seed, versions, hashes.
        warnings: A line for each picture that was left out, and the like.
    """

    release: str
    created: datetime
    method: str
    head: str
    input: Input
    calibration: Calibration
    pictures: Pictures
    scores: Scores
    picture_px: tuple[int, int] | None = None
    examples: Examples = field(default_factory=Examples)
    tried: tuple[Tried, ...] = ()
    cost: Cost | None = None
    curves: tuple[Curve, ...] = ()
    parity: Parity | None = None
    provenance: tuple[tuple[str, str], ...] = ()
    warnings: tuple[str, ...] = ()
