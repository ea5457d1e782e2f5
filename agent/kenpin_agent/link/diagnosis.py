"""What went wrong with a connection, as one line that a person can act on. Pure."""

from __future__ import annotations

import errno
import socket
import ssl

from paho.mqtt.reasoncodes import ReasonCode

from kenpin_wire.errors import LinkError

UNSUPPORTED_PROTOCOL = 132

_LOGIN = (134, 135, 140)
_REMEDIES = {
    133: "Give this program another client_id; the broker does not take this one.",
    136: "The broker is up but not serving yet; look at its log.",
    137: "The broker is too busy; look at its load and its connection limit.",
    138: "The broker has banned this client; look at its log and its access rules.",
    142: "Another program uses the same client_id; give each device a name of its own.",
    149: "The broker takes only smaller messages; raise its packet size limit to 256 KiB or more.",
    151: "The broker's quota is used up; raise it, or slow this line down.",
    159: "The broker takes no more connections just now; raise its limit.",
}


def refused(reason: ReasonCode, *, endpoint: str, username: str | None) -> LinkError:
    """The broker answered the connection, or ended it, with this reason code."""
    code = int(reason.value)
    if code in _LOGIN:
        who = f"the user {username!r}" if username else "a login without a user name"
        return LinkError(
            f"the broker refuses {who} ({reason.getName().lower()})",
            where=endpoint,
            remedy="Check username and password in the broker's settings, and the user in the broker's own.",
        )
    if code == UNSUPPORTED_PROTOCOL:
        return LinkError(
            "the broker does not speak this version of MQTT",
            where=endpoint,
            remedy="Set protocol to 'auto' in the broker's settings, or use a broker that speaks 5 or 3.1.1.",
        )
    what = f"the broker says: {reason.getName().lower()}"
    return LinkError(what, where=endpoint, remedy=_REMEDIES.get(code, "Look at the broker's log."))


def subscription_refused(topic_filter: str, *, endpoint: str, username: str | None) -> LinkError:
    """The broker does not let this user listen there."""
    who = f"the user {username!r}" if username else "a client without a user name"
    return LinkError(
        f"the broker does not let {who} subscribe to {topic_filter}",
        where=endpoint,
        remedy="Allow it in the broker's access rules.",
    )


def unreachable(error: OSError | ValueError, *, endpoint: str) -> LinkError:
    """No connection came about, or it broke, with this error of the operating system."""
    what, remedy = "cannot be reached", "Check the network and the broker's host and port."
    if isinstance(error, socket.gaierror):
        what, remedy = "its name cannot be resolved", "Check the broker's host name and this machine's DNS."
    elif isinstance(error, ssl.SSLCertVerificationError):
        what = f"its certificate is not trusted ({error.verify_message})"
        remedy = "Check tls.ca_file, the host name in the certificate, and this machine's clock."
    elif isinstance(error, ssl.SSLError):
        what = f"no encrypted connection ({error.reason or error})"
        remedy = "Check that this port speaks TLS, and tls.cert_file and tls.key_file."
    elif isinstance(error, FileNotFoundError | PermissionError):
        what = f"a file of the tls settings cannot be read ({error.filename or error.strerror})"
        remedy = "Check tls.ca_file, tls.cert_file and tls.key_file."
    elif isinstance(error, ConnectionRefusedError):
        what, remedy = "nothing listens there", "Start the broker, or correct its host and port."
    elif isinstance(error, TimeoutError):
        what = "no answer"
    elif isinstance(error, OSError) and error.errno in (errno.ENETUNREACH, errno.EHOSTUNREACH):
        what, remedy = "no way there", "Check this machine's network cable, Wi-Fi and address."
    elif isinstance(error, OSError) and error.strerror:
        what = f"cannot be reached ({error.strerror})"
    return LinkError(f"broker: {what}", where=endpoint, remedy=remedy)


def silent(*, endpoint: str) -> LinkError:
    """Something took the connection, but did not answer as a broker."""
    return LinkError(
        "something listens there, but does not answer as an MQTT broker",
        where=endpoint,
        remedy="Check the port: 1883 is plain MQTT, 8883 is TLS and needs the tls settings.",
    )


def lost(*, endpoint: str) -> LinkError:
    """A connection that stood broke without a word."""
    return LinkError("the broker is gone", where=endpoint, remedy="It will be tried again until it is back.")


def cut_short(*, endpoint: str, client_id: str) -> LinkError:
    """Connections stand, and break again and again."""
    return LinkError(
        "the broker lets this client in and cuts it off again and again",
        where=endpoint,
        remedy=f"See whether another program uses the same client_id, {client_id}, and look at the broker's log.",
    )
