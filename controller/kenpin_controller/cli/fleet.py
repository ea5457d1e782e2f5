"""`kenpin devices [why|pin|unpin|tag|return]`, `threshold` and `events`."""

from __future__ import annotations

import math
from typing import Annotated
from urllib.parse import quote

import typer

from kenpin_controller.cli.client import DEFAULT_SERVER, AsJson, Client, Server, Token
from kenpin_controller.cli.output import ago, number, show, stamp
from kenpin_controller.cli.rollouts import Why
from kenpin_wire.errors import KenpinError

_Device = Annotated[str, typer.Argument(help="The device's name.")]


def _path(device: str) -> str:
    return f"/devices/{quote(device, safe='')}"


def _finite(value: float | None) -> float | None:
    """JSON has no word for the others."""
    if value is not None and not math.isfinite(value):
        raise typer.BadParameter("a finite number is expected")
    return value


def register(app: typer.Typer) -> None:
    """Add these commands."""
    group = typer.Typer(help="The devices: without a verb, list them and how they fare.")
    group.callback(invoke_without_command=True)(devices)
    group.command("why")(why)
    group.command("pin")(pin)
    group.command("unpin")(unpin)
    group.command("tag")(tag)
    group.command("return")(send_back)
    app.add_typer(group, name="devices")
    app.command("threshold")(threshold)
    app.command("events")(events)


def devices(
    context: typer.Context,
    line: Annotated[str | None, typer.Option(help="Only this line's.")] = None,
    as_json: AsJson = False,
    server: Server = DEFAULT_SERVER,
    token: Token = "",
) -> None:
    """List the devices and how they fare."""
    if context.invoked_subcommand is not None:
        return
    with Client(server, token) as client:
        found = client.get("/devices", line=line)
    rows = [
        (
            d["id"],
            d["line"],
            "online" if d["online"] else "offline",
            number(d["score"]),
            number(d["threshold"]),
            d["verdict"] or "-",
            number(d["temperature_c"], " °C", 3),
            number(d["fps"], " fps", 3),
            d["release"] or "-",
            ago(d["last_seen_s"]),
        )
        for d in found
    ]
    columns = ("device", "line", "state", "score", "threshold", "verdict", "heat", "rate", "release", "heard")
    show(
        found,
        as_json,
        columns,
        rows,
        "No device was heard yet. Run `kenpin-agent doctor` on one; /healthz says whether the broker answers.",
    )


def why(device: _Device, as_json: AsJson = False, server: Server = DEFAULT_SERVER, token: Token = "") -> None:
    """Say in a line why a device stands as it does, and what to do."""
    with Client(server, token) as client:
        found = client.get(f"{_path(device)}/why")
    if as_json:
        show(found, True, (), (), "")
        return
    print(f"{device}: {found['sentence']} {found['remedy']}".rstrip())


def pin(device: _Device, reason: Why, server: Server = DEFAULT_SERVER, token: Token = "") -> None:
    """Have rollouts pass a device by."""
    with Client(server, token) as client:
        found = client.put(f"{_path(device)}/pin", {"pinned": True, "why": reason})
    print(f"{device} is pinned to {found['release'] or 'what it runs'}")


def unpin(device: _Device, server: Server = DEFAULT_SERVER, token: Token = "") -> None:
    """Have rollouts take a device in again."""
    with Client(server, token) as client:
        client.put(f"{_path(device)}/pin", {"pinned": False})
    print(f"{device} is not pinned")


def tag(
    device: _Device,
    tags: Annotated[list[str] | None, typer.Argument(help="All its tags; none to remove them.")] = None,
    server: Server = DEFAULT_SERVER,
    token: Token = "",
) -> None:
    """Set a device's tags, which rollouts can be aimed by."""
    with Client(server, token) as client:
        found = client.put(f"{_path(device)}/tags", {"tags": tags or []})
    print(f"{device}: {', '.join(found) or 'no tags'}")


def send_back(device: _Device, reason: Why, server: Server = DEFAULT_SERVER, token: Token = "") -> None:
    """Send a device back to the release that ran before."""
    with Client(server, token) as client:
        rev = client.post(f"{_path(device)}/return", {"why": reason})["rev"]
    print(f"{device} is told to go back (order {rev}); `kenpin devices why {device}` says how it fares")


def threshold(
    *,
    device: _Device,
    value: Annotated[
        float | None, typer.Option(callback=_finite, help="A score; parts above it are anomalies.")
    ] = None,
    false_rejects: Annotated[
        float | None, typer.Option(callback=_finite, help="A share of good parts, such as 0.01.")
    ] = None,
    wait: Annotated[float, typer.Option(min=0, help="Seconds to wait for the device's answer.")] = 5.0,
    server: Server = DEFAULT_SERVER,
    token: Token = "",
) -> None:
    """Set a device's threshold; with neither option, the release's own."""
    path = _path(device)
    with Client(server, token) as client:
        rev = client.put(f"{path}/threshold", {"value": value, "false_rejects": false_rejects})["rev"]
        answer = client.poll(path, lambda d: d["settings"] is not None and d["settings"]["rev"] >= rev, wait)
    if answer is None:
        print(f"{device}: asked for (revision {rev}); it has not answered yet and will find it when it does")
        return
    settings = answer["settings"]
    if settings["error"]:
        raise KenpinError(settings["error"], where=device)
    print(f"{device}: threshold {number(settings['threshold'])} of {settings['release']}")


def events(
    *,
    line: Annotated[str | None, typer.Option(help="Only this line's.")] = None,
    device: Annotated[str | None, typer.Option(help="Only this device's.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=500, help="How many, newest first.")] = 20,
    as_json: AsJson = False,
    server: Server = DEFAULT_SERVER,
    token: Token = "",
) -> None:
    """List the last anomalies."""
    with Client(server, token) as client:
        found = client.get("/events", line=line, device=device, limit=limit)
    rows = [
        (
            stamp(e["time_s"]),
            e["line"],
            e["device"],
            number(e["score"]),
            number(e["threshold"]),
            e["part"] or f"frame {e['frame']}",
            e["release"] or "-",
            e["id"],
        )
        for e in found
    ]
    columns = ("time", "line", "device", "score", "threshold", "part", "release", "event")
    show(found, as_json, columns, rows, "No anomaly yet.")
