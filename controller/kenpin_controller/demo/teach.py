"""The demonstration's releases, made as anybody would make them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from rich.console import Console

from kenpin_agent.cameras.config import Design
from kenpin_agent.cameras.conveyor import render_training_set
from kenpin_agent.pictures import list_pictures, read_picture
from kenpin_controller.demo.story import Taught
from kenpin_models.naming import slug
from kenpin_models.samples import DEFAULT_SIZE_PX
from kenpin_models.train import train
from kenpin_models.wishes import Wishes
from kenpin_wire.errors import ConfigError, PictureError

FITTED = (0, 1, 3)
"""Of each five good pictures of `--source`, in order of name, those that the release is made from: 60 %, spread
over the time in which they were taken."""
FEWEST_GOOD = 5
LIGHT_ROUND = 384
"""Parts in which the simulated light drifts once round."""


@dataclass(frozen=True, slots=True)
class SplitPictures:
    """Real pictures, parted: `fit` to learn from, `play` (with `good/` and `bad/`) to be inspected."""

    name: str
    fit: Path
    play: Path
    played: int


def split_pictures(source: Path, folder: Path, tell: Callable[[str], None]) -> SplitPictures:
    """Part the pictures of `source` by links in `folder`; the source itself is only read.

    Raises:
        ConfigError: if `good/` or `bad/` is missing or too small.
    """
    good, bad = _sound(source / "good", tell), _sound(source / "bad", tell)
    if len(good) < FEWEST_GOOD:
        raise ConfigError(
            f"only {len(good)} good pictures",
            where=str(source / "good"),
            remedy=f"At least {FEWEST_GOOD} are needed, better 30.",
        )
    to_fit = [picture for index, picture in enumerate(good) if index % 5 in FITTED]
    to_play = [picture for index, picture in enumerate(good) if index % 5 not in FITTED]
    parts = {folder / "fit": to_fit, folder / "play" / "good": to_play, folder / "play" / "bad": bad}
    for into, pictures in parts.items():
        into.mkdir(parents=True)
        for picture in pictures:
            (into / picture.name).symlink_to(picture.absolute())
    return SplitPictures(
        slug(source.resolve().name), folder / "fit", folder / "play", len(to_play) + len(bad)
    )


def _sound(folder: Path, tell: Callable[[str], None]) -> list[Path]:
    """The pictures that can be read; the others are told, and not waited for in vain."""
    sound = []
    for path in list_pictures(folder):
        try:
            read_picture(path)
        except PictureError as error:
            tell(f"left out: {error}")
        else:
            sound.append(path)
    if not sound:
        raise ConfigError(
            "none of its pictures can be read", where=str(folder), remedy="Save them again as JPEG or PNG."
        )
    return sound


def teach_pictures(pictures: SplitPictures, folder: Path, console: Console) -> Taught:
    """A release from real pictures. None of those that will be played is looked at."""
    file = folder / f"{pictures.name}-1.0.0.kenpin"
    # All of them are fitted on; the threshold comes from heads that had not seen the picture they score.
    wishes = Wishes(holdout=0.0, size=DEFAULT_SIZE_PX)
    train(pictures.fit, file, wishes, name=pictures.name, version="1.0.0", console=console)
    return Taught(pictures.name, file)


def teach_rendered(product: str, version: str, count: int, folder: Path, console: Console) -> Taught:
    """A release from `count` rendered good parts."""
    good = folder / f"{product}-{version}"
    # Spread over a whole round of the drifting light, as pictures for a real line are over a shift.
    every = max(LIGHT_ROUND // count, 1)
    render_training_set(good, count, seed=count, design=cast(Design, product), every=every)
    file = good.with_name(f"{good.name}.kenpin")
    wishes = Wishes(size=DEFAULT_SIZE_PX)
    train(good, file, wishes, name=product, version=version, console=console)
    return Taught(product, file)
