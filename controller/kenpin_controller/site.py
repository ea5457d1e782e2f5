"""What a person asks for, carried out: checked, stored, written into the audit log, and only then published.

Desired state is what the store says. The broker's retained messages are a copy of it, made again at every
connection, so that a broker that lost them is healed.
"""

from __future__ import annotations

import hashlib
import re
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from kenpin_agent.release import read_report_page, unpack_release
from kenpin_controller.commands import CommandRecord, Commands
from kenpin_controller.errors import ConflictError, NotFoundError, StoreError, TooLargeError
from kenpin_controller.fleet import Fleet
from kenpin_controller.operations import (
    MAX_RELEASE_BYTES,
    EventRecord,
    ReleaseRecord,
    ScoreSecond,
)
from kenpin_controller.outgoing import Outgoing
from kenpin_controller.publisher import Publisher
from kenpin_controller.rollouts.desk import RolloutDesk
from kenpin_controller.rollouts.runner import Runner
from kenpin_controller.store import Store
from kenpin_controller.store.audit import Deed
from kenpin_controller.store.desired import Desire
from kenpin_controller.store.writes import Seen
from kenpin_controller.trust.desk import TrustDesk
from kenpin_controller.trust.metadata import Named, release_file
from kenpin_wire.contract import encode
from kenpin_wire.errors import ConfigError, LinkError, ReleaseError
from kenpin_wire.faults import first_fault
from kenpin_wire.manifest import Manifest
from kenpin_wire.messages import Command, DesiredConfig, Threshold, now
from kenpin_wire.topics import Address, Channel, Topic

_VERB = re.compile(r"[a-z][a-z0-9_-]{0,31}")


