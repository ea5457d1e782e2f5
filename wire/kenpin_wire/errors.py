"""Errors that say whose fault they are, what is wrong, where, and what to do about it.

A command prints `str(error)` and nothing else; no traceback of these reaches a user.
"""

from __future__ import annotations


class KenpinError(Exception):
    """Something a person can act on.

    Args:
        what: What is wrong, as a clause without a full stop.
        where: The file, topic, device or key it was found in; empty if there is none.
        remedy: What to do about it, as a sentence; empty if nothing can be done.
    """

    def __init__(self, what: str, *, where: str = "", remedy: str = "") -> None:
        super().__init__(what, where, remedy)
        self.what = what
        self.where = where
        self.remedy = remedy

    def __str__(self) -> str:
        text = f"{self.where}: {self.what}" if self.where else self.what
        return f"{text}. {self.remedy}" if self.remedy else text


class ConfigError(KenpinError):
    """The operator's: a setting, a path or an argument."""


class CameraError(KenpinError):
    """The camera's: it cannot be opened, or it stopped giving frames."""


class PictureError(KenpinError):
    """A picture that cannot be read or used."""


class ReleaseError(KenpinError):
    """The release maker's: a file that is damaged, tampered with, or too new for this program."""


class LinkError(KenpinError):
    """The network's: the broker refuses, or is away."""


class WireError(KenpinError):
    """A message that does not keep the contract. Its `where` is the topic."""
