"""Answering what agents ask, on a thread of its own: answers read files, and who hears the question must not wait."""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Generic, TypeVar

from kenpin_controller.seldom import Seldom
from kenpin_wire.errors import KenpinError
from kenpin_wire.topics import Address

MAX_WAITING = 256
FORGOTTEN_S = 10.0
"""An agent whose request waited this long has asked again."""

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class _Request(Generic[_T]):
    address: Address
    wanted: _T
    since_s: float


class Answerer(Generic[_T]):
    """Questions in a queue, answered one by one.

    Args:
        what: What is asked for, such as "blocks", for the log.
        answer: Called on the thread; what it raises is told, seldom.
        seldom: Tells it.

    Attributes:
        stopping: Set when it shall end; an answer that waits watches it.
    """

    def __init__(self, what: str, answer: Callable[[Address, _T], None], seldom: Seldom) -> None:
        self.stopping = threading.Event()
        self._what = what
        self._answer = answer
        self._seldom = seldom
        self._queue: queue.Queue[_Request[_T] | None] = queue.Queue(MAX_WAITING)
        self._thread = threading.Thread(target=self._run, name=f"answers-{what}", daemon=True)

    def start(self) -> None:
        """Begin to answer."""
        self._thread.start()

    def ask(self, address: Address, wanted: _T) -> None:
        """Queue a request; one too many is dropped, and the agent asks again."""
        try:
            self._queue.put_nowait(_Request(address, wanted, time.monotonic()))
        except queue.Full:
            self._seldom.warn(f"too many requests for {self._what}, they will be asked again", address.device)

    def stop(self) -> None:
        """End, leaving what waits unanswered."""
        self.stopping.set()
        with suppress(queue.Full):
            self._queue.put_nowait(None)
        if self._thread.is_alive():
            self._thread.join(timeout=5.0)

    def _run(self) -> None:
        while not self.stopping.is_set():
            request = self._queue.get()
            if request is None or time.monotonic() - request.since_s > FORGOTTEN_S:
                continue
            try:
                self._answer(request.address, request.wanted)
            except (KenpinError, OSError) as error:
                self._seldom.warn(f"{self._what} not sent", f"{request.address.device}: {error}")
            except Exception:
                logging.getLogger(__name__).exception("%s: %s not sent", request.address.device, self._what)