class Site(RolloutDesk):
    """Implements `kenpin_controller.operations.Operations`: rollouts at the desk, all else here. Any number of
    threads."""

    def __init__(
        self,
        store: Store,
        fleet: Fleet,
        publisher: Publisher,
        commands: Commands,
        trust: TrustDesk,
        *,
        outgoing: Outgoing,
        runner: Runner,
        wall_s: Callable[[], float] = time.time,
    ) -> None:
        super().__init__(store, fleet, runner, ready=self.require_signed, wall_s=wall_s)
        self._publisher = publisher
        self._commands = commands
        self._outgoing = outgoing
        self.trust = trust

    def set_threshold(
        self, device: str, *, value: float | None = None, false_rejects: float | None = None, who: str
    ) -> int:
        if value is not None and false_rejects is not None:
            raise ConfigError(
                "a score and a false-reject rate exclude each other",
                where="threshold",
                remedy="Give one of them, or neither for the release's own default.",
            )
        seen = self._device(device)
        if not seen.release:
            raise ConfigError(
                "runs no release yet, so there is no score to set a limit to",
                where=device,
                remedy="Roll a release out to it first.",
            )
        threshold = _checked(
            Threshold, {"release": seen.release, "value": value, "false_rejects": false_rejects}
        )
        detail = threshold.model_dump(exclude_none=True)
        return self._change_config(seen, {"threshold": threshold}, "set threshold", detail, who)

    def set_inspection(self, device: str, on: bool, *, who: str) -> int:
        return self._change_config(
            self._device(device), {"inspection": on}, "set inspection", {"inspection": on}, who
        )

    def add_release(self, data: bytes, *, who: str) -> ReleaseRecord:
        if len(data) > MAX_RELEASE_BYTES:
            raise TooLargeError(
                f"{len(data)} bytes, more than {MAX_RELEASE_BYTES}",
                where="release",
                remedy="A release is typically 5 MB; this is hardly one.",
            )
        manifest = _verified(data)
        record = ReleaseRecord(
            release=manifest.release,
            sha256=hashlib.sha256(data).hexdigest(),
            size=len(data),
            uploaded_s=self._wall_s(),
            summary=_summary(manifest),
        )
        added = self._store.releases.add(record, data, who=who)
        self.trust.sign([_named(added)])  # where the key is elsewhere, it waits unsigned
        return added

    def signed(self, record: ReleaseRecord) -> bool:
        """Whether the targets key has signed a release."""
        return self.trust.signed(_named(record))

    def require_signed(self, record: ReleaseRecord) -> None:
        """Sign a release if that can be done here.

        Raises:
            ConflictError: if it cannot: devices that trust this site's root would refuse it.
        """
        if not self.signed(record) and not self.trust.sign([_named(record)]):
            raise ConflictError(
                "the targets key has not signed it, and it is not on this machine",
                where=str(record.release),
                remedy="Where the key is: `kenpin release publish FILE --keys DIR`; without a network there, "
                "`kenpin release sign FILE --keys DIR --repository COPY`, then `kenpin release publish FILE` here.",
            )

    def accept_targets(self, metadata: bytes, *, who: str) -> int:
        """Take in targets metadata that was signed elsewhere. Returns its version. Raises as `TrustDesk.accept`."""
        self.trust.accept(metadata, self._held)
        targets = self.trust.repository.books().targets.signed
        deed = Deed(
            who,
            "accept targets",
            f"version {targets.version}",
            self._wall_s(),
            {"names": sorted(targets.targets)},
        )
        self._store.intents.note(deed)
        return targets.version

    def _held(self, file: str) -> Named | None:
        """What lies here under the name that targets gives a release."""
        record = self._store.releases.labelled(file.removesuffix(".kenpin"))
        return _named(record) if record is not None else None

    def send_command(self, device: str, verb: str, arguments: dict[str, Any], *, who: str) -> str:
        if not _VERB.fullmatch(verb):
            raise ConfigError(
                f"{verb!r} cannot be a command", where="verb", remedy="Use one such as 'ping' or 'snapshot'."
            )
        seen = self._device(device)
        now_s = self._wall_s()
        record = self._commands.issue(device, verb, who=who, now_s=now_s)
        command = Command(id=record.id, arguments=arguments)
        try:
            encode(command)
        except ValueError:
            raise ConfigError("cannot be written as JSON", where="arguments") from None
        self._store.intents.note(Deed(who, f"command {verb}", device, now_s, {"id": record.id}))
        if not self._publisher.say(Topic(_address(seen), Channel.CMD, verb), command):
            raise LinkError(
                "the broker is away, and a command does not wait",
                where=device,
                remedy="Send it again once the broker is back.",
            )
        return record.id

    def command(self, command_id: str, *, wait_s: float = 0.0) -> CommandRecord | None:
        """How a command fares, waiting up to `wait_s` for its end."""
        return self._commands.get(command_id, wait_s=wait_s)

    def releases(self) -> list[ReleaseRecord]:
        return self._store.releases.list()

    def release(self, label: str) -> ReleaseRecord | None:
        record = self._store.releases.labelled(label)
        if record is None or not self.trust.made:
            return record
        return replace(record, signed=self.signed(record))

    def release_report(self, label: str) -> bytes | None:
        record = self.release(label)
        return read_report_page(self._store.releases.path(record.sha256)) if record is not None else None

    def release_file(self, record: ReleaseRecord) -> Path:
        """Where a release's own file lies."""
        return self._store.releases.path(record.sha256)

    def events(
        self,
        *,
        line: str | None = None,
        device: str | None = None,
        limit: int = 50,
        before_s: float | None = None,
        before_id: str | None = None,
    ) -> list[EventRecord]:
        """As the protocol says; `before_id` goes on exactly behind that event of the moment `before_s`."""
        return self._store.readings.events(
            line=line, device=device, limit=limit, before_s=before_s, before_id=before_id
        )

    def event(self, event_id: str) -> EventRecord | None:
        return self._store.readings.event(event_id)

    def picture(self, sha256: str) -> bytes | None:
        return self._store.readings.picture(sha256) or self._fleet.jpeg(sha256)

    def scores(self, device: str, *, since_s: float, until_s: float | None = None) -> list[ScoreSecond]:
        return self._store.readings.scores(device, since_s=since_s, until_s=until_s)

    def devices(self) -> list[Seen]:
        """Every device that was ever heard, by name, with what it last said of itself."""
        known = {seen.name: seen for seen in self._store.readings.devices()}
        for line in self._fleet.lines():
            for view in line.devices:
                before = known.get(view.name)
                known[view.name] = Seen(
                    name=view.name,
                    site=view.address.site,
                    line=view.address.line,
                    time_s=view.heard_s or (before.time_s if before else 0.0),
                    release=view.installed or (before.release if before else ""),
                    config_rev=max(view.config.rev if view.config else 0, before.config_rev if before else 0),
                    release_rev=max(
                        view.release.rev if view.release else 0, before.release_rev if before else 0
                    ),
                )
        return [known[name] for name in sorted(known)]

    def desired_revs(self) -> dict[str, int]:
        """The revision of each device's desired settings, for those that have any."""
        return {
            desire.address.device: desire.message.rev
            for desire in self._store.intents.desired()
            if isinstance(desire.message, DesiredConfig)
        }

    def _change_config(
        self, seen: Seen, fields: dict[str, Any], action: str, detail: dict[str, Any], who: str
    ) -> int:
        address = _address(seen)
        with self._outgoing.turn:
            config = self._store.intents.change_config(
                address,
                lambda config: config.model_copy(update={**fields, "ts": now()}),
                reported_rev=seen.config_rev,
                deed=Deed(who, action, seen.name, self._wall_s(), detail),
            )
            self._outgoing.publish([Desire(address, Channel.SET_CONFIG, config)])
        return config.rev

    def _device(self, name: str) -> Seen:
        for seen in self.devices():
            if seen.name == name:
                return seen
        raise NotFoundError(
            "no such device", where=name, remedy="`kenpin devices` shows those that were ever heard."
        )


