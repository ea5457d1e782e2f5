"""Whether a broker lets us in, for a command to tell (`doctor`, `demo`)."""

from __future__ import annotations

import secrets

from kenpin_agent.link.session import MqttSession
from kenpin_agent.link.settings import BrokerSettings


def check_broker(settings: BrokerSettings, timeout_s: float = 5.0) -> str:
    """Log in once and leave again.

    Returns:
        The version of MQTT that was agreed on.

    Raises:
        LinkError: saying why it cannot be done.
    """
    session = MqttSession(
        settings.model_copy(update={"client_id": None}),  # not to push out the program that uses it
        client_id=f"kenpin-check-{secrets.token_hex(4)}",
        quiet=True,
    )
    session.start()
    try:
        session.wait_first_attempt(timeout_s)
        return session.protocol
    finally:
        session.stop(drain_s=0.0)
