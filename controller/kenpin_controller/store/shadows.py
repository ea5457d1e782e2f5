"""What shadowing devices said, and what people made of the frames that were judged differently."""

from __future__ import annotations

import json
from typing import Any

from sqlalchemy import Engine, func, select, update

from kenpin_controller.rollouts.gates import Verdicts
from kenpin_controller.rollouts.views import DisagreementRecord, WhoIsRight
from kenpin_controller.store import schema as t
from kenpin_controller.store.audit import Deed, writing
from kenpin_wire.shadow import ShadowReport


class Shadows:
    """Reports and disagreements; ingest writes them. Any number of threads."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._writer = engine.execution_options(writes=True)

    def reports(self, rollout: str) -> dict[str, ShadowReport]:
        """The last of each device of a rollout."""
        query = select(t.shadow_reports).where(t.shadow_reports.c.rollout == rollout)
        with self._engine.connect() as connection:
            rows = connection.execute(query).all()
        return {row.device: ShadowReport.model_validate_json(json.dumps(row.body)) for row in rows}

    def disagreements(
        self, *, rollout: str | None = None, device: str | None = None, limit: int = 200
    ) -> list[DisagreementRecord]:
        """Newest first."""
        c = t.disagreements.c
        query = select(t.disagreements).order_by(c.time_s.desc(), c.id).limit(limit)
        if rollout is not None:
            query = query.where(c.rollout == rollout)
        if device is not None:
            query = query.where(c.device == device)
        with self._engine.connect() as connection:
            return [_record(row) for row in connection.execute(query)]

    def judge(self, disagreement_id: str, right: WhoIsRight, *, deed: Deed) -> DisagreementRecord | None:
        """Write down who is right; None if there is no such disagreement.

        Raises:
            StoreError: if it cannot be stored; nothing has changed then.
        """
        mine = t.disagreements.c.id == disagreement_id
        with self._engine.connect() as connection:
            if connection.execute(select(t.disagreements).where(mine)).first() is None:
                return None
        values = {"right": right.value, "judged_by": deed.who[:64], "judged_s": deed.time_s}
        with writing(self._writer, deed) as connection:
            connection.execute(update(t.disagreements).where(mine).values(**values))
            return _record(connection.execute(select(t.disagreements).where(mine)).one())

    def verdicts(self, rollout: str) -> Verdicts:
        """How many frames of a rollout were judged, and how."""
        c = t.disagreements.c
        query = select(c.right, func.count()).where(c.rollout == rollout).group_by(c.right)
        with self._engine.connect() as connection:
            counted = {right: int(n) for right, n in connection.execute(query)}
        return Verdicts(
            new=counted.get(WhoIsRight.NEW, 0), old=counted.get(WhoIsRight.OLD, 0), open=counted.get(None, 0)
        )


def _record(row: Any) -> DisagreementRecord:
    fields = row._asdict()
    return DisagreementRecord(**fields | {"right": WhoIsRight(fields["right"]) if fields["right"] else None})
