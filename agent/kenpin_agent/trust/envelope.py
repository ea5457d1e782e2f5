"""Opens a signed envelope. Pure: keys, time and floor are arguments; it brings `cryptography` along."""

from __future__ import annotations

import base64
from datetime import datetime

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from kenpin_agent.link.incoming import Desired, Sealed, read_desired
from kenpin_agent.trust.keys import ControllerKeys
from kenpin_wire.errors import WireError
from kenpin_wire.signed import signed_bytes


class UnknownKeyError(WireError):
    """Signed with a key that the controller's list, as known here, does not hold."""


def open_envelope(sealed: Sealed, keys: ControllerKeys, *, now: datetime, floor: int) -> Desired:
    """The message inside.

    Args:
        now: To judge expiry by.
        floor: The lowest revision to take.

    Raises:
        UnknownKeyError: if a newer list of keys might help.
        WireError: if it is not to be taken, and why; `where` is the topic.
    """
    envelope, topic = sealed.envelope, sealed.topic
    public = keys.public.get(envelope.key)
    if public is None:
        raise UnknownKeyError(
            f"signed with a key that is not the controller's ({envelope.key[:12]}…)", where=topic
        )
    if now > keys.until:
        # A newer list may be there, as with a key that is not known.
        raise UnknownKeyError(
            f"the controller's keys have expired ({keys.until:%Y-%m-%d}; this device takes it for {now:%Y-%m-%d})",
            where=topic,
            remedy="If that date is wrong, set the clock; otherwise sign the repository's targets anew.",
        )
    try:
        Ed25519PublicKey.from_public_bytes(public).verify(
            base64.b64decode(envelope.signature), signed_bytes(topic, envelope.payload)
        )
    except (InvalidSignature, ValueError):  # ValueError: bytes that are no point of the curve
        raise WireError(
            "the signature does not fit: it was changed on the way, or said to another device", where=topic
        ) from None
    message = read_desired(sealed.channel, envelope.payload.encode(), topic, now)
    if message.rev < floor:
        raise WireError(f"revision {message.rev} was replaced by {floor} before", where=topic)
    return message
