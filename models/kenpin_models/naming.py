"""What a release is called."""

from __future__ import annotations

import re
import unicodedata
from datetime import UTC, datetime
from pathlib import Path

from pydantic import ValidationError

from kenpin_wire.errors import ConfigError
from kenpin_wire.messages import ReleaseName


def slug(words: str) -> str:
    """A release's name from any words: letters lose their accents, what can be none of it becomes `-`."""
    plain = "".join(
        c for c in unicodedata.normalize("NFKD", words.casefold()) if not unicodedata.combining(c)
    )
    return re.sub(r"[^a-z0-9]+", "-", plain).strip("-")[:48].strip("-") or "release"


def release_name(out: Path, name: str | None = None, version: str | None = None) -> ReleaseName:
    """What the release is called; the file's name, `NAME-VERSION.kenpin` or `NAME.kenpin`, fills in."""
    parts = re.fullmatch(r"(?P<name>.+?)-(?P<version>\d[0-9A-Za-z.+-]{0,31})", out.stem)
    if name is None:
        name = slug(parts["name"] if parts else out.stem)
    if version is None:
        version = parts["version"] if parts else datetime.now(UTC).strftime("%Y%m%d.%H%M%S")
    try:
        return ReleaseName(name=name, version=version)
    except ValidationError:
        raise ConfigError(
            f"a release cannot be called {name!r}, version {version!r}",
            where=str(out),
            remedy="Use a-z, 0-9 and '-' for the name, and also '.' and '+' for the version.",
        ) from None
