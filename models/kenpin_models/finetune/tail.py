"""What is learnt: the blocks behind the frozen ones, and the embedding."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from sklearn.covariance import ledoit_wolf
from torch import nn

from kenpin_models.encoders.networks import EncoderModule, means_and_deviations
from kenpin_models.finetune.prefix import BATCH, Rows


class Tail(nn.Module):  # type: ignore[misc]  # torch is not installed where mypy runs
    """The blocks of an encoder from `first` on, then its pooled vector, brought to one scale, then the embedding:
    what it gives is not of length 1 yet.

    The embedding starts orthogonal: at first, distances are those of the standardised pooled vectors, so that
    learning starts from what the frozen encoder knows and not from chance.

    Normalisations keep ImageNet's statistics. A batch is half one kind of part: its own statistics would be
    neither a line's nor ImageNet's.

    Args:
        module: An encoder whose plan has an embedding; its blocks are learnt in place.
        rows: From them comes the scale of the pooled vector.
    """

    def __init__(self, module: EncoderModule, first: int, rows: Rows, seed: int) -> None:
        super().__init__()
        self._encoder = [module]  # in a list: not a part, of which all would be learnt
        self.first = first
        self.blocks = module.blocks[first:]
        self.last = module.last
        size = module.pooled_size
        self.register_buffer("shift", torch.zeros(size))
        self.register_buffer("spread", torch.ones(size))
        self.embedding = nn.Linear(size, module.plan.embedding)
        nn.init.orthogonal_(self.embedding.weight, generator=torch.Generator().manual_seed(seed))
        nn.init.zeros_(self.embedding.bias)
        self.eval()
        self._standardise(rows)

    def forward(self, states: Any, seen: Any) -> Any:
        """Embeddings, shape (n, d), of rows as `Rows.batch` gives them."""
        return self.embedding((self.pooled(states, seen) - self.shift) / self.spread)

    def pooled(self, states: Any, seen: Any) -> Any:
        """As the encoder's own, from where the frozen blocks left off."""
        given, maps = self._encoder[0].advance(states, self.first)
        if self.last is not None:
            return self.last(given).mean((2, 3))
        if not maps:
            return seen.flatten(1)
        new = means_and_deviations(list(maps.values())).unflatten(1, (2, -1))
        return torch.cat([seen, new], 2).flatten(1)

    def whiten(self, rows: Rows) -> None:
        """Measure embeddings by how much the part's own differ (within-class covariance normalisation, Hatch et al.
        2006; shrunk as Ledoit and Wolf, 2004, do): learning says which directions tell things apart, this says how
        far along each one good parts lie. Then it hardly matters which head looks, or at how many neighbours: against
        sandals, left out of the reference set, `doc` has 0.968 to 0.972 instead of 0.930 to 0.968 over LOF, kNN and
        cosine, `arcface` 0.970 to 0.973 instead of 0.958 to 0.977."""
        with torch.no_grad():
            part = rows.labels == 0
            vectors = torch.cat([nn.functional.normalize(self(*batch)) for batch in _some(rows, part)])
            covariance, _ = ledoit_wolf(vectors.numpy().astype(np.float64))
            values, axes = np.linalg.eigh(covariance)
            scales = np.sqrt(values.mean() / np.maximum(values, 1e-6 * values.mean()))
            whitening = torch.from_numpy((axes * scales).T.astype(np.float32))
            self.embedding.weight.copy_(whitening @ self.embedding.weight)
            self.embedding.bias.copy_(whitening @ self.embedding.bias)

    def write_back(self) -> None:
        """Make the encoder give what was learnt: the scale goes into its embedding's weights."""
        target = self._encoder[0].embedding
        assert target is not None
        with torch.no_grad():
            weight = self.embedding.weight / self.spread
            target.weight.copy_(weight)
            target.bias.copy_(self.embedding.bias - weight @ self.shift)

    def _standardise(self, rows: Rows) -> None:
        with torch.no_grad():
            values = torch.cat([self.pooled(*batch) for batch in _some(rows, rows.labels >= 0)])
            self.shift.copy_(values.mean(0))
            self.spread.copy_(values.std(0, correction=0).clamp(min=1e-3))


def _some(rows: Rows, wanted: npt.NDArray[np.bool_]) -> Iterator[tuple[Any, Any]]:
    """Batches of the wanted rows that are learnt from; of many, 3,000 to 6,000, evenly taken."""
    indices = np.flatnonzero(wanted & ~rows.held_out)
    indices = indices[:: max(1, len(indices) // 3000)]
    for start in range(0, len(indices), BATCH):
        yield rows.batch(indices[start : start + BATCH])[:2]
