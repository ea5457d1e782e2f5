"""What rows cost, taken one after the other in fresh processes; and the default against the published design."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from statistics import median

import cv2

from kenpin_models.benchmark import accuracy
from kenpin_models.benchmark.lab import Lab
from kenpin_models.benchmark.protocol import SIZE_PX, as_image
from kenpin_models.benchmark.rows import PIXELS, PUBLISHED, Row
from kenpin_models.benchmark.store import Result, code_hash
from kenpin_models.benchmark.tables import Versus
from kenpin_models.benchmark.taught import find_decoder, find_encoder
from kenpin_models.benchmark.timing import Times, time_baseline, time_release

N_FRAMES = 8
TURNS = 5


class Costs:
    """Takes times, and remembers how busy the machine was.

    Args:
        frames: A folder of pictures as the camera gives them.
        anew: Whether what was measured before counts no more.

    Attributes:
        loads: The machine's load average at each measurement.
    """

    def __init__(self, lab: Lab, frames: Path, *, anew: bool) -> None:
        self._lab = lab
        self._frames = frames
        self._anew = anew
        self.loads: list[float] = []

    def of(self, row: Row) -> Times:
        """A row's times, measured with the release (or references) of the first seed."""
        return Times(**self._kept(f"time-{row.name}", [row], lambda: asdict(self._take(row))))

    def versus(self, row: Row) -> Versus:
        """A row and the published design in turns, so that what else the machine does strikes both alike."""
        published = Row(PUBLISHED, "lof")

        def in_turns() -> Result:
            turns = [(self._take(published), self._take(row)) for _ in range(TURNS)]
            return asdict(
                Versus(
                    published_ms=median(theirs.frame_ms for theirs, _ in turns),
                    kenpin_ms=median(ours.frame_ms for _, ours in turns),
                    ratio=median(theirs.frame_ms / ours.frame_ms for theirs, ours in turns),
                    published_drawn_ms=median(_drawn_ms(theirs) for theirs, _ in turns),
                    kenpin_drawn_ms=median(_drawn_ms(ours) for _, ours in turns),
                    drawn_ratio=median(_drawn_ms(theirs) / _drawn_ms(ours) for theirs, ours in turns),
                )
            )

        return Versus(**self._kept(f"versus-{row.name}", [published, row], in_turns))

    def _kept(self, name: str, rows: Sequence[Row], take: Callable[[], Result]) -> Result:
        seed = self._lab.setting.seeds[0]
        facts = {
            "rows": [accuracy.facts(row, seed, self._lab) for row in rows],
            "code": code_hash("kenpin_models.benchmark.timing"),
        }
        kept = self._lab.store.result(
            name, facts, lambda: {"load": os.getloadavg()[0], "found": take()}, anew=self._anew
        )
        self.loads.append(kept["load"])
        found: Result = kept["found"]
        return found

    def _take(self, row: Row) -> Times:
        seed = self._lab.setting.seeds[0]
        file = accuracy.release_file(row, seed, self._lab)
        if not row.is_baseline:
            return time_release(file, self._frames)
        encoder = None if row.method == PIXELS else find_encoder(row, seed, self._lab).file
        decoder = find_decoder(self._lab) if row.method == PUBLISHED else None
        return time_baseline(row.head, file, self._frames, encoder=encoder, decoder=decoder)


@contextmanager
def camera_frames(lab: Lab) -> Iterator[Path]:
    """A folder of a few of the protocol's pictures, 96 × 96 as it has them, for as long as it is needed."""
    with tempfile.TemporaryDirectory(prefix="kenpin-") as scratch:
        for number, picture in enumerate(lab.protocol(lab.setting.seeds[0]).test_good[:N_FRAMES]):
            large = cv2.resize(as_image(picture), (SIZE_PX, SIZE_PX), interpolation=cv2.INTER_LINEAR)
            cv2.imwrite(str(Path(scratch) / f"{number}.png"), large)
        yield Path(scratch)


def _drawn_ms(times: Times) -> float:
    """From frame to verdict and heatmap."""
    return times.frame_ms + (times.heatmap_ms or 0.0)
