"""Errors that say whose fault they are, what is wrong, where, and what to do about it.

A command prints `str(error)` and nothing else; no traceback of these reaches a user.
"""

from __future__ import annotations

import errno
from typing import Self


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
        return one_line(f"{text}. {self.remedy}" if self.remedy else text)

    @classmethod
    def from_os(cls, error: OSError, *, where: str = "") -> Self:
        """What the operating system refused, where (its own word for it if it has one), and what helps."""
        named = error.filename if isinstance(error.filename, str) else ""
        remedy = _REMEDIES.get(error.errno or 0, "Look at the disk, and at the machine's own log.")
        return cls(os_words(error), where=named or where, remedy=remedy)


class ConfigError(KenpinError):
    """The operator's: a setting, a path or an argument."""


class CameraError(KenpinError):
    """The camera's: it cannot be opened, or it stopped giving frames."""


class PictureError(KenpinError):
    """A picture that cannot be read or used."""


class ReleaseError(KenpinError):
    """The release maker's: a file that is damaged, tampered with, or too new for this program."""


class TrustError(ReleaseError):
    """What the site's keys did not sign, or what was signed for something else. Trying again does not help."""


class LinkError(KenpinError):
    """The network's: the broker refuses, or is away."""


class RepositoryAwayError(LinkError):
    """The site's signed metadata cannot be had just now, so that it cannot be known what is signed. Try again."""


class RepositoryExpiredError(RepositoryAwayError):
    """There is metadata, but what there is has expired: it was not renewed, or a clock is wrong."""


class WireError(KenpinError):
    """A message that does not keep the contract. Its `where` is the topic."""


def os_words(error: OSError) -> str:
    """The operating system's reason in its own words, but for those that mislead."""
    if isinstance(error, FileExistsError | NotADirectoryError):
        return "it is a file, not a folder"
    return error.strerror.split(" (while", 1)[0] if error.strerror else str(error) or type(error).__name__


def one_line(text: str) -> str:
    """The text with everything that would break its line, or a terminal, written as an escape: a file's name
    may hold a newline, or bytes that are no text."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


_ACCESS = "Let this user in there, or give another place."
_PATH = "Check the path."
_REMEDIES = {
    errno.ENOSPC: "The disk is full: free some space.",
    errno.EDQUOT: "The disk is full for this user: free some space.",
    errno.EROFS: "The disk can only be read: remount it, or look whether the card is worn out.",
    errno.EACCES: _ACCESS,
    errno.EPERM: _ACCESS,
    errno.ENOENT: _PATH,
    errno.EISDIR: _PATH,
    errno.ENOTDIR: _PATH,
    errno.EEXIST: _PATH,
    errno.ELOOP: "Its links lead round in a circle; take them out.",
    errno.ENAMETOOLONG: "Give it a shorter name.",
    errno.EMFILE: "This program may not open more files: raise its limit (ulimit -n).",
}
