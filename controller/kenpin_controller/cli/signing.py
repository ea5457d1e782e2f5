"""`kenpin release sign` far from the controller, and `kenpin release publish` to it."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kenpin_controller.cli.client import DEFAULT_SERVER, Client, Server, Token
from kenpin_controller.operations import MAX_RELEASE_BYTES
from kenpin_wire.errors import ConfigError, KenpinError, ReleaseError

if TYPE_CHECKING:
    from tuf.api.metadata import Metadata, Targets

    from kenpin_controller.trust.metadata import Named

TARGETS_FILE = "targets.json"


def sign(
    *,
    files: Annotated[
        list[Path] | None,
        typer.Argument(
            help="Releases, or controller.json; with none, what is signed is only given a later end."
        ),
    ] = None,
    keys: Annotated[Path, typer.Option(envvar="KENPIN_KEYS", help="Folder of the targets key.")],
    repository: Annotated[Path, typer.Option(help="A copy of the controller's folder DATA/tuf.")],
) -> None:
    """Sign releases where there is no network: writes targets.json beside the first of them, for
    `kenpin release publish` on another machine."""
    from kenpin_controller.trust.repository import Repository

    named = [_named(file) for file in files or []]
    targets = _signed(keys, Repository(repository).books().targets, named)
    place = (files[0].parent if files else Path()) / TARGETS_FILE
    place.write_bytes(targets.to_bytes())
    for file in named:
        print(f"signed: {file.name}, sha256 {file.sha256}")
    print(
        f"{place} names {len(targets.signed.targets)} files, until {targets.signed.expires:%Y-%m-%d}. "
        f"Take it to where the controller can be reached, and `kenpin release publish` it."
    )


def publish(
    *,
    file: Annotated[Path, typer.Argument(help="A release, NAME-VERSION.kenpin, or a targets.json alone.")],
    keys: Annotated[
        Path | None,
        typer.Option(envvar="KENPIN_KEYS", help="Folder of the targets key, to sign it here and now."),
    ] = None,
    server: Server = DEFAULT_SERVER,
    token: Token = "",
) -> None:
    """Give the controller a release and the signature that devices ask for.

    Signed by the controller if it has the targets key, else here with --keys, else by the targets.json that
    `kenpin release sign` put beside the file.
    """
    with Client(server, token) as client:
        if file.name == TARGETS_FILE:
            version = client.post("/trust/targets", _read(file, MAX_RELEASE_BYTES))["version"]
            print(f"version {version} of targets is in force")
            return
        record = upload(client, file)
        label = f"{record['name']}-{record['version']}"
        if not record["signed"]:
            client.post("/trust/targets", _targets_for(client, file, keys))
            if not client.get(f"/releases/{label}")["signed"]:
                raise KenpinError(
                    "this targets.json does not name it", where=label, remedy="Sign this very file."
                )
        print(f"{label} is on the controller, and signed")


def upload(client: Client, file: Path) -> dict[str, Any]:
    """Give the controller a release file; returns it as the controller tells it.

    Raises:
        ConfigError: if it cannot be read.
        KenpinError: if the controller refuses it.
    """
    return dict(client.post("/releases", _read(file, MAX_RELEASE_BYTES)))


def _targets_for(client: Client, file: Path, keys: Path | None) -> bytes:
    from tuf.api.metadata import Targets

    from kenpin_controller.trust.metadata import parse

    if keys is not None:
        base = parse(json.dumps(client.get("/trust/targets.json")).encode(), Targets, TARGETS_FILE)
        return _signed(keys, base, [_named(file)]).to_bytes()
    beside = file.with_name(TARGETS_FILE)
    if beside.is_file():
        return beside.read_bytes()
    raise KenpinError(
        "it is on the controller, but nobody has signed it, so it cannot be rolled out",
        where=str(file),
        remedy="Give --keys DIR; or sign it elsewhere (`kenpin release sign`) and put that targets.json beside it.",
    )


def _signed(keys: Path, base: Metadata[Targets], named: list[Named]) -> Metadata[Targets]:
    from kenpin_controller.trust.changes import signed_elsewhere
    from kenpin_controller.trust.keys import KeyFolder
    from kenpin_controller.trust.passphrase import from_person
    from kenpin_wire.messages import now

    key = KeyFolder(keys, from_person).load("targets")
    return signed_elsewhere(base, named, key, now=now())


def _named(file: Path) -> Named:
    """A file as it is signed, after it was read as a device would."""
    from kenpin_agent.release import unpack_release
    from kenpin_controller.trust.metadata import CONTROLLER_FILE, Named, release_file

    data = _read(file, MAX_RELEASE_BYTES)
    if file.name == CONTROLLER_FILE:
        return Named.of(CONTROLLER_FILE, data)
    with tempfile.TemporaryDirectory(prefix="kenpin-sign-") as folder:
        try:
            manifest = unpack_release(file, Path(folder) / "unpacked")
        except ReleaseError as error:
            raise ReleaseError(error.what, where=str(file), remedy=error.remedy) from None
    return Named.of(release_file(str(manifest.release)), data)


def _read(file: Path, limit: int) -> bytes:
    try:
        with file.open("rb") as opened:
            data = opened.read(limit + 1)
    except OSError as error:
        raise ConfigError.from_os(error, where=str(file)) from None
    if not data or len(data) > limit:
        what = "it is empty" if not data else f"more than {limit >> 20} MiB, so no release"
        raise ConfigError(what, where=str(file), remedy="Give a file that `kenpin train` made.")
    return data
