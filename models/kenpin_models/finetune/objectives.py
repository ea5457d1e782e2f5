"""What is asked of the embedding, one class for each method. Labels: 0 for the part, reference classes from 1."""

from __future__ import annotations

from typing import Any

import torch
from pytorch_metric_learning.losses import ArcFaceLoss, TripletMarginLoss
from pytorch_metric_learning.miners import TripletMarginMiner
from pytorch_metric_learning.reducers import MeanReducer
from torch import nn

from kenpin_models.finetune.settings import FineTuneSettings, Method


def objective(method: Method, n_classes: int, settings: FineTuneSettings, seed: int) -> Any:
    """A module that takes embeddings (n, d) and labels (n,) and gives the loss; its parameters are learnt too.

    Args:
        n_classes: Of the reference set, without the part.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        if method == "doc":
            return Doc(n_classes, settings.embedding, settings.compactness)
        if method == "arcface":
            return ArcFace(n_classes, settings.embedding, settings.margin_degrees, settings.scale)
        return Triplet(settings.margin)


class Doc(nn.Module):  # type: ignore[misc]  # torch is not installed where mypy runs
    """Deep one-class classification (Perera & Patel 2019, arXiv 1801.05365): the part's embeddings draw together
    (compactness: each one's squared distance to the mean of the batch's others), while the reference classes must
    still be told apart (descriptiveness: cross-entropy), lest everything draws together."""

    def __init__(self, n_classes: int, size: int, compactness: float) -> None:
        super().__init__()
        self.classify = nn.Linear(size, n_classes)
        self.compactness = compactness

    def forward(self, embeddings: Any, labels: Any) -> Any:
        part, others = embeddings[labels == 0], embeddings[labels > 0]
        described = nn.functional.cross_entropy(self.classify(others), labels[labels > 0] - 1)
        n = len(part)
        apart = (part - part.mean(0)) * (n / max(1, n - 1))
        return described + self.compactness * apart.square().mean()


class ArcFace(nn.Module):  # type: ignore[misc]  # as above
    """Additive angular margin (Deng et al. 2019, arXiv 1801.07698): the part is one class, each reference class
    another."""

    def __init__(self, n_classes: int, size: int, margin_degrees: float, scale: float) -> None:
        super().__init__()
        self.loss = ArcFaceLoss(n_classes + 1, size, margin=margin_degrees, scale=scale)

    def forward(self, embeddings: Any, labels: Any) -> Any:
        return self.loss(embeddings, labels)


class Triplet(nn.Module):  # type: ignore[misc]  # as above
    """Triplets (Schroff et al. 2015, arXiv 1503.03832): a picture lies nearer to one of its class than to one of
    another, by a margin. Of each batch those are mined that don't yet."""

    def __init__(self, margin: float) -> None:
        super().__init__()
        self.loss = TripletMarginLoss(margin=margin, reducer=MeanReducer())
        self.mine = TripletMarginMiner(margin=margin, type_of_triplets="all")

    def forward(self, embeddings: Any, labels: Any) -> Any:
        # Judged by all triplets: the mean of those that are still wrong need not fall as they become fewer.
        return self.loss(embeddings, labels, self.mine(embeddings, labels) if self.training else None)
