"""Turns inspections into messages: live score, the second's roll-up, and an event when a part is anomalous.

Pure but for the identifiers it draws: time comes with each call, and publishing is the caller's.
"""

from __future__ import annotations

import hashlib
import uuid
from dataclasses import dataclass, field
from datetime import UTC, datetime

import numpy as np

from kenpin_agent.inspect import Inspection
from kenpin_agent.pictures import encode_jpeg
from kenpin_agent.seams import Outgoing
from kenpin_wire.contract import MAX_JPEG_BYTES
from kenpin_wire.messages import AnomalyData, AnomalyEvent, Score, ScoreAggregate, Verdict, pack_scores
from kenpin_wire.topics import Address, Channel

LIVE_SCORES_PER_S = 20.0
"""No eye and no page follows more; the roll-up has every score."""


@dataclass(slots=True)
class _Second:
    """The scores of the second that is running."""

    began_s: int
    release: str
    threshold: float | None
    scores: list[float] = field(default_factory=list)
    anomalies: int = 0


class Reporter:
    """Remembers only what the next message needs."""

    def __init__(self, address: Address) -> None:
        self._source = f"{address.site}/{address.line}/{address.device}"
        self._second: _Second | None = None
        self._last_live_s = float("-inf")
        self._anomalous: str | None = (
            None  # the part, or "" for an unnamed one, that the last event was about
        )

    def begins_event(self, verdict: Verdict, part: str | None) -> bool:
        """Whether an inspection with this outcome starts a new anomaly event.

        Named parts have one event each. A view without part names has one when it turns anomalous, and the
        next after it was normal again.
        """
        return verdict is Verdict.ANOMALY and self._anomalous != (part or "")

    def report(self, inspection: Inspection, *, wall_s: float) -> list[Outgoing]:
        """The messages that follow from an inspection at `wall_s`, in the order to be published."""
        out = self.flush(until_s=int(wall_s))
        out += self._roll_up(inspection, int(wall_s))
        frame = inspection.frame
        if frame.captured_s - self._last_live_s >= 1.0 / LIVE_SCORES_PER_S:
            self._last_live_s = frame.captured_s
            out.append(Outgoing(Channel.SCORE, _live(inspection)))
        if self.begins_event(inspection.verdict, frame.part):
            out += self._event(inspection, wall_s)
        elif inspection.heatmap is not None and inspection.verdict is not Verdict.ANOMALY:
            out.append(Outgoing(Channel.HEATMAP, encode_jpeg(inspection.heatmap, max_bytes=MAX_JPEG_BYTES)))
        if inspection.verdict is Verdict.ANOMALY:
            self._anomalous = frame.part or ""
        elif frame.part is None or frame.part != self._anomalous:  # a named part has had its event
            self._anomalous = None
        return out

    def flush(self, *, until_s: int | None = None) -> list[Outgoing]:
        """The roll-up of a second that is over (at `until_s`), or of any with None."""
        second = self._second
        if second is None or second.began_s == until_s:
            return []
        self._second = None
        scores = np.asarray(second.scores, dtype=np.float32)
        message = ScoreAggregate(
            ts=datetime.fromtimestamp(second.began_s, UTC),
            release=second.release,
            threshold=second.threshold,
            n=len(scores),
            mean=float(scores.mean()),
            p95=float(np.quantile(scores, 0.95)),
            max=float(scores.max()),
            anomalies=second.anomalies,
            scores=pack_scores(second.scores),
        )
        return [Outgoing(Channel.SCORE_AGG, message)]

    def _roll_up(self, inspection: Inspection, second_s: int) -> list[Outgoing]:
        """Count the score in; a release or threshold that changed within a second ends its roll-up early."""
        second, out = self._second, []
        about = (inspection.release, inspection.threshold)
        if second is not None and (second.release, second.threshold) != about:
            out, second = self.flush(), None
        if second is None:
            second = self._second = _Second(second_s, *about)
        second.scores.append(inspection.score)
        second.anomalies += inspection.verdict is Verdict.ANOMALY
        return out

    def _event(self, inspection: Inspection, wall_s: float) -> list[Outgoing]:
        frame = inspection.frame
        jpegs = [(Channel.PICTURE, encode_jpeg(frame.image, max_bytes=MAX_JPEG_BYTES))]
        if inspection.heatmap is not None:
            jpegs.append((Channel.HEATMAP, encode_jpeg(inspection.heatmap, max_bytes=MAX_JPEG_BYTES)))
        sha256 = {channel: hashlib.sha256(jpeg).hexdigest() for channel, jpeg in jpegs}
        event = AnomalyEvent(
            id=uuid.uuid4().hex,
            source=self._source,
            time=datetime.fromtimestamp(wall_s, UTC),
            data=AnomalyData(
                score=inspection.score,
                threshold=inspection.threshold,
                frame=frame.index,
                part=frame.part,
                release=inspection.release,
                heatmap_sha256=sha256.get(Channel.HEATMAP),
                picture_sha256=sha256[Channel.PICTURE],
            ),
        )
        return [
            Outgoing(Channel.EVENT_ANOMALY, event, event_id=event.id),
            *(Outgoing(channel, jpeg) for channel, jpeg in jpegs),
        ]


def _live(inspection: Inspection) -> Score:
    named = inspection.classification
    return Score(
        score=inspection.score,
        threshold=inspection.threshold,
        verdict=inspection.verdict,
        frame=inspection.frame.index,
        part=inspection.frame.part,
        release=inspection.release,
        label=named.label if named else None,
        confidence=round(named.confidence, 4) if named else None,
        timings_ms={stage: round(ms, 3) for stage, ms in inspection.timings_ms.items()},
    )
