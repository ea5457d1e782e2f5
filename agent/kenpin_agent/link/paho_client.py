"""How this project sets up a paho client, stepping around the traps of that library that we know of."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

from paho.mqtt.client import MQTT_ERR_SUCCESS, Client
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from kenpin_agent.link.publications import Publication
from kenpin_agent.link.settings import BrokerSettings

MAX_IN_FLIGHT = 20
"""paho does not honour the broker's Receive Maximum; 20 is mosquitto's, and the least that we know of."""
MAX_INCOMING_BYTES = 1 << 20
"""What we let an MQTT 5 broker send us in one packet: eight times what the contract allows."""
KEEPALIVE_S = 15
CONNECT_TIMEOUT_S = 5.0

_DAY_S = 86_400


def new_client(
    settings: BrokerSettings,
    client_id: str,
    *,
    mqtt5: bool,
    session_expiry_s: int = 0,
    window: int = MAX_IN_FLIGHT,
    will: Publication | None = None,
) -> Client:
    """A client that is ready for `connect`; its owner drives it with `loop` and acknowledges by hand.

    Raises:
        OSError, ValueError: if the TLS files cannot be used.
        LinkError: if the password file cannot be read.
    """
    client = Client(
        CallbackAPIVersion.VERSION2,
        client_id,
        clean_session=None if mqtt5 else session_expiry_s < _DAY_S,
        protocol=MQTTProtocolVersion.MQTTv5 if mqtt5 else MQTTProtocolVersion.MQTTv311,
        manual_ack=True,
        reconnect_on_failure=False,  # or it falls back to MQTT 3.1 by itself
    )
    client.connect_timeout = CONNECT_TIMEOUT_S
    client.max_inflight_messages_set(window)
    client.on_socket_open = _no_delay
    # With this set, publishing from another thread wakes the loop; without, that thread writes to the socket
    # beside it.
    client.on_socket_register_write = _nothing
    if settings.username is not None:
        client.username_pw_set(settings.username, settings.read_password())
    if (tls := settings.tls) is not None:
        client.tls_set(
            ca_certs=_path(tls.ca_file), certfile=_path(tls.cert_file), keyfile=_path(tls.key_file)
        )
    if will is not None:
        properties = _properties(will, PacketTypes.WILLMESSAGE) if mqtt5 else None
        client.will_set(will.topic, will.payload, will.qos, will.retain, properties)
    return client


def connect(
    client: Client,
    settings: BrokerSettings,
    *,
    mqtt5: bool,
    session_expiry_s: int = 0,
    receive_maximum: int | None = None,
) -> None:
    """Open the socket and send CONNECT; the answer comes through the client's callbacks.

    Raises:
        OSError, ValueError: if there is no way to the broker.
    """
    if not mqtt5:
        client.connect(settings.host, settings.port, KEEPALIVE_S)
        return
    properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]  # paho's own gap
    properties.SessionExpiryInterval = session_expiry_s
    properties.MaximumPacketSize = MAX_INCOMING_BYTES
    if receive_maximum is not None:
        properties.ReceiveMaximum = receive_maximum
    client.connect(
        settings.host,
        settings.port,
        KEEPALIVE_S,
        clean_start=session_expiry_s == 0,
        properties=properties,
    )


def give(client: Client, publication: Publication, *, mqtt5: bool) -> int | None:
    """Queue a message in paho; its network loop sends it. Returns its message id, or None if there is no
    connection."""
    properties = _properties(publication, PacketTypes.PUBLISH) if mqtt5 else None
    p = publication
    info = client.publish(p.topic, p.payload, p.qos, p.retain, properties)
    return info.mid if info.rc == MQTT_ERR_SUCCESS else None


def _properties(publication: Publication, packet: int) -> Properties:
    """No topic alias: with QoS 1 an alias makes paho loop after a reconnection (its issue 893)."""
    properties = Properties(packet)  # type: ignore[no-untyped-call]  # paho's own gap
    if publication.expiry_s is not None:
        properties.MessageExpiryInterval = publication.expiry_s
    if publication.content_type:
        properties.ContentType = publication.content_type
    return properties


def _path(file: Path | None) -> str | None:
    return str(file) if file else None


def _no_delay(_client: Client, _userdata: object, sock: Any) -> None:
    """A command's round trip takes 83 ms with Nagle's algorithm, and 0.65 ms without (measured)."""
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def _nothing(_client: Client, _userdata: object, _sock: object) -> None:
    return
