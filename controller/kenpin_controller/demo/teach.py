"""The demonstration's releases, made as anybody would make them."""

from __future__ import annotations

import random
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from kenpin_models.train import train
from rich.console import Console

from kenpin_agent.cameras.config import Design
from kenpin_agent.cameras.conveyor import render_training_set
from kenpin_agent.pictures import list_pictures
from kenpin_controller.demo.story import Taught
from kenpin_wire.errors import ConfigError

FITTED = 0.6
"""The share of the good pictures of `--source` that the release is made from."""
FEWEST_GOOD = 5


@dataclass(frozen=True, slots=True)
class SplitPictures:
    """Real pictures, parted: `fit` to learn from, `play` (with `good/` and `bad/`) to be inspected."""

    name: str
    fit: Path
    play: Path
    played: int


def split_pictures(source: Path, folder: Path, seed: int = 0) -> SplitPictures:
    """Part the pictures of `source` by links in `folder`; the source itself is only read.

    Raises:
        ConfigError: if `good/` or `bad/` is missing or too small.
    """
    good, bad = list_pictures(source / "good"), list_pictures(source / "bad")
    if len(good) < FEWEST_GOOD:
        raise ConfigError(
            f"only {len(good)} good pictures",
            where=str(source / "good"),
            remedy=f"At least {FEWEST_GOOD} are needed, better 30.",
        )
    random.Random(seed).shuffle(good)
    cut = round(FITTED * len(good))
    parts = {folder / "fit": good[:cut], folder / "play" / "good": good[cut:], folder / "play" / "bad": bad}
    for into, pictures in parts.items():
        into.mkdir(parents=True)
        for picture in pictures:
            (into / picture.name).symlink_to(picture.absolute())
    name = "".join(c if c.isalnum() else "-" for c in source.resolve().name.lower()).strip("-") or "parts"
    return SplitPictures(name[:40], folder / "fit", folder / "play", len(good) - cut + len(bad))


def teach_pictures(pictures: SplitPictures, folder: Path, console: Console) -> Taught:
    """A release from real pictures. None of those that will be played is looked at."""
    file = folder / f"{pictures.name}-1.0.0.kenpin"
    train(pictures.fit, file, name=pictures.name, version="1.0.0", console=console)
    return Taught(pictures.name, file)


def teach_rendered(product: str, version: str, count: int, folder: Path, console: Console) -> Taught:
    """A release from `count` rendered good parts."""
    good = folder / f"{product}-{version}"
    render_training_set(good, count, seed=count, design=cast(Design, product))  # the plan names designs only
    file = good.with_name(f"{good.name}.kenpin")
    train(good, file, name=product, version=version, console=console)
    return Taught(product, file)
