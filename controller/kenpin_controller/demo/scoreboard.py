"""What the demonstration planted against what the fleet found. Pure.

A part's name carries the truth: the simulated conveyor names its parts `000140-scratch`, and a picture's name
begins with the folder it lies in, `good/` or `bad/`.
"""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Confusion:
    """How parts were judged, each counted once."""

    bad_rejected: int = 0
    bad_passed: int = 0
    good_rejected: int = 0
    good_passed: int = 0

    @property
    def recall(self) -> float | None:
        """The share of bad parts that were rejected; None if there were none."""
        bad = self.bad_rejected + self.bad_passed
        return self.bad_rejected / bad if bad else None

    @property
    def false_rejects(self) -> float | None:
        """The share of good parts that were rejected; None if there were none."""
        good = self.good_rejected + self.good_passed
        return self.good_rejected / good if good else None


@dataclass(slots=True)
class Board:
    """What one camera judged: each part's first verdict, in order. One thread may count while another looks."""

    verdicts: dict[str, bool] = field(default_factory=dict)

    def judged(self, part: str, *, rejected: bool) -> None:
        """Count a part; one that comes round again keeps its first verdict."""
        self.verdicts.setdefault(part, rejected)

    @property
    def confusion(self) -> Confusion:
        tally = {(True, True): 0, (True, False): 0, (False, True): 0, (False, False): 0}
        for part, rejected in self.verdicts.copy().items():
            tally[is_bad(part), rejected] += 1
        return Confusion(tally[True, True], tally[True, False], tally[False, True], tally[False, False])

    def streams(self) -> list[list[str]]:
        """Runs of bad parts that came one after another, as they were planted. One that the last part belongs to
        may not be over, and is left out."""
        runs: list[list[str]] = []
        before = ""
        for part in self.verdicts.copy():
            if is_bad(part):
                if not runs or kind_of(before) != kind_of(part):
                    runs.append([])
                runs[-1].append(part)
            before = part
        return runs[:-1] if is_bad(before) else runs


def is_bad(part: str) -> bool:
    """Whether the part's name says that it is bad."""
    return kind_of(part) not in ("", "good")


def kind_of(part: str) -> str:
    """`scratch` of `000140-scratch`, `bad` of `bad/12.png`."""
    return part.partition("/")[0] if "/" in part else part.partition("-")[2]