def _address(seen: Seen) -> Address:
    return Address(seen.site, seen.line, seen.name)


def _named(record: ReleaseRecord) -> Named:
    return Named(release_file(str(record.release)), record.sha256, record.size)


def _checked(model: type[Threshold], fields: dict[str, Any]) -> Threshold:
    try:
        return model.model_validate(fields)
    except ValidationError as error:
        where, what = first_fault(error)
        raise ConfigError(what, where=where) from None


def _verified(data: bytes) -> Manifest:
    """Unpack it as an agent would, into a folder that is gone afterwards; what agents pass over is read."""
    try:
        with tempfile.TemporaryDirectory(prefix="kenpin-release-") as folder:
            file = Path(folder) / "upload.kenpin"
            file.write_bytes(data)
            read_report_page(file)
            return unpack_release(file, Path(folder) / "unpacked")
    except ReleaseError as error:  # our temporary path would tell nobody anything
        raise ReleaseError(error.what, where="the uploaded release", remedy=error.remedy) from None
    except OSError as error:
        raise StoreError(
            f"the upload cannot be unpacked ({error.strerror})",
            where="the uploaded release",
            remedy="Free some space.",
        ) from None


def _summary(manifest: Manifest) -> dict[str, Any]:
    return {
        "head": manifest.head.kind,
        "encoder": manifest.encoder.architecture,
        "precision": manifest.encoder.precision,
        "decoder": manifest.decoder.kind if manifest.decoder else None,
        "input": str(manifest.input),
        "threshold": manifest.calibration.threshold,
        "false_rejects": manifest.calibration.false_rejects,
        "pictures": len(manifest.fitted_on),
        "calibrated_on": len(manifest.calibrated_on),
        "golden": len(manifest.golden),
        "labels": len(manifest.classifier.labels) if manifest.classifier else 0,
        "report": manifest.report_page is not None,
        "created": manifest.created.isoformat(),
    }
