"""What the benchmark found, as plain data: the report, the plots and the targets are all made from it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from kenpin_models.benchmark.drawers import Drawer
from kenpin_models.benchmark.parts import Trial
from kenpin_models.benchmark.rows import Row
from kenpin_models.benchmark.timing import Times


@dataclass(frozen=True, slots=True)
class Spread:
    """A figure over the seeds: its mean, the least and the greatest."""

    mean: float
    least: float
    greatest: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        return cls(sum(values) / len(values), min(values), max(values))


@dataclass(frozen=True, slots=True)
class Line:
    """A row of the protocol's table.

    Attributes:
        heads: The head of each seed; only `auto` has different ones.
        auroc, tpr: Over the seeds; `tpr` at 1 % false rejects.
        rejected: Test sneakers above the row's own threshold; None for a baseline, which has none.
        parameters: Of the network. `size_bytes`: of all that a device must have.
        times: None if not measured.
        good, bad: The scores of the first seed, for the plots.
    """

    row: Row
    heads: tuple[str, ...]
    auroc: Spread
    tpr: Spread
    rejected: Spread | None
    parameters: int
    size_bytes: int
    times: Times | None
    good: Sequence[float]
    bad: Sequence[float]


@dataclass(frozen=True, slots=True)
class PartLine:
    """A row of the table of real parts; figures as `evaluate` gives them, over the seeds; None without masks."""

    trial: Trial
    heads: tuple[str, ...]
    figures: dict[str, Spread | None]


@dataclass(frozen=True, slots=True)
class RejectLine:
    """Never used good pictures of one part above the threshold, over the seeds."""

    part: str
    n_unused: int
    calibrated_on: int
    rejected: Spread
    heads: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class DrawerLine:
    """A row of the table of decoders; attributes as `decoders.compare.DecoderRow`'s."""

    drawer: Drawer
    pixel_auroc: Spread
    aupro: Spread
    ms: float
    encoder_ms: float
    parameters: int | None
    size_bytes: int | None
    reconstruction_error: float | None


@dataclass(frozen=True, slots=True)
class Versus:
    """The default and the published design, frame by frame in turns.

    Attributes:
        published_ms, kenpin_ms: Frame to verdict.
        ratio: Frames a second of the default ÷ those of the published design, the median over the turns.
        published_drawn_ms, kenpin_drawn_ms, drawn_ratio: The same with a heatmap of every frame.
    """

    published_ms: float
    kenpin_ms: float
    ratio: float
    published_drawn_ms: float
    kenpin_drawn_ms: float
    drawn_ratio: float


@dataclass(frozen=True, slots=True)
class Target:
    """What the benchmark was asked to show, and what it found; `passed` is None where it was not measured."""

    what: str
    wanted: str
    found: str
    passed: bool | None


@dataclass(frozen=True, slots=True)
class Document:
    """All of it.

    Attributes:
        machine: Processor, cores, Python, a line.
        load: The machine's load average when times were taken; above about 1.5 they are too long.
        left_out: What could not be measured, and why.
    """

    quick: bool
    seeds: tuple[int, ...]
    machine: str
    load: float | None
    lines: list[Line]
    versus: Versus | None = None
    drawers: list[DrawerLine] = field(default_factory=list)
    parts: list[PartLine] = field(default_factory=list)
    rejects: list[RejectLine] = field(default_factory=list)
    left_out: list[tuple[str, str]] = field(default_factory=list)
    targets: list[Target] = field(default_factory=list)

    def reasons(self) -> dict[str, list[str]]:
        """Why something was left out, and what for that reason."""
        names: dict[str, list[str]] = {}
        for name, reason in self.left_out:
            names.setdefault(reason, []).append(name)
        return names

    def line(
        self, method: str, head: str, good: int | None = None, precision: str = "float32"
    ) -> Line | None:
        """The protocol's row, if it was measured."""
        wanted = (method, head, good, precision)
        for line in self.lines:
            if (line.row.method, line.row.head, line.row.good, line.row.precision) == wanted:
                return line
        return None

    def drawer(self, kind: str) -> DrawerLine | None:
        """The decoders' row, if it was measured."""
        for line in self.drawers:
            if line.drawer.kind == kind:
                return line
        return None

    def part(
        self, set: str, head: str, good: int | None = None, precision: str = "float32"
    ) -> PartLine | None:
        """The real parts' row, if it was measured."""
        wanted = (set, head, good, precision)
        for line in self.parts:
            if (line.trial.set, line.trial.head, line.trial.good, line.trial.precision) == wanted:
                return line
        return None
