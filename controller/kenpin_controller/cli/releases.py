"""`kenpin release add|list|push|sign|publish` and `kenpin rollout start|list`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from kenpin_controller.cli import signing
from kenpin_controller.cli.client import DEFAULT_SERVER, AsJson, Client, Server, Token
from kenpin_controller.cli.output import number, show, stamp
from kenpin_wire.errors import ConfigError, KenpinError

_File = Annotated[Path, typer.Argument(help="A release file, NAME-VERSION.kenpin.")]
_Devices = Annotated[list[str] | None, typer.Option("--device", help="A device; may be given again.")]
_Line = Annotated[str | None, typer.Option("--line", help="A whole line. With neither, every device.")]
_Wait = Annotated[float, typer.Option("--wait", min=0, help="Seconds to wait for every device to be done.")]


def register(app: typer.Typer) -> None:
    """Add these commands."""
    release = typer.Typer(no_args_is_help=True, help="The releases that the controller has.")
    release.command("add")(add)
    release.command("list")(list_releases)
    release.command("push")(push)
    release.command("sign")(signing.sign)
    release.command("publish")(signing.publish)
    app.add_typer(release, name="release")
    rollout = typer.Typer(no_args_is_help=True, help="Releases on their way to devices.")
    rollout.command("start")(start)
    rollout.command("list")(list_rollouts)
    app.add_typer(rollout, name="rollout")


def add(file: _File, server: Server = DEFAULT_SERVER, token: Token = "") -> None:
    """Give the controller a release."""
    with Client(server, token) as client:
        record = signing.upload(client, file)
        print(f"{record['name']}-{record['version']} is on the controller")
        if not record["signed"]:
            print("It is not signed, and cannot be rolled out: see `kenpin release publish --help`.")


def list_releases(as_json: AsJson = False, server: Server = DEFAULT_SERVER, token: Token = "") -> None:
    """List the releases, newest first."""
    with Client(server, token) as client:
        found = client.get("/releases")
    rows = [
        (
            f"{r['name']}-{r['version']}",
            str(r["summary"].get("head", "-")),
            number(r["summary"].get("threshold")),
            f"{r['size'] / 1e6:.1f} MB",
            stamp(r["uploaded_s"]),
            "yes" if r["signed"] else "no",
            r["sha256"][:12],
        )
        for r in found
    ]
    columns = ("release", "head", "threshold", "size", "uploaded", "signed", "sha256")
    show(
        found,
        as_json,
        columns,
        rows,
        "No release yet. `kenpin train` makes one, `kenpin release add` adds it.",
    )


def push(
    *,
    file: _File,
    devices: _Devices = None,
    line: _Line = None,
    wait: _Wait = 0.0,
    server: Server = DEFAULT_SERVER,
    token: Token = "",
) -> None:
    """Give the controller a release and roll it out at once."""
    with Client(server, token) as client:
        record = signing.upload(client, file)
        _start(client, f"{record['name']}-{record['version']}", devices, line, wait)


def start(
    *,
    release: Annotated[str, typer.Argument(help="NAME-VERSION, as `kenpin release list` shows it.")],
    devices: _Devices = None,
    line: _Line = None,
    wait: _Wait = 0.0,
    server: Server = DEFAULT_SERVER,
    token: Token = "",
) -> None:
    """Roll a release out."""
    with Client(server, token) as client:
        _start(client, release, devices, line, wait)


def list_rollouts(as_json: AsJson = False, server: Server = DEFAULT_SERVER, token: Token = "") -> None:
    """List the rollouts, newest first, device by device."""
    with Client(server, token) as client:
        found = client.get("/rollouts")
    columns = ("rollout", "release", "started", "device", "phase", "done", "reason")
    show(found, as_json, columns, [row for rollout in found for row in _rows(rollout)], "No rollout yet.")


def _start(client: Client, release: str, devices: list[str] | None, line: str | None, wait_s: float) -> None:
    known = {f"{r['name']}-{r['version']}": r for r in client.get("/releases")}
    if release not in known:
        raise ConfigError(
            "no such release", where=release, remedy="`kenpin release list` shows what is here."
        )
    name = {key: known[release][key] for key in ("name", "version")}
    rollout = client.post("/rollouts", {"release": name, "devices": devices or None, "line": line})
    print(f"{release} is on its way to {', '.join(rollout['devices'])} (rollout {rollout['id']})")
    if wait_s > 0:
        _follow(client, rollout["id"], wait_s)


def _follow(client: Client, rollout_id: str, wait_s: float) -> None:
    def of_this(rollouts: list[dict[str, Any]]) -> dict[str, Any]:
        return next(rollout for rollout in rollouts if rollout["id"] == rollout_id)

    found = client.poll("/rollouts", lambda rollouts: bool(of_this(rollouts)["finished"]), wait_s)
    rollout = of_this(found if found is not None else client.get("/rollouts"))
    rows = [row[3:] for row in _rows(rollout)]
    show(rollout, False, ("device", "phase", "done", "reason"), rows, "")
    unfit = [name for name, device in rollout["devices"].items() if device["phase"] != "committed"]
    if unfit:
        raise KenpinError(
            f"not on {', '.join(unfit)}",
            where=f"rollout {rollout_id}",
            remedy="A device that is `waiting` takes it up when it is online again; see `kenpin devices`.",
        )


def _rows(rollout: dict[str, Any]) -> list[tuple[str, ...]]:
    return [
        (
            rollout["id"],
            f"{rollout['name']}-{rollout['version']}",
            stamp(rollout["started_s"]),
            name,
            device["phase"],
            number(device["percent"], " %", 3),
            device["reason"] or "-",
        )
        for name, device in rollout["devices"].items()
    ]
