"""A message that is signed, and what exactly the signature is of.

The signature covers the topic too, so that what was said to one device means nothing to another.
"""

from __future__ import annotations

import json
from typing import Annotated

from pydantic import Field, ValidationError

from kenpin_wire.errors import WireError
from kenpin_wire.faults import first_fault
from kenpin_wire.messages import Message

CONTEXT = b"kenpin signed message v1"
"""Begins what is signed, so that a signature made for anything else never fits."""


class Signed(Message):
    """An envelope around a message of a channel that is signed.

    Attributes:
        payload: The message's own JSON text; its bytes are what is signed, so that nothing need be canonical.
        key: The key's id: the SHA-256 of its 32 public bytes, in hex.
        signature: Ed25519 (RFC 8032), in base64.
    """

    payload: Annotated[str, Field(max_length=100_000)]
    key: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    signature: Annotated[str, Field(pattern=r"^[A-Za-z0-9+/]{86}==$")]


def read_envelope(payload: bytes, topic: str) -> Signed | None:
    """Read a message of a signed channel as an envelope; None if it is a bare message.

    Args:
        topic: For what is said of it.

    Raises:
        WireError: if it is an envelope, but not a whole one.
    """
    try:
        table = json.loads(payload)
    except (ValueError, RecursionError):
        return None  # whoever reads it as a bare message says what is wrong
    if not isinstance(table, dict) or "signature" not in table:
        return None
    try:
        return Signed.model_validate_json(payload)
    except ValidationError as error:
        field, what = first_fault(error)
        raise WireError(f"{field}: {what}" if field else what, where=topic) from None


def signed_bytes(topic: str, payload: str) -> bytes:
    """What an envelope's signature is of.

    Args:
        topic: As MQTT spells it.
    """
    return b"\0".join((CONTEXT, topic.encode(), payload.encode()))
