"""`kenpin keys init|rotate|status|root`: who may sign for this site."""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kenpin_controller.cli.client import DEFAULT_SERVER, Client, Server, Token
from kenpin_controller.cli.output import show
from kenpin_wire.errors import ConfigError

if TYPE_CHECKING:
    from kenpin_controller.trust.desk import TrustDesk

Data = Annotated[Path, typer.Option("--data", envvar="KENPIN_DATA", help="The controller's data folder.")]
Keys = Annotated[
    Path | None,
    typer.Option("--keys", envvar="KENPIN_KEYS", help="Folder of root and targets keys, if they are apart."),
]
_DATA = Path("kenpin-data")


class Name(StrEnum):
    """What can be rotated: TUF's roles, and the controller's own key."""

    ROOT = "root"
    TARGETS = "targets"
    SNAPSHOT = "snapshot"
    TIMESTAMP = "timestamp"
    CONTROLLER = "controller"


def register(app: typer.Typer) -> None:
    """Add these commands."""
    keys = typer.Typer(no_args_is_help=True, help="Who may sign for this site (docs/updates-trust.md).")
    keys.command("init")(init)
    keys.command("rotate")(rotate)
    keys.command("status")(status)
    keys.command("root")(root)
    app.add_typer(keys, name="keys")


def init(
    *,
    data: Data = _DATA,
    keys: Keys = None,
    offline: Annotated[
        bool,
        typer.Option("--offline", help="Put root and targets keys into --keys, to be taken away from here."),
    ] = False,
) -> None:
    """Make a site's keys and its repository. Nothing that is there is ever overwritten.

    A passphrase for root and targets keys is asked for, or taken from KENPIN_KEYS_PASSPHRASE, with --offline.
    """
    from kenpin_controller.cli.serve import ALL_HERE
    from kenpin_controller.trust import passphrase

    if offline == (keys is None):
        raise ConfigError(
            "--offline and --keys go together",
            where="keys init",
            remedy="Give --offline --keys DIR to keep root and targets keys apart, or neither.",
        )
    desk = _desk(data, keys)
    if not desk.made:
        desk.make(secret=passphrase.new("root and targets keys") if offline else None)
        print(_APART.format(keys=keys, data=data) if offline else ALL_HERE.format(folder=data / "keys"))
        return
    desk.make()  # refuses, and says why


def rotate(
    *,
    name: Annotated[Name, typer.Argument(help="Whose key.")],
    data: Data = _DATA,
    keys: Keys = None,
) -> None:
    """Replace a key; the old one is worth nothing from then on. Needs the root key, or the targets key for
    `controller`. A controller that runs takes it up within a minute."""
    from kenpin_controller.trust import passphrase

    desk = _desk(data, keys)
    if name is Name.CONTROLLER and not desk.can_sign("targets"):
        proposal = data / "keys" / "controller.json"
        proposal.write_bytes(desk.propose_controller_key())
        print(
            f"A new key waits for the targets key's word. Take {proposal} and a copy of {data / 'tuf'} to where that "
            f"key is, run `kenpin release sign controller.json --keys DIR --repository COPY` there, bring "
            "targets.json back, and run `kenpin release publish targets.json`. Until then the old key is in force."
        )
        return
    apart = keys is not None and name in (Name.ROOT, Name.TARGETS)
    desk.rotate(name.value, secret=passphrase.new(f"the new {name.value} key") if apart else None)
    print(f"The {name.value} key is a new one. Keep a copy of it, and destroy those of the old one.")


def status(
    *,
    data: Annotated[
        Path | None, typer.Option("--data", help="Look into a data folder, rather than ask --server.")
    ] = None,
    keys: Keys = None,
    as_json: Annotated[bool, typer.Option("--json", help="The same as JSON.")] = False,
    server: Server = DEFAULT_SERVER,
    token: Token = "",
) -> None:
    """Show who signs what, until when, and what is due."""
    if data is not None:
        found = _local(_desk(data, keys))
    else:
        with Client(server, token) as client:
            found = client.get("/trust")
    columns = ("role", "public key", "private key", "version", "until", "to do")
    rows = [
        (
            row["name"],
            " ".join(key[:16] for key in row["keys"]),
            "here" if row["here"] else "elsewhere",
            str(row["version"] or "-"),
            _day(row["expires"]),
            row["due"] or "nothing",
        )
        for row in found
    ]
    show(found, as_json, columns, rows, "No keys.")


def root(
    *,
    data: Annotated[
        Path | None, typer.Option("--data", help="Look into a data folder, rather than ask --server.")
    ] = None,
    server: Server = DEFAULT_SERVER,
    token: Token = "",
) -> None:
    """Print the root metadata, for devices to pin: `kenpin keys root > root.json`."""
    if data is not None:
        sys.stdout.write(_desk(data, None).root().decode())
        return
    with Client(server, token) as client:
        sys.stdout.write(json.dumps(client.get("/trust/root.json"), indent=1, sort_keys=True))


def _local(desk: TrustDesk) -> list[dict[str, Any]]:
    return [
        {
            "name": row.name,
            "keys": list(row.keys),
            "here": row.here,
            "version": row.version,
            "expires": row.expires.isoformat() if row.expires is not None else None,
            "due": row.due,
        }
        for row in desk.status()
    ]


def _desk(data: Path, keys: Path | None) -> TrustDesk:
    from kenpin_controller.trust.desk import TrustDesk
    from kenpin_controller.trust.passphrase import from_person

    return TrustDesk(data, keys=keys, passphrase=from_person)


def _day(text: str | None) -> str:
    return f"{datetime.fromisoformat(text).astimezone(UTC):%Y-%m-%d %H:%M} UTC" if text else "-"


_APART = (
    "Root and targets keys are in {keys}: take that folder away from this machine, and keep a copy in another place. "
    "The controller's own keys are in {data}/keys. Devices pin what `kenpin keys root` prints; releases are signed "
    "with `kenpin release publish FILE --keys DIR`, or far from any network with `kenpin release sign`."
)
