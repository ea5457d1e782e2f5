"""What people marked devices with: pins, which rollouts pass by, and tags, which rollouts are aimed by."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Engine, delete, select

from kenpin_controller.rollouts.views import Pin
from kenpin_controller.store import schema as t
from kenpin_controller.store.audit import Deed, writing
from kenpin_controller.store.database import upsert


class Marks:
    """Each change and its audit line are one transaction; it raises StoreError if that cannot be stored."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._writer = engine.execution_options(writes=True)

    def pin(self, pin: Pin, *, deed: Deed) -> None:
        """Pin a device, or pin it anew."""
        with writing(self._writer, deed) as connection:
            row = {"device": pin.device, "release": pin.release, "who": pin.who[:64], "why": pin.why[:512]}
            upsert(connection, t.pins, row | {"time_s": pin.time_s})

    def unpin(self, device: str, *, deed: Deed) -> None:
        """Unpin a device; one that is not pinned stays so."""
        with writing(self._writer, deed) as connection:
            connection.execute(delete(t.pins).where(t.pins.c.device == device))

    def pins(self) -> dict[str, Pin]:
        """By device."""
        with self._engine.connect() as connection:
            return {row.device: Pin(**row._asdict()) for row in connection.execute(select(t.pins))}

    def tag(self, device: str, tags: Sequence[str], *, deed: Deed) -> None:
        """Set a device's tags to these."""
        with writing(self._writer, deed) as connection:
            connection.execute(delete(t.tags).where(t.tags.c.device == device))
            for tag in tags:
                connection.execute(t.tags.insert().values(device=device, tag=tag))

    def tags(self) -> dict[str, list[str]]:
        """By device, those that have any, sorted."""
        tags: dict[str, list[str]] = {}
        with self._engine.connect() as connection:
            for row in connection.execute(select(t.tags).order_by(t.tags.c.device, t.tags.c.tag)):
                tags.setdefault(row.device, []).append(row.tag)
        return tags
