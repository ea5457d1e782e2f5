"""`kenpin rollout start|list|show|pause|resume|abort|return|retry|approve|skip`, and following one to its end."""

from __future__ import annotations

import sys
import time
from typing import Annotated, Any
from urllib.parse import quote

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

from kenpin_controller.cli.client import DEFAULT_SERVER, AsJson, Client, Server, Token
from kenpin_controller.cli.output import ago, number, show, stamp
from kenpin_wire.errors import ConfigError, KenpinError

Devices = Annotated[list[str] | None, typer.Option("--device", help="A device; may be given again.")]
Line = Annotated[str | None, typer.Option("--line", help="A whole line. With neither, every device.")]
Wait = Annotated[float, typer.Option("--wait", min=0, help="Seconds to wait for every device to be done.")]
Why = Annotated[str, typer.Option("--why", help="The reason, for the audit log.")]
_Rollout = Annotated[str, typer.Argument(help="Its id, as `kenpin rollout list` shows it.")]
_Device = Annotated[str, typer.Argument(help="The device's name.")]
_POLL_S = 0.25


def register(app: typer.Typer) -> None:
    """Add these commands."""
    rollout = typer.Typer(no_args_is_help=True, help="Releases and thresholds on their way to devices.")
    rollout.command("start")(start)
    rollout.command("list")(list_rollouts)
    rollout.command("show")(show_rollout)
    rollout.command("pause")(pause)
    rollout.command("resume")(resume)
    rollout.command("abort")(abort)
    rollout.command("return")(take_back)
    rollout.command("approve")(approve)
    rollout.command("retry")(retry)
    rollout.command("skip")(skip)
    app.add_typer(rollout, name="rollout")


def start(
    *,
    release: Annotated[str, typer.Argument(help="NAME-VERSION, as `kenpin release list` shows it.")],
    devices: Devices = None,
    line: Line = None,
    tag: Annotated[str | None, typer.Option(help="All devices with a tag.")] = None,
    waves: Annotated[
        str, typer.Option(help="Numbers and shares, such as 1,25%,100%; unless given, a canary first.")
    ] = "",
    window: Annotated[str, typer.Option(help="Start orders only in these hours, such as 22-6.")] = "",
    shadow: Annotated[
        int, typer.Option(min=0, help="Frames to judge beside the old release first, on each device.")
    ] = 0,
    approve_devices: Annotated[bool, typer.Option(help="Each device waits for a yes to switch.")] = False,
    approve_waves: Annotated[bool, typer.Option(help="Each next wave waits for a yes.")] = False,
    soak: Annotated[float, typer.Option(min=0, help="Seconds to watch each wave after its last switch.")] = 0,
    keep: Annotated[bool, typer.Option(help="If a gate closes, leave what has switched as it is.")] = False,
    value: Annotated[
        float | None, typer.Option(help="Roll out this threshold of the release instead.")
    ] = None,
    false_rejects: Annotated[
        float | None, typer.Option(help="Or the one for this share of false rejects.")
    ] = None,
    wait: Wait = 0.0,
    as_json: AsJson = False,
    server: Server = DEFAULT_SERVER,
    token: Token = "",
) -> None:
    """Roll a release out, or a threshold of one."""
    body: dict[str, Any] = {"devices": devices or None, "line": line, "tag": tag, "gates": {"soak_s": soak}}
    if waves:
        body["waves"] = [_wave(text.strip()) for text in waves.split(",")]
    if window:
        body["window"] = _window(window)
    if shadow:
        frames = {"frames": shadow, "min_frames": min(30, shadow)}
        body["policy"] = {"shadow": frames, "approval": approve_devices}
        body["gates"]["shadow"] = {"min_frames": min(30, shadow)}
    elif approve_devices:
        body["policy"] = {"approval": True}
    if approve_waves:
        body["gates"]["approval"] = {}
    if keep:
        body["on_failure"] = "halt"
    if value is not None or false_rejects is not None:
        wish = {"value": value, "false_rejects": false_rejects}
        body["threshold"] = {name: given for name, given in wish.items() if given is not None}
    with Client(server, token) as client:
        begin(client, release, body, wait, as_json=as_json)


