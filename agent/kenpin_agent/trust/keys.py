"""The controller's public keys: what `controller.json`, a target of the TUF repository, says, kept on disk.

So the offline targets key decides who may speak to a device, and a stolen controller key is replaced by it.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

from pydantic import AwareDatetime, BaseModel, Field, ValidationError

from kenpin_agent.files import write_atomically
from kenpin_wire.errors import TrustError, os_words

log = logging.getLogger(__name__)

CONTROLLER_TARGET = "controller.json"
MAX_KEYS = 16

_NEVER = datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class ControllerKeys:
    """Who may speak to this device.

    Attributes:
        public: The 32 public bytes of each Ed25519 key, by its id (`Signed.key`).
        until: They count until then: the earlier expiry of the root and the targets metadata that name them. The
            timestamp's does not bear on them: its key lies beside the controller's, so who steals one has both,
            and a controller that was off for a month must still be heard.
    """

    public: Mapping[str, bytes] = field(default_factory=dict)
    until: datetime = _NEVER


def read_controller_target(data: bytes) -> dict[str, bytes]:
    """The public keys of a `controller.json`, by id.

    Raises:
        TrustError: if it is none.
    """
    try:
        return _by_id(_ControllerFile.model_validate_json(data).keys)
    except ValidationError:
        raise TrustError(
            "it does not list the controller's public keys",
            where=CONTROLLER_TARGET,
            remedy="Sign and publish it anew.",
        ) from None


class KeyFile:
    """The keys as last verified, so that a restart without the controller can still verify its messages.

    Args:
        pinned: What the device is pinned to; keys that came by another root are forgotten.
    """

    def __init__(self, path: Path, pinned: bytes) -> None:
        self._path = path
        self._pinned = hashlib.sha256(pinned).hexdigest()

    def load(self) -> ControllerKeys:
        """The keys that were saved; none if there are none that can be read."""
        try:
            kept = _Kept.model_validate_json(self._path.read_bytes())
        except FileNotFoundError:
            return ControllerKeys()
        except (OSError, ValidationError):
            log.warning("%s is unreadable; the controller's keys must be fetched again", self._path)
            return ControllerKeys()
        return (
            ControllerKeys(_by_id(kept.keys), kept.until) if kept.root == self._pinned else ControllerKeys()
        )

    def save(self, keys: ControllerKeys) -> None:
        """Keep them. A full disk is logged, no more: they count until the next restart."""
        kept = _Kept(root=self._pinned, keys=[key.hex() for key in keys.public.values()], until=keys.until)
        try:
            write_atomically(self._path, kept.model_dump_json().encode())
        except OSError as error:
            log.error("%s cannot be written (%s); it will be fetched again", self._path, os_words(error))


_PublicKey = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class _ControllerFile(BaseModel):
    keys: Annotated[list[_PublicKey], Field(max_length=MAX_KEYS)]


class _Kept(_ControllerFile):
    root: str
    until: AwareDatetime


def _by_id(keys: Iterable[str]) -> dict[str, bytes]:
    public = (bytes.fromhex(key) for key in keys)
    return {hashlib.sha256(key).hexdigest(): key for key in public}
