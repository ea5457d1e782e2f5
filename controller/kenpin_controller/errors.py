"""What can go wrong on the site's side, beside the errors that `kenpin_wire.errors` names."""

from __future__ import annotations

from kenpin_wire.errors import KenpinError


class NotFoundError(KenpinError):
    """There is no such device, event, release or rollout."""


class ConflictError(KenpinError):
    """It would overwrite something that must not change."""


class TooLargeError(KenpinError):
    """More bytes than are taken in."""


class StoreError(KenpinError):
    """The store's: the database cannot be opened, is too new, or its disk is full."""
