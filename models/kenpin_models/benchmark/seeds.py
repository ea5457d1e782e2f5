"""`kenpin benchmark seeds`: reproduce the published results and measure everything of Kenpin's beside them.

In this order: how well every row tells sneakers from boots, for each seed; real parts; thresholds; and last what a
picture costs, which wants a quiet machine. Every result is kept as it is found (`store`), so a run that was stopped
goes on, and a run after a change measures only what the change touched.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from itertools import product
from pathlib import Path
from statistics import fmean, median
from typing import Protocol, TypeVar

import cv2
from rich.console import Console
from threadpoolctl import threadpool_limits

from kenpin_models.benchmark import accuracy, drawers, parts
from kenpin_models.benchmark.costs import Costs, camera_frames
from kenpin_models.benchmark.lab import Lab
from kenpin_models.benchmark.rows import DEFAULT, Row, Setting, all_rows
from kenpin_models.benchmark.store import Result, Store
from kenpin_models.benchmark.tables import Document, DrawerLine, Line, PartLine, RejectLine, Spread
from kenpin_models.benchmark.targets import all_targets
from kenpin_models.benchmark.timing import Times
from kenpin_models.metrics import auroc, share_above, tpr_at_fpr
from kenpin_models.progress import shown_on
from kenpin_models.samples import Progress
from kenpin_wire.errors import ConfigError


class _Named(Protocol):
    @property
    def name(self) -> str: ...


T = TypeVar("T")
S = TypeVar("S", bound=_Named)


def run_seeds(
    data: Path, work: Path, setting: Setting, *, timings_only: bool = False, console: Console | None = None
) -> Document:
    """Run the benchmark.

    Args:
        data: A folder with `fashion-mnist`, and for the real parts `aliens` and `cookie`.
        work: Where results are kept.
        timings_only: Measure all times anew and nothing else; what has not been measured yet is left out.
        console: Where progress is shown.

    Raises:
        ConfigError: if the pictures are not there.
        PictureError: if they are damaged.
    """
    with shown_on(console) as progress, threadpool_limits(1, user_api="blas"), _one_opencv_thread():
        lab = Lab(data, setting, Store(work, closed=timings_only), progress)
        lab.protocol(setting.seeds[0])  # says at once if the pictures are missing
        run = _Run(lab, progress)
        results = run.protocol()
        part_lines = [] if setting.quick else run.parts()
        reject_lines = [] if setting.quick else run.rejects()
        drawer_lines = [] if setting.quick else run.drawers()
        with camera_frames(lab) as frames:
            costs = Costs(lab, frames, anew=timings_only)
            times = run.times(costs, list(results))
            versus = None if setting.quick else run.attempt("versus", lambda: costs.versus(DEFAULT))
    document = Document(
        quick=setting.quick,
        seeds=setting.seeds,
        machine=_machine(),
        load=max(costs.loads, default=None),
        lines=[_line(row, found, times.get(row)) for row, found in results.items()],
        versus=versus,
        drawers=drawer_lines,
        parts=part_lines,
        rejects=reject_lines,
        left_out=run.left_out,
    )
    return replace(document, targets=all_targets(document))


class _Run:
    """The steps. What cannot be measured here, for want of a package, is left out with the reason."""

    def __init__(self, lab: Lab, progress: Progress) -> None:
        self._lab = lab
        self._progress = progress
        self.left_out: list[tuple[str, str]] = []

    def protocol(self) -> dict[Row, list[Result]]:
        # What an encoder saw is kept while it is the same one: its rows together, seed by seed.
        encoders: dict[tuple[str, str], int] = {}
        rows = all_rows(self._lab.setting)
        for row in rows:
            encoders.setdefault((row.method, row.precision), len(encoders))
        return self._each_seed(
            "rows", rows, accuracy.measure, lambda row, seed: (encoders[row.method, row.precision], seed)
        )

    def parts(self) -> list[PartLine]:
        found = self._each_seed("real parts", parts.all_trials(), parts.measure)
        return [_part_line(trial, results) for trial, results in found.items()]

    def rejects(self) -> list[RejectLine]:
        found = self._each_seed("thresholds", parts.all_lots(), parts.measure_rejects)
        return [_reject_line(lot, results) for lot, results in found.items()]

    def drawers(self) -> list[DrawerLine]:
        found = self._each_seed("heatmaps", drawers.all_drawers(), drawers.measure)
        return [_drawer_line(drawer, results) for drawer, results in found.items()]

    def times(self, costs: Costs, rows: Sequence[Row]) -> dict[Row, Times]:
        times = {}
        for done, row in enumerate(rows):
            self._progress("taking times", done, len(rows))
            found = self.attempt(f"times of {row.name}", partial(costs.of, row))
            if found is not None:
                times[row] = found
        self._progress("taking times", len(rows), len(rows))
        return times

    def attempt(self, name: str, make: Callable[[], T]) -> T | None:
        try:
            return make()
        except ConfigError as error:
            self.left_out.append((name, str(error)))
            return None

    def _each_seed(
        self,
        step: str,
        subjects: Sequence[S],
        measure: Callable[[S, int, Lab], Result],
        order: Callable[[S, int], tuple[int, ...]] = lambda _, seed: (seed,),
    ) -> dict[S, list[Result]]:
        """A result for each seed of each subject, in the subjects' order; those left out are missing."""
        pairs = sorted(product(subjects, self._lab.setting.seeds), key=lambda pair: order(*pair))
        kept: dict[S, list[Result]] = {subject: [] for subject in subjects}
        for done, (subject, seed) in enumerate(pairs):
            self._progress(step, done, len(pairs))
            if subject not in kept:
                continue
            found = self.attempt(subject.name, partial(measure, subject, seed, self._lab))
            if found is None:
                del kept[subject]
            else:
                kept[subject].append(found)
        self._progress(step, len(pairs), len(pairs))
        return kept


