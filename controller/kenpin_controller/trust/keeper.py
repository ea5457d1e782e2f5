"""The controller's daily round with its keys: made on the first day, renewed, and told of before they end."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from kenpin_controller.trust.desk import TrustDesk
from kenpin_controller.trust.envelope import RESIGN
from kenpin_wire.errors import KenpinError

SAID_EVERY_S = 86_400.0

log = logging.getLogger(__name__)


class Keeper:
    """Never raises for what is wrong with the keys: the lines go on being watched, and the log says it.

    Args:
        resign: Publishes all desired state, and so signs it anew.
        wall_s: The wall clock. Messages end by it, so its jumps count: a controller may start before it knows the
            time.

    Attributes:
        first_day: Whether the keys were made by `begin`; a person should hear of it.
    """

    def __init__(
        self,
        desk: TrustDesk,
        resign: Callable[[], None],
        *,
        wall_s: Callable[[], float] = time.time,
    ) -> None:
        self._desk = desk
        self._resign = resign
        self._wall_s = wall_s
        self._signed_s = wall_s()
        self._key = ""
        self.first_day = False
        self._said_s: dict[str, float] = {}

    def begin(self) -> None:
        """Before anything is served: make what is missing, renew what is due.

        Raises:
            StoreError: if the keys cannot be written.
        """
        if not self._desk.made:
            self._desk.make()
            self.first_day = True
        self._renew()

    def keep(self) -> None:
        """Every minute or so."""
        key = self._key
        self._renew()
        now_s = self._wall_s()
        if key != self._key or abs(now_s - self._signed_s) >= RESIGN.total_seconds():
            self._signed_s = now_s
            self._resign()

    def _renew(self) -> None:
        try:
            for what in self._desk.tick():
                self._say(what)
            self._key = self._desk.controller_key_id
        except KenpinError as error:
            self._say(str(error))

    def _say(self, what: str) -> None:
        now_s = time.monotonic()
        if now_s - self._said_s.get(what, float("-inf")) >= SAID_EVERY_S:
            self._said_s[what] = now_s
            log.warning("keys: %s", what)
