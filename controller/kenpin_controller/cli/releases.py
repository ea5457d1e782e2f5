"""`kenpin release add|list|push|sign|publish|recall`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated
from urllib.parse import quote

import typer

from kenpin_controller.cli import signing
from kenpin_controller.cli.client import DEFAULT_SERVER, AsJson, Client, Server, Token
from kenpin_controller.cli.output import number, show, stamp
from kenpin_controller.cli.rollouts import Devices, Line, Wait, Why, begin

_File = Annotated[Path, typer.Argument(help="A release file, NAME-VERSION.kenpin.")]


def register(app: typer.Typer) -> None:
    """Add these commands."""
    release = typer.Typer(no_args_is_help=True, help="The releases that the controller has.")
    release.command("add")(add)
    release.command("list")(list_releases)
    release.command("push")(push)
    release.command("sign")(signing.sign)
    release.command("publish")(signing.publish)
    release.command("recall")(recall)
    app.add_typer(release, name="release")


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
            "recalled" if r["recalled"] else "yes" if r["signed"] else "no",
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
    devices: Devices = None,
    line: Line = None,
    wait: Wait = 0.0,
    server: Server = DEFAULT_SERVER,
    token: Token = "",
) -> None:
    """Give the controller a release and roll it out at once."""
    with Client(server, token) as client:
        record = signing.upload(client, file)
        body = {"devices": devices or None, "line": line}
        begin(client, f"{record['name']}-{record['version']}", body, wait)


def recall(
    release: Annotated[str, typer.Argument(help="NAME-VERSION, as `kenpin release list` shows it.")],
    why: Why,
    send_back: Annotated[
        bool, typer.Option(help="Send the devices that run it back to what ran before.")
    ] = False,
    server: Server = DEFAULT_SERVER,
    token: Token = "",
) -> None:
    """Let no rollout use a release any more; those that do are aborted."""
    with Client(server, token) as client:
        body = {"why": why, "send_back": send_back}
        found = client.post(f"/releases/{quote(release, safe='')}/recall", body)
    print(f"{release} is recalled; it runs on {', '.join(found['running_on']) or 'no device'}")
    if found["sent_back"]:
        print(f"sent back: {', '.join(found['sent_back'])}")
    for device, reason in found["left"].items():
        print(f"{device} stays: {reason}")