def _line(row: Row, results: Sequence[Result], times: Times | None) -> Line:
    first = results[0]
    return Line(
        row=row,
        heads=tuple(found["head"] for found in results),
        auroc=Spread.of([auroc(found["good"], found["bad"]) for found in results]),
        tpr=Spread.of([tpr_at_fpr(found["good"], found["bad"], 0.01) for found in results]),
        rejected=None
        if row.is_baseline
        else Spread.of([share_above(found["good"], found["threshold"]) for found in results]),
        parameters=first["parameters"],
        size_bytes=first["size_bytes"],
        times=times,
        good=first["good"],
        bad=first["bad"],
    )


def _part_line(trial: parts.Trial, results: Sequence[Result]) -> PartLine:
    def over_seeds(key: str) -> Spread | None:
        values = [found[key] for found in results]
        return None if None in values else Spread.of(values)

    return PartLine(
        trial, tuple(found["head"] for found in results), {key: over_seeds(key) for key in parts.FIGURES}
    )


def _reject_line(lot: parts.Lot, results: Sequence[Result]) -> RejectLine:
    return RejectLine(
        lot.name,
        n_unused=results[0]["n"],
        calibrated_on=results[0]["calibrated_on"],
        rejected=Spread.of([found["rejected"] for found in results]),
        heads=tuple(found["head"] for found in results),
    )


def _drawer_line(drawer: drawers.Drawer, results: Sequence[Result]) -> DrawerLine:
    errors = [found["reconstruction_error"] for found in results]
    return DrawerLine(
        drawer,
        pixel_auroc=Spread.of([found["pixel_auroc"] for found in results]),
        aupro=Spread.of([found["aupro"] for found in results]),
        ms=median(found["ms"] for found in results),
        encoder_ms=median(found["encoder_ms"] for found in results),
        parameters=results[0]["parameters"],
        size_bytes=results[0]["size_bytes"],
        reconstruction_error=None if None in errors else fmean(errors),
    )


@contextmanager
def _one_opencv_thread() -> Iterator[None]:
    before = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        yield
    finally:
        cv2.setNumThreads(before)


def _machine() -> str:
    return f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}"
