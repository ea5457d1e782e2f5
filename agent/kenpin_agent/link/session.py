"""An MQTT session that stays up: connects, subscribes, comes back after every loss, says once what is wrong.

A thin layer over paho-mqtt, for agents and controller alike. It knows nothing of Kenpin's channels and keeps
nothing on disk. Every connection gets a fresh paho client, driven by this session's one thread; paho's
callbacks only note what happened, and the session's handlers run after paho has let go of its locks. So a
handler may publish, subscribe and acknowledge freely; it must not block.
"""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable, Iterable
from typing import Any

from paho.mqtt.client import MQTT_ERR_SUCCESS, Client
from paho.mqtt.reasoncodes import ReasonCode

from kenpin_agent.link import diagnosis
from kenpin_agent.link.paho_client import MAX_IN_FLIGHT, connect, give, new_client
from kenpin_agent.link.publications import GAVE_UP, Delivery, InFlight, Publication, Receipt
from kenpin_agent.link.settings import BrokerSettings
from kenpin_wire.errors import LinkError

__all__ = ["MAX_IN_FLIGHT", "Delivery", "MqttSession", "Publication", "Receipt"]

HANDSHAKE_S = 10.0
SILENCE_ON_5_S = 3.0
"""amqtt 0.12 reads a CONNECT of MQTT 5 with properties as one of 3.1.1 and waits for more of it (measured);
only without properties does it say that it does not speak 5."""
FIRST_DELAY_S, LAST_DELAY_S = 1.0, 10.0
STABLE_S = 10.0
"""After a connection that stood this long, the wait for the next one starts small again."""
SHORT_LIVES = 3
"""So many connections in a row that stood, but not long, are no accident."""

log = logging.getLogger(__name__)


