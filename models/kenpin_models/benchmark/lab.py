"""Where rows are measured: the pictures, the encoders, and what those saw, each made once and used by many rows."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from kenpin_agent.encoder import Features
from kenpin_models.benchmark.protocol import INPUT, Pictures, Protocol, as_image, read_protocol
from kenpin_models.benchmark.rows import Setting
from kenpin_models.benchmark.store import Result, Store
from kenpin_models.encoder_file import EncoderFile
from kenpin_models.samples import Eye, Progress

CALIBRATED = 300
"""Good pictures kept out to set a row's threshold, at most a fifth of them; all others are learnt from."""


@dataclass(frozen=True, slots=True, eq=False)
class Looked:
    """What an encoder saw of the protocol's pictures, in their order."""

    good: Sequence[Features]
    test_good: Sequence[Features]
    test_bad: Sequence[Features]


class Lab:
    """See the module's docstring. Rows of one encoder are best asked for one after the other: what it saw is
    kept (400 MB) until another is asked for.

    Args:
        data: A folder with `fashion-mnist`, `aliens` and `cookie`.
    """

    def __init__(self, data: Path, setting: Setting, store: Store, progress: Progress) -> None:
        self.data = data
        self.setting = setting
        self.store = store
        self.progress = progress
        self._protocols: dict[int, Protocol] = {}
        self._looked: tuple[Path, Looked] | None = None

    def protocol(self, seed: int) -> Protocol:
        if seed not in self._protocols:
            s = self.setting
            self._protocols[seed] = read_protocol(
                self.data / "fashion-mnist", seed, n_reference=s.n_reference, n_good=s.n_good, n_test=s.n_test
            )
        return self._protocols[seed]

    def facts(self, seed: int) -> Result:
        """What a figure of the protocol follows from, whatever is measured."""
        p = self.protocol(seed)
        digest = hashlib.sha256()
        for pictures in (p.reference.pictures, p.good, p.test_good, p.test_bad):
            digest.update(pictures.tobytes())
        return {"seed": seed, "pictures": digest.hexdigest(), "input": INPUT.model_dump()}

    def looked(self, encoder: EncoderFile, seed: int) -> Looked:
        """What an encoder sees of the protocol's pictures."""
        if self._looked is None or self._looked[0] != encoder.file:
            self._looked = None  # freed first
            p, eye = self.protocol(seed), Eye(INPUT, encoder, threads=1)
            seen = [self._look(eye, pictures) for pictures in (p.good, p.test_good, p.test_bad)]
            self._looked = (encoder.file, Looked(*seen))
        return self._looked[1]

    def split(self, seed: int) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
        """Indices of the good pictures that are learnt from, in random order, and of those kept out for the
        threshold."""
        n = len(self.protocol(seed).good)
        order = np.random.default_rng(seed).permutation(n)
        held_out = min(CALIBRATED, n // 5)
        return order[held_out:], order[:held_out]

    def _look(self, eye: Eye, pictures: Pictures) -> list[Features]:
        features = []
        for done, picture in enumerate(pictures):
            if done % 100 == 0:
                self.progress("looking at pictures", done, len(pictures))
            features.append(eye.see(as_image(picture)))
        self.progress("looking at pictures", len(pictures), len(pictures))
        return features
