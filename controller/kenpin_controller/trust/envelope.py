"""Desired messages on their way out: given an end, and signed for the one topic that they are meant for. Pure."""

from __future__ import annotations

import base64
from datetime import datetime, timedelta

from kenpin_controller.trust.keys import PrivateKey
from kenpin_wire.contract import encode
from kenpin_wire.messages import DesiredConfig, DesiredRelease
from kenpin_wire.signed import Signed, signed_bytes

VALID = timedelta(days=7)
"""A device that was off for longer waits for the message to be signed anew, which is at its next connection's
heels if the controller runs; a message that was cut off longer says what nobody may want any more."""
RESIGN = timedelta(days=1)


def seal(topic: str, message: DesiredConfig | DesiredRelease, key: PrivateKey, *, now: datetime) -> Signed:
    """The message in its envelope; it ends after `VALID` unless it says itself when.

    Args:
        topic: As MQTT spells it.
    """
    if message.expires is None:
        message = message.model_copy(update={"expires": now + VALID})
    payload = encode(message).decode()
    signature = base64.b64encode(key.private.sign(signed_bytes(topic, payload))).decode("ascii")
    return Signed(payload=payload, key=key.id, signature=signature)
