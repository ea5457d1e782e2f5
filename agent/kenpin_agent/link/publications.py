"""What goes to the broker and comes from it, and which of it still waits for the broker's word. Pure."""

from __future__ import annotations

from dataclasses import dataclass

MAX_TRIES = 10
"""A message that was under way when this many connections broke may be what breaks them."""
GAVE_UP = 255
NOBODY = 16

_PERMANENT = frozenset({135, 144, 149, 153, GAVE_UP})  # not authorised, topic, packet too large, format


@dataclass(frozen=True, slots=True)
class Publication:
    """A message for the broker, its topic spelled out. MQTT 5 also says `expiry_s` and `content_type`."""

    topic: str
    payload: bytes
    qos: int = 0
    retain: bool = False
    expiry_s: int | None = None
    content_type: str = ""


@dataclass(frozen=True, slots=True)
class Delivery:
    """A message from the broker. `connection` and `mid` say which acknowledgement it waits for."""

    topic: str
    payload: bytes
    qos: int
    retain: bool
    connection: int = 0
    mid: int = 0


@dataclass(frozen=True, slots=True)
class Receipt:
    """What became of a QoS 1 publication.

    Attributes:
        token: What `MqttSession.publish` returned for it.
        code: MQTT 5's reason code; 0 from a 3.1.1 broker; `GAVE_UP` if it expired here, or after `MAX_TRIES`
            broken connections.
        reason: The code in words.
    """

    token: int
    code: int = 0
    reason: str = "Success"

    @property
    def accepted(self) -> bool:
        """Whether the broker took it. That nobody subscribes to it is no refusal."""
        return self.code < 128

    @property
    def heard(self) -> bool:
        """Whether it reached somebody, as far as the broker says; one that speaks 3.1.1 never says no."""
        return self.accepted and self.code != NOBODY

    @property
    def permanent(self) -> bool:
        """Whether sending it again would be refused again."""
        return self.code in _PERMANENT

    @property
    def gave_up(self) -> bool:
        """Whether it was this side that gave up."""
        return self.code == GAVE_UP


class InFlight:
    """QoS 1 publications that the broker has not acknowledged, over any number of connections."""

    def __init__(self) -> None:
        self._last_token = 0
        self._waiting: dict[int, _Waiting] = {}
        self._tokens: dict[int, int] = {}  # message id on this connection → token

    def __len__(self) -> int:
        return len(self._waiting)

    def sent(self, publication: Publication, mid: int, now_s: float) -> int:
        """Note what was sent for the first time; returns its token, which is unique in this session."""
        self._last_token += 1
        self._waiting[self._last_token] = _Waiting(publication, now_s)
        self._tokens[mid] = self._last_token
        return self._last_token

    def acknowledged(self, mid: int) -> int | None:
        """The broker's word came; returns the token, or None if none waited for it."""
        token = self._tokens.pop(mid, None)
        if token is not None:
            self._waiting.pop(token, None)
        return token

    def reconnected(self, now_s: float) -> tuple[list[tuple[int, Publication]], list[int]]:
        """A new connection stands. Returns what is to be sent again, in order, and the tokens given up."""
        self._tokens.clear()
        given_up = []
        for token, waiting in list(self._waiting.items()):
            waiting.tries += 1
            expiry_s = waiting.publication.expiry_s
            if waiting.tries > MAX_TRIES or (expiry_s is not None and now_s - waiting.since_s > expiry_s):
                del self._waiting[token]
                given_up.append(token)
        return [(token, waiting.publication) for token, waiting in self._waiting.items()], given_up

    def sent_again(self, token: int, mid: int) -> None:
        """Note the message id under which it went out this time."""
        self._tokens[mid] = token


@dataclass(slots=True)
class _Waiting:
    publication: Publication
    since_s: float
    tries: int = 1
