"""Commands that were sent, and how each fares. In memory: a command lives for seconds."""

from __future__ import annotations

import secrets
import threading
from collections import OrderedDict
from dataclasses import dataclass, field, replace
from typing import Any

from kenpin_wire.messages import CommandState, Reply
from kenpin_wire.topics import Address

REMEMBERED = 1_000
_ENDED = (CommandState.SUCCESSFUL, CommandState.FAILED)


@dataclass(frozen=True, slots=True)
class CommandRecord:
    """A command. `state` is "init" until the device answers."""

    id: str
    device: str
    verb: str
    who: str
    sent_s: float
    state: str = CommandState.INIT.value
    reason: str = ""
    result: dict[str, Any] = field(default_factory=dict)

    @property
    def ended(self) -> bool:
        """Whether there is nothing more to come."""
        return self.state in _ENDED


class Commands:
    """The last `REMEMBERED` commands. Any number of threads."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._records: OrderedDict[str, CommandRecord] = OrderedDict()

    def issue(self, device: str, verb: str, *, who: str, now_s: float) -> CommandRecord:
        """Begin to track a new command."""
        record = CommandRecord(secrets.token_hex(8), device, verb, who, now_s)
        with self._changed:
            self._records[record.id] = record
            if len(self._records) > REMEMBERED:
                self._records.popitem(last=False)
        return record

    def take_reply(self, address: Address, reply: Reply) -> None:
        """Note how a command fares. A reply from a device that was not asked changes nothing."""
        with self._changed:
            record = self._records.get(reply.id)
            if record is not None and record.device == address.device and not record.ended:
                self._records[reply.id] = replace(
                    record, state=str(reply.state), reason=reply.reason, result=reply.result
                )
                self._changed.notify_all()

    def get(self, command_id: str, *, wait_s: float = 0.0) -> CommandRecord | None:
        """A command, waiting up to `wait_s` for its end; None if it was never sent, or long ago."""
        with self._changed:
            self._changed.wait_for(lambda: self._has_ended(command_id), timeout=wait_s)
            return self._records.get(command_id)

    def _has_ended(self, command_id: str) -> bool:
        record = self._records.get(command_id)
        return record is None or record.ended