def begin(
    client: Client, release: str, body: dict[str, Any], wait_s: float, *, as_json: bool = False
) -> None:
    """Start a rollout and say so; with `wait_s`, follow it.

    Raises:
        ConfigError: if there is no such release.
        KenpinError: with the server's own words if it refuses; or if some device does not have it in time.
    """
    known = {f"{r['name']}-{r['version']}": r for r in client.get("/releases")}
    if release not in known:
        raise ConfigError(
            "no such release", where=release, remedy="`kenpin release list` shows what is here."
        )
    name = {key: known[release][key] for key in ("name", "version")}
    rollout = client.post("/rollouts", {"release": name} | body)
    if not as_json:
        passed = [name for name, device in rollout["devices"].items() if device["wave"] is None]
        to = [name for name in rollout["devices"] if name not in passed]
        print(f"{release} is on its way to {', '.join(to) or 'nobody'} (rollout {rollout['id']})")
        for device in passed:
            print(f"{device} is passed by: {rollout['devices'][device]['reason']}")
    if wait_s > 0:
        rollout = _follow(client, rollout["id"], wait_s, bar=not as_json)
    if as_json or wait_s > 0:
        rows = [row[2:] for row in _rows(rollout)]
        show(rollout, as_json, ("device", "wave", "phase", "done", "reason"), rows, "")
    if wait_s > 0:
        _check(rollout)


def list_rollouts(as_json: AsJson = False, server: Server = DEFAULT_SERVER, token: Token = "") -> None:
    """List the rollouts, newest first, device by device."""
    with Client(server, token) as client:
        found = client.get("/rollouts")
    columns = ("rollout", "release", "device", "wave", "phase", "done", "reason")
    show(found, as_json, columns, [row for rollout in found for row in _rows(rollout)], "No rollout yet.")


def show_rollout(
    rollout: _Rollout, as_json: AsJson = False, server: Server = DEFAULT_SERVER, token: Token = ""
) -> None:
    """Show how one stands: its waves, gates and devices, and what has happened."""
    with Client(server, token) as client:
        found = client.get(f"/rollouts/{quote(rollout, safe='')}")
    if as_json:
        show(found, True, (), (), "")
        return
    print(f"{found['name']}-{found['version']}, started {ago(found['started_s'])} by {found['who']}")
    print(found["sentence"])
    for wave in found["waves"]:
        print(f"wave {wave['number'] + 1}, {wave['state']}: {', '.join(wave['devices'])}")
        for gate in wave["gates"]:
            print(f"    {gate['name']}: {gate['state']}. {gate['sentence']}")
    columns = ("device", "wave", "phase", "done", "reason")
    show(found, False, columns, [row[2:] for row in _rows(found)], "No device.")
    for entry in found["timeline"]:
        print(
            f"{stamp(entry['time_s'])}  {entry['device'] or '-':16} {entry['text']} {_by(entry['who'])}".rstrip()
        )


def pause(rollout: _Rollout, server: Server = DEFAULT_SERVER, token: Token = "") -> None:
    """Let no new order go out; what is under way goes on."""
    _ask(server, token, rollout, "pause", {})


def resume(rollout: _Rollout, server: Server = DEFAULT_SERVER, token: Token = "") -> None:
    """Go on."""
    _ask(server, token, rollout, "resume", {})


def abort(
    rollout: _Rollout,
    why: Why,
    revert: Annotated[bool, typer.Option(help="Also send back what has switched.")] = False,
    server: Server = DEFAULT_SERVER,
    token: Token = "",
) -> None:
    """End it."""
    _ask(server, token, rollout, "abort", {"why": why, "revert": revert})


def take_back(rollout: _Rollout, why: Why, server: Server = DEFAULT_SERVER, token: Token = "") -> None:
    """Send every device that it switched back to what ran before, also after its end."""
    _ask(server, token, rollout, "return", {"why": why})


