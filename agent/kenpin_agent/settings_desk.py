"""Where wishes for other settings arrive, are remembered, and are answered."""

from __future__ import annotations

import threading

from kenpin_agent.memory import Memory
from kenpin_agent.seams import Link, Outgoing
from kenpin_agent.settings import Settings, reconcile
from kenpin_wire.manifest import Manifest
from kenpin_wire.messages import DesiredConfig
from kenpin_wire.topics import Channel


class SettingsDesk:
    """The settings in force. Wishes come on the link's or the trust's thread, releases change on the loop's."""

    def __init__(self, own: Settings, memory: Memory, link: Link) -> None:
        self._own = own
        self._memory = memory
        self._link = link
        self._lock = threading.Lock()
        self._wishes = memory.wishes()
        self._manifest: Manifest | None = None
        self._current = own

    @property
    def current(self) -> Settings:
        """Replaced as a whole when something changes, so that a frame is judged by one set of settings."""
        return self._current

    def settings_for(self, manifest: Manifest) -> Settings:
        """What would be in force if this release ran."""
        return reconcile(self._own, self._wishes, manifest)[0]

    def wish(self, wish: DesiredConfig, *, whole_line: bool, anew: bool = False) -> None:
        """Reconcile a desired-settings message. An old or repeated one changes nothing, but is answered as well:
        whoever said it learns which revision holds, and a broker that forgot the report has it again. `anew`: it
        replaces a newer one too (`Incoming.anew`)."""
        with self._lock:
            wishes = self._wishes.with_newer(wish, whole_line=whole_line, anew=anew)
            if wishes is self._wishes:
                self._reconcile()
                return
            self._wishes = wishes
            self._reconcile()
            self._memory.remember(wishes)

    def release_changed(self, manifest: Manifest | None) -> None:
        """Reconcile for the release that runs from now on."""
        with self._lock:
            self._manifest = manifest
            self._reconcile()

    def _reconcile(self) -> None:
        self._current, report = reconcile(self._own, self._wishes, self._manifest)
        self._link.publish(Outgoing(Channel.REPORTED_CONFIG, report))
