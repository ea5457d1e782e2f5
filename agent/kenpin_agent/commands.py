"""What an operator can ask a device to do once. Each verb answers with how it went."""

from __future__ import annotations

import threading
from collections.abc import Mapping

from kenpin_agent.inspect import Inspection
from kenpin_agent.pictures import encode_jpeg
from kenpin_agent.seams import Link, Outgoing
from kenpin_wire.contract import MAX_JPEG_BYTES
from kenpin_wire.messages import Command, CommandState, Reply
from kenpin_wire.topics import Channel

VERBS = ("ping", "snapshot")


class Commands:
    """Commands arrive on the link's thread and are answered there, or by the next inspected frame."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._lock = threading.Lock()
        self._waiting: list[str] = []

    @property
    def snapshot_wanted(self) -> bool:
        """Whether someone waits for the picture and heatmap of the next frame."""
        return bool(self._waiting)

    def take(self, verb: str, command: Command) -> None:
        """Do, or begin to do, what was asked."""
        match verb:
            case "ping":
                self._reply(command.id, CommandState.SUCCESSFUL)
            case "snapshot":
                # First this word, for the loop may have the last one at once.
                self._reply(command.id, CommandState.EXECUTING)
                with self._lock:
                    self._waiting.append(command.id)
            case _:
                reason = f"this agent knows no verb {verb!r}; it knows {', '.join(VERBS)}"
                self._reply(command.id, CommandState.FAILED, reason=reason)

    def answer(self, inspection: Inspection) -> list[Outgoing]:
        """Picture, heatmap and reply for those who waited for this frame."""
        if not self._waiting or inspection.heatmap is None:
            return []
        waiting = self._take_waiting()
        pictures = ((Channel.PICTURE, inspection.frame.image), (Channel.HEATMAP, inspection.heatmap))
        result = {
            "score": inspection.score,
            "verdict": inspection.verdict.value,
            "release": inspection.release,
        }
        if inspection.classification is not None:
            result["label"] = inspection.classification.label
        return [
            *(Outgoing(channel, encode_jpeg(image, max_bytes=MAX_JPEG_BYTES)) for channel, image in pictures),
            *(_reply(command_id, CommandState.SUCCESSFUL, result=result) for command_id in waiting),
        ]

    def refuse(self, reason: str) -> list[Outgoing]:
        """Reply to those who wait for a frame that none will be inspected now."""
        return [_reply(command_id, CommandState.FAILED, reason=reason) for command_id in self._take_waiting()]

    def _take_waiting(self) -> list[str]:
        with self._lock:
            waiting, self._waiting = self._waiting, []
        return waiting

    def _reply(self, command_id: str, state: CommandState, *, reason: str = "") -> None:
        self._link.publish(_reply(command_id, state, reason=reason))


def _reply(
    command_id: str, state: CommandState, *, reason: str = "", result: Mapping[str, object] | None = None
) -> Outgoing:
    reply = Reply(id=command_id, state=state, reason=reason, result=dict(result or {}))
    return Outgoing(Channel.REPLY, reply, argument=command_id)
