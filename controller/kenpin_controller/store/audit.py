"""The audit log: who did what, written down in the transaction that did it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Engine, select
from sqlalchemy.exc import SQLAlchemyError

from kenpin_controller.rollouts.views import AuditRecord
from kenpin_controller.store import schema as t
from kenpin_controller.store.database import store_error


@dataclass(frozen=True, slots=True)
class Deed:
    """Who did what, to be written down with it."""

    who: str
    action: str
    subject: str
    time_s: float
    detail: Mapping[str, Any]


@contextmanager
def writing(writer: Engine, *deeds: Deed) -> Iterator[Connection]:
    """A transaction that ends with its deeds in the log.

    Raises:
        StoreError: if it cannot be stored; nothing has changed then.
    """
    try:
        with writer.begin() as connection:
            yield connection
            for deed in deeds:
                connection.execute(
                    t.audit.insert().values(
                        time_s=deed.time_s,
                        who=deed.who[:64],
                        action=deed.action[:64],
                        subject=deed.subject[:128],
                        detail=dict(deed.detail),
                    )
                )
    except SQLAlchemyError as error:
        raise store_error(error) from None


def read_audit(engine: Engine, *, limit: int, before_id: int | None) -> list[AuditRecord]:
    """Newest first."""
    c = t.audit.c
    query = select(t.audit).order_by(c.id.desc()).limit(limit)
    if before_id is not None:
        query = query.where(c.id < before_id)
    with engine.connect() as connection:
        rows = connection.execute(query).all()
    return [AuditRecord(**row._asdict()) for row in rows]