def approve(
    *,
    rollout: _Rollout,
    device: Annotated[str | None, typer.Option(help="Only this device, which waits staged.")] = None,
    with_threshold: Annotated[
        bool, typer.Option(help="With the threshold that its shadowing proposes.")
    ] = False,
    server: Server = DEFAULT_SERVER,
    token: Token = "",
) -> None:
    """Say yes to the next wave, or to devices that wait staged."""
    body = {"device": device, "with_threshold": with_threshold}
    _ask(server, token, rollout, "approve", {name: given for name, given in body.items() if given})


def retry(rollout: _Rollout, device: _Device, server: Server = DEFAULT_SERVER, token: Token = "") -> None:
    """Ask a device that failed, or was left behind, once more."""
    _ask(server, token, rollout, "retry", {"device": device})


def skip(
    rollout: _Rollout, device: _Device, why: Why, server: Server = DEFAULT_SERVER, token: Token = ""
) -> None:
    """Go on without a device that has not switched."""
    _ask(server, token, rollout, "skip", {"device": device, "why": why})


def _ask(server: str, token: str, rollout: str, verb: str, body: dict[str, Any]) -> None:
    with Client(server, token) as client:
        found = client.post(f"/rollouts/{quote(rollout, safe='')}/{verb}", body)
    print(f"{found['status']}: {found['sentence']}")


def _follow(client: Client, rollout_id: str, wait_s: float, *, bar: bool) -> dict[str, Any]:
    """Until nothing of it is under way, or the time is up; with a bar where a person watches."""
    deadline_s = time.monotonic() + wait_s
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.percentage:3.0f} %"))
    with Progress(
        *columns, console=console, transient=True, disable=not bar or not sys.stderr.isatty()
    ) as progress:
        task = progress.add_task("", total=1.0)
        while True:
            rollout: dict[str, Any] = client.get(f"/rollouts/{quote(rollout_id, safe='')}")
            progress.update(task, completed=_share(rollout), description=rollout["sentence"])
            if rollout["finished"] or time.monotonic() > deadline_s:
                return rollout
            time.sleep(_POLL_S)


def _share(rollout: dict[str, Any]) -> float:
    """How much of it is done: a fetched release counts for half a device."""
    devices = rollout["devices"].values()
    ended = ("done", "failed", "passed", "cancelled", "returned", "superseded")
    done = sum(1.0 if d["stage"] in ended else d["percent"] / 200 for d in devices)
    return done / max(1, len(devices))


def _check(rollout: dict[str, Any]) -> None:
    meant = {name: d for name, d in rollout["devices"].items() if d["wave"] is not None}
    unfit = [name for name, device in meant.items() if device["phase"] != "committed"]
    if unfit:
        raise KenpinError(
            f"not on {', '.join(unfit)}",
            where=f"rollout {rollout['id']}",
            remedy="`kenpin rollout show` says why; a device that is `waiting` takes it up when it is back.",
        )


def _rows(rollout: dict[str, Any]) -> list[tuple[str, ...]]:
    return [
        (
            rollout["id"],
            f"{rollout['name']}-{rollout['version']}",
            name,
            "-" if device["wave"] is None else str(device["wave"] + 1),
            device["phase"].replace("_", " "),
            number(device["percent"], " %", 3),
            device["reason"] or "-",
        )
        for name, device in rollout["devices"].items()
    ]


def _wave(text: str) -> dict[str, Any]:
    try:
        return {"share": float(text[:-1]) / 100} if text.endswith("%") else {"count": int(text)}
    except ValueError:
        raise ConfigError(
            f"{text!r} is no wave", where="--waves", remedy="Give numbers and shares, such as 1,25%,100%."
        ) from None


def _window(text: str) -> dict[str, float]:
    begin_h, _, end_h = text.partition("-")
    try:
        return {"from_h": float(begin_h), "until_h": float(end_h)}
    except ValueError:
        raise ConfigError(
            f"{text!r} is no window", where="--window", remedy="Give two hours of the day, such as 22-6."
        ) from None


def _by(who: str) -> str:
    return f"(by {who})" if who else ""
