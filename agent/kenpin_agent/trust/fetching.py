"""Fetching the repository's files: over MQTT, part by part, or from a web server. Without tuf.

A fetch gives a file piece by piece, so that whoever reads it stops when it becomes too long.
"""

from __future__ import annotations

import http.client
import re
import secrets
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator

from kenpin_agent.seams import Clock, Incoming, Link, Outgoing
from kenpin_wire.errors import RepositoryAwayError, WireError
from kenpin_wire.messages import MetadataRequest
from kenpin_wire.metadata import MetadataPart, unpack_metadata
from kenpin_wire.topics import Channel

ANSWER_S = 2.0
"""How long an answer is waited for before the part is asked for again."""
TRIES = 3
FILE_S = 30.0
"""A file that takes longer is given up, however steadily it drips."""

_NAME = re.compile(r"[0-9a-z_.-]{1,80}")
_PIECE_BYTES = 64 * 1024


class NotThereError(Exception):
    """The repository has no such file."""


Fetch = Callable[[str], Iterator[bytes]]
"""Gives the named file's pieces.

Raises:
    NotThereError: if the repository says that it has none of this name.
    RepositoryAwayError: if it cannot be had now.
"""


class MqttFetch:
    """Asks the controller over the link (`meta/req`, `set/meta`). A `Fetch`, for one file at a time; any thread
    but the link's own."""

    def __init__(self, link: Link, clock: Clock) -> None:
        self._link = link
        self._clock = clock
        self._waits_for = ""
        self._part: MetadataPart | None = None
        self._came = threading.Event()
        self._lock = threading.Lock()
        link.on_message(self._take)

    def __call__(self, name: str) -> Iterator[bytes]:
        if not _NAME.fullmatch(name):
            raise NotThereError(name)
        until_s = self._clock.monotonic_s() + FILE_S
        part = self._ask(name, 0)
        size, offset = part.size, 0
        if size == 0:
            raise NotThereError(name)
        while True:
            if part.offset != offset or part.size != size or not part.data:
                raise RepositoryAwayError("its parts do not fit together", where=name, remedy="Try again.")
            yield part.data
            offset += len(part.data)
            if offset >= size:
                return
            if self._clock.monotonic_s() > until_s:
                raise RepositoryAwayError(
                    f"not complete after {FILE_S:.0f} s", where=name, remedy="Try again."
                )
            part = self._ask(name, offset)

    def _ask(self, name: str, offset: int) -> MetadataPart:
        for _ in range(TRIES):
            if not self._link.connected:
                raise RepositoryAwayError(
                    "the broker is away", where=name, remedy="Try again when it is back."
                )
            with self._lock:  # a new id each time, so that a late answer is not taken for this one's
                self._waits_for, self._part = secrets.token_hex(8), None
                self._came.clear()
            request = MetadataRequest(id=self._waits_for, name=name, offset=offset)
            self._link.publish(Outgoing(Channel.META_REQ, request))
            if self._clock.wait(self._came, ANSWER_S) and (part := self._answer()) is not None:
                return part
        raise RepositoryAwayError(
            "the controller does not answer", where=name, remedy="See whether the controller runs."
        )

    def _answer(self) -> MetadataPart | None:
        with self._lock:
            return self._part

    def _take(self, message: Incoming) -> None:
        """On the link's thread."""
        if message.channel is not Channel.SET_META or not isinstance(message.payload, bytes):
            return
        try:
            part = unpack_metadata(message.payload)
        except WireError:
            return  # damaged: it is asked for again
        with self._lock:
            if message.argument == self._waits_for and self._part is None:
                self._part = part
                self._came.set()


class WebFetch:
    """Asks a web server, which has the same names under `base`. A `Fetch`."""

    def __init__(self, base: str, clock: Clock) -> None:
        self._base = base.rstrip("/")
        self._clock = clock

    def __call__(self, name: str) -> Iterator[bytes]:
        until_s = self._clock.monotonic_s() + FILE_S
        url = f"{self._base}/{name}"
        try:
            # The configuration lets only http and https through.
            with urllib.request.urlopen(url, timeout=ANSWER_S * TRIES) as response:  # noqa: S310
                while piece := response.read1(_PIECE_BYTES):
                    yield piece
                    if self._clock.monotonic_s() > until_s:
                        raise RepositoryAwayError(f"not complete after {FILE_S:.0f} s", where=url)
        except urllib.error.HTTPError as error:
            if error.code in (403, 404):
                raise NotThereError(name) from None
            raise RepositoryAwayError(f"the server answers {error.code}", where=url) from None
        except (OSError, ValueError, http.client.HTTPException) as error:
            reason = getattr(error, "reason", None) or error
            raise RepositoryAwayError(
                f"it cannot be fetched ({reason})", where=url, remedy="Check trust.url and the network."
            ) from None