class MqttSession:
    """See the module's docstring. Set the handlers before `start`; they run on the session's thread.

    QoS 1 publications that were under way when a connection broke are sent again, in order, before
    `on_connected` is called; the caller never repeats them. With protocol "auto" a broker that refuses
    MQTT 5 is spoken to in 3.1.1 from then on.

    Args:
        client_id: Used unless the settings name one.
        session_expiry_s: How long the broker shall keep subscriptions and messages for us while we are away;
            0 for not at all. MQTT 3.1.1 has no such limit, so there the session is only kept if a day or more
            is asked for.
        manual_ack: If true, a delivery is acknowledged by `acknowledge`; if false, when the handler returns.
        receive_maximum: How many QoS 1 deliveries may be unacknowledged at once, 1 to 65,535; None for what
            the broker is set to, mostly 20. MQTT 3.1.1 cannot ask for it.
        will: Gives the will at each connection.
        quiet: Log nothing above DEBUG.

    Attributes:
        on_connected: Called with "session present", once the subscriptions stand.
        on_disconnected: Called when a connection that stood is gone.
        on_message: Called with each delivery.
        on_published: Called with the receipt of each QoS 1 publication.
    """

    def __init__(
        self,
        settings: BrokerSettings,
        *,
        client_id: str,
        session_expiry_s: int = 0,
        manual_ack: bool = False,
        receive_maximum: int | None = None,
        will: Callable[[], Publication] | None = None,
        quiet: bool = False,
    ) -> None:
        self.settings = settings
        self.client_id = settings.client_id or client_id
        self.on_connected: Callable[[bool], None] = lambda _session_present: None
        self.on_disconnected: Callable[[], None] = lambda: None
        self.on_message: Callable[[Delivery], None] = lambda _delivery: None
        self.on_published: Callable[[Receipt], None] = lambda _receipt: None
        self._session_expiry_s = session_expiry_s
        self._manual_ack = manual_ack
        self._receive_maximum = receive_maximum
        self._will = will
        self._quiet = quiet
        # Shared by callers and the session's thread, under `_state`.
        self._state = threading.Condition()
        self._client: Client | None = None
        self._may_fall_back = settings.protocol == "auto"
        self._mqtt5 = settings.protocol != "3.1.1"
        self._up = False
        self._error: LinkError | None = None
        self._in_flight = InFlight()
        self._filters: dict[str, int] = {}
        self._subscribing: dict[int, list[str]] = {}
        self._max_packet_bytes: int | None = None
        # The thread's own.
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self._connection = 0
        self._happened: list[Callable[[], None]] = []
        self._refusal: LinkError | None = None
        self._answered = False
        self._again = False  # connect again at once, in another way
        self._window = MAX_IN_FLIGHT
        self._session_present = False
        self._said = ""
        self._stood = False
        self._short_lives = 0

    @property
    def connected(self) -> bool:
        """Whether a broker has accepted us and our subscriptions stand."""
        return self._up

    @property
    def protocol(self) -> str:
        """The version of MQTT in use, "5" or "3.1.1"."""
        return "5" if self._mqtt5 else "3.1.1"

    @property
    def max_packet_bytes(self) -> int | None:
        """The Maximum Packet Size that the broker named when it accepted us (MQTT 5, 3.2.2.3.6); None if none."""
        return self._max_packet_bytes

    @property
    def last_error(self) -> LinkError | None:
        """Why there is no connection; None while there is one, and before the first attempt has ended."""
        return self._error

    @property
    def in_flight(self) -> int:
        """How many QoS 1 publications the broker has not yet acknowledged."""
        return len(self._in_flight)

    def start(self) -> None:
        """Begin to connect, and return at once."""
        if self._thread is not None:
            raise RuntimeError("a session starts once")
        self._thread = threading.Thread(target=self._run, name=f"mqtt-{self.client_id}", daemon=True)
        self._thread.start()

    def stop(self, drain_s: float = 2.0) -> None:
        """Wait at most `drain_s` seconds for what is in flight, say goodbye (which unsets the will), end."""
        with self._state:
            self._state.wait_for(lambda: not self._up or not self._in_flight, timeout=drain_s)
            self._stopping.set()
            if self._client is not None:
                self._client.disconnect()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(timeout=2.0)  # a slow name server holds it longer; it is a daemon

    def wait_connected(self, timeout_s: float) -> None:
        """Wait until the connection stands, through any number of attempts.

        Raises:
            LinkError: if it does not in time, with the reason of the last attempt.
        """
        with self._state:
            self._state.wait_for(lambda: self._up, timeout=timeout_s)
            self._require_up()

    def wait_first_attempt(self, timeout_s: float) -> None:
        """Wait until the connection stands, through one attempt only.

        Raises:
            LinkError: if it failed or took longer.
        """
        with self._state:
            self._state.wait_for(lambda: self._up or self._error is not None, timeout=timeout_s)
            self._require_up()

    def subscribe(self, filters: Iterable[str], qos: int = 1) -> None:
        """Listen to these filters: now if connected, and again after every reconnection."""
        with self._state:
            wanted = dict.fromkeys(filters, qos)
            self._filters.update(wanted)
            if self._up and self._client is not None:
                self._ask_for(self._client, wanted)

    def publish(self, publication: Publication) -> int | None:
        """Hand a message to the network thread; never waits for the network.

        Returns:
            A token that `on_published` will name, for QoS 1; 0 for QoS 0; None if there is no connection,
            and then nothing was kept.

        Raises:
            LinkError: if the broker has said that it does not take messages of this size.
        """
        with self._state:
            if not self._up or self._client is None:
                return None
            self._check_size(publication)
            mid = give(self._client, publication, mqtt5=self._mqtt5)
            if mid is None or publication.qos == 0:
                return None if mid is None else 0
            return self._in_flight.sent(publication, mid, time.monotonic())

    def acknowledge(self, delivery: Delivery) -> None:
        """With `manual_ack`: tell the broker that this delivery is taken care of. One from an earlier
        connection is left alone, for the broker delivers it again."""
        with self._state:
            if self._client is not None and delivery.qos and delivery.connection == self._connection:
                self._client.ack(delivery.mid, delivery.qos)

    # From here on, the session's own thread.

    def _run(self) -> None:
        delay_s = FIRST_DELAY_S
        while not self._stopping.is_set():
            try:
                self._converse()
            except LinkError as error:
                self._say(error)
            except Exception as error:
                log.exception("%s: the MQTT session failed and starts anew", self.client_id)
                self._say(LinkError(f"the MQTT session failed ({error})", where=self.settings.endpoint))
            finally:
                self._down()
            if self._again:
                self._again = False
                continue
            if self._stood:
                delay_s = FIRST_DELAY_S
            # Spread, so that a fleet does not come back as one after its broker restarts.
            self._stopping.wait(delay_s * random.uniform(0.7, 1.0))
            delay_s = min(delay_s * 2, LAST_DELAY_S)

    def _converse(self) -> None:
        """One connection, from its socket to its end.

        Raises:
            LinkError: unless it ended because `stop` was called, or another way is to be tried at once.
        """
        client = self._open()
        began_s = time.monotonic()
        while client.loop(timeout=0.5) == MQTT_ERR_SUCCESS:
            self._dispatch()
            if not self._up and time.monotonic() - began_s > HANDSHAKE_S:
                break
            if not self._answered and self._on_trial and time.monotonic() - began_s > SILENCE_ON_5_S:
                self._mqtt5, self._again = False, True
                return
        self._dispatch()
        if self._stopping.is_set() or self._again:
            return
        if not self._answered and self._may_fall_back:
            self._mqtt5 = True  # 3.1.1 was not understood either
        ended = self._why_it_ended(time.monotonic() - began_s)
        raise self._refusal or ended

    def _why_it_ended(self, stood_s: float) -> LinkError:
        endpoint = self.settings.endpoint
        if not self._up:
            return diagnosis.silent(endpoint=endpoint)
        self._stood = stood_s >= STABLE_S
        if self._stood:
            self._said, self._short_lives = "", 0
        else:
            self._short_lives += 1
        if self._short_lives >= SHORT_LIVES:
            return diagnosis.cut_short(endpoint=endpoint, client_id=self.client_id)
        return diagnosis.lost(endpoint=endpoint)

    @property
    def _on_trial(self) -> bool:
        return self._mqtt5 and self._may_fall_back

    def _open(self) -> Client:
        self._refusal, self._answered, self._stood = None, False, False
        self._happened = []
        will = self._will() if self._will else None
        how: dict[str, Any] = {"mqtt5": self._mqtt5, "session_expiry_s": self._session_expiry_s}
        try:
            client = new_client(self.settings, self.client_id, will=will, window=self._window, **how)
            self._listen(client)
            connect(client, self.settings, receive_maximum=self._receive_maximum, **how)
        except (OSError, ValueError) as error:
            raise diagnosis.unreachable(error, endpoint=self.settings.endpoint) from None
        with self._state:
            self._client = client
            self._connection += 1
            if self._stopping.is_set():
                client.disconnect()
        return client

    def _listen(self, client: Client) -> None:
        """paho's callbacks run under its locks, so they only note; `_dispatch` acts."""
        note = self._happened.append
        client.on_connect = lambda _c, _u, flags, reason, properties: note(
            lambda: self._connack(client, flags.session_present, reason, properties)
        )
        client.on_subscribe = lambda _c, _u, mid, reasons, _p: note(
            lambda: self._suback(client, mid, reasons)
        )
        client.on_publish = lambda _c, _u, mid, reason, _p: note(lambda: self._puback(mid, reason))
        client.on_message = lambda _c, _u, message: note(lambda: self._deliver(client, message))
        client.on_disconnect = lambda _c, _u, flags, reason, _p: note(
            lambda: self._farewell(flags.is_disconnect_packet_from_server, reason)
        )

    def _dispatch(self) -> None:
        happened = self._happened[:]
        self._happened.clear()
        for act in happened:
            act()

    def _connack(self, client: Client, session_present: bool, reason: ReasonCode, properties: Any) -> None:
        self._answered = True
        if reason.is_failure:
            self._refusal = self._refused(reason)
            if reason.value == diagnosis.UNSUPPORTED_PROTOCOL and self._on_trial:
                self._mqtt5, self._again = False, True
            return
        window = min(MAX_IN_FLIGHT, getattr(properties, "ReceiveMaximum", MAX_IN_FLIGHT))
        if window < self._window:  # paho takes a window only before it connects
            self._window, self._again = window, True
            client.disconnect()
            return
        self._session_present = session_present
        self._max_packet_bytes = getattr(properties, "MaximumPacketSize", None)
        with self._state:
            self._subscribing.clear()
            self._ask_for(client, self._filters)
        if not self._filters:
            self._ready(client)

    def _suback(self, client: Client, mid: int, reasons: list[ReasonCode]) -> None:
        with self._state:
            filters = self._subscribing.pop(mid, [])
        for topic_filter, reason in zip(filters, reasons, strict=False):
            if reason.is_failure:
                self._say(diagnosis.subscription_refused(topic_filter, **self._who))
        if not self._up:
            self._ready(client)

    def _ready(self, client: Client) -> None:
        with self._state:
            again, given_up = self._in_flight.reconnected(time.monotonic())
            for token, publication in again:
                mid = give(client, publication, mqtt5=self._mqtt5)
                if mid is not None:
                    self._in_flight.sent_again(token, mid)
            self._up, self._error = True, None
            self._state.notify_all()
        level = logging.DEBUG if self._quiet else logging.INFO
        log.log(level, "connected to %s with MQTT %s", self.settings.endpoint, self.protocol)
        for token in given_up:
            self._call(self.on_published, Receipt(token, GAVE_UP, "given up"))
        self._call(self.on_connected, self._session_present)

    def _puback(self, mid: int, reason: ReasonCode) -> None:
        with self._state:
            token = self._in_flight.acknowledged(mid)
            self._state.notify_all()
        if token is not None:  # None for QoS 0, where paho only says that it was sent
            self._call(self.on_published, Receipt(token, int(reason.value), reason.getName()))

    def _deliver(self, client: Client, message: Any) -> None:
        try:
            topic = message.topic
        except UnicodeDecodeError:
            topic = ""
        payload = bytes(message.payload)
        delivery = Delivery(topic, payload, message.qos, message.retain, self._connection, message.mid)
        self._call(self.on_message, delivery)
        if not self._manual_ack:
            client.ack(message.mid, message.qos)

    def _farewell(self, from_broker: bool, reason: ReasonCode) -> None:
        if from_broker and self._refusal is None:
            self._refusal = self._refused(reason)

    def _down(self) -> None:
        with self._state:
            was_up, self._up, self._client = self._up, False, None
            self._state.notify_all()
        if was_up:
            self._call(self.on_disconnected)

    def _say(self, error: LinkError) -> None:
        """Tell of a trouble once, and again when it has become another one."""
        with self._state:
            self._error = error
            self._state.notify_all()
        if str(error) != self._said:
            self._said = str(error)
            log.log(logging.DEBUG if self._quiet else logging.WARNING, "%s", error)

    def _call(self, handler: Callable[..., None], *arguments: Any) -> None:
        """A handler that fails must not take the connection with it."""
        try:
            handler(*arguments)
        except Exception:
            log.exception("%s: a handler of this MQTT session failed", self.client_id)

    def _ask_for(self, client: Client, filters: dict[str, int]) -> None:
        if filters:
            _rc, mid = client.subscribe(list(filters.items()))
            if mid is not None:
                self._subscribing[mid] = list(filters)

    def _require_up(self) -> None:
        if not self._up:
            raise self._error or diagnosis.silent(endpoint=self.settings.endpoint)

    def _refused(self, reason: ReasonCode) -> LinkError:
        return diagnosis.refused(reason, **self._who)

    @property
    def _who(self) -> dict[str, Any]:
        return {"endpoint": self.settings.endpoint, "username": self.settings.username}

    def _check_size(self, publication: Publication) -> None:
        size = len(publication.payload) + len(publication.topic) + 64  # 64 for header and properties
        if self._max_packet_bytes is not None and size > self._max_packet_bytes:
            raise LinkError(
                f"a message of {size} bytes, and the broker takes {self._max_packet_bytes}",
                where=publication.topic,
                remedy="Raise max_packet_size in the broker's settings to 256 KiB or more.",
            )
