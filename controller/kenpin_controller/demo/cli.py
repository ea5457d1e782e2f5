"""`kenpin demo` on the command line."""

from __future__ import annotations

import socket
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from kenpin_controller.demo.broker import BrokerKind, free_port, start_broker
from kenpin_controller.demo.plan import picture_station, simulated_stations
from kenpin_controller.demo.story import Story
from kenpin_controller.demo.summary import outcome, show
from kenpin_controller.demo.teach import SplitPictures, split_pictures, teach_pictures, teach_rendered
from kenpin_wire.errors import ConfigError

PORT = 8080
PLAYED_IN = 0.7
"""The share of the given seconds in which every picture of `--source` comes by once."""
SECOND_RELEASE_S = 30.0
"""A demonstration shorter than this shows no second release."""

console = Console()


def register(app: typer.Typer) -> None:
    """Add `demo` to the `kenpin` command."""
    app.command()(demo)


def demo(
    devices: Annotated[int, typer.Option(min=1, max=40, help="Cameras, on two lines.")] = 3,
    source: Annotated[
        Path | None, typer.Option(help="A folder with good/ and bad/ inside: one line on these pictures.")
    ] = None,
    port: Annotated[
        int | None, typer.Option(min=0, max=65535, help="Of the page; 8080 or, if taken, any.")
    ] = None,
    seconds: Annotated[
        float | None, typer.Option(min=5, help="How long the lines run; else until Ctrl-C.")
    ] = None,
    broker: Annotated[
        BrokerKind, typer.Option(help="mosquitto if it is installed, else amqtt.")
    ] = BrokerKind.AUTO,
) -> None:
    """Run a whole fleet on this machine: broker, controller and cameras, each as a real process.

    Exit status 0 only if every camera inspected and every planted anomaly was seen.
    """
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="kenpin-demo-")))
        pictures = split_pictures(source, folder, tell) if source is not None else None
        running = start_broker(folder / "broker", broker)
        stack.callback(running.stop)
        tell(f"broker: {running.name}, port {running.port}")
        story = Story(folder, running.port, _page_port(port), tell)
        stack.callback(story.close)
        story.start_controller()
        tell(f"controller: [bold]{story.page}[/]")
        try:
            _play(story, folder, devices, pictures, seconds)
        except KeyboardInterrupt:
            console.print()
        if not story.stations:
            raise typer.Exit(130)
        result = outcome(story, pictures)
        show(console, result, pictures)
    raise typer.Exit(0 if result.passed else 1)


def _play(
    story: Story, folder: Path, devices: int, pictures: SplitPictures | None, seconds: float | None
) -> None:
    if pictures is not None:
        taught = [teach_pictures(pictures, folder, console)]
        rate_hz = 2.0 if seconds is None else min(max(pictures.played / (PLAYED_IN * seconds), 1.0), 8.0)
        stations = [picture_station(pictures.play, pictures.name, rate_hz)]
    else:
        stations = simulated_stations(devices)
        products = dict.fromkeys(station.product for station in stations)
        taught = [teach_rendered(product, "1.0.0", 40, folder, console) for product in products]
    story.start_agents(stations)
    tell(f"{len(stations)} cameras online: " + ", ".join(f"{s.device} on {s.line}" for s in stations))
    for release in taught:
        story.send(release)
    _say_what_to_look_at(story, pictures)
    began_s = time.monotonic()

    def left_s() -> float | None:
        return None if seconds is None else max(seconds - (time.monotonic() - began_s), 0.0)

    if pictures is None:
        story.watch(8.0 if seconds is None else seconds / 4)
        story.move_threshold(stations[-1].device, 0.02)
        if seconds is None or seconds >= SECOND_RELEASE_S:
            story.send(teach_rendered(stations[0].product, "1.1.0", 60, folder, console))
    story.watch(left_s())


def _say_what_to_look_at(story: Story, pictures: SplitPictures | None) -> None:
    console.rule("[bold]look")
    console.print(f"  Open [bold link={story.page}]{story.page}[/] in a browser. Then:")
    console.print("  · the wall answers “is everything all right?”; a card turns when a bad part comes by")
    console.print("  · click a camera: live score against threshold, the anomaly beside its heatmap, heat")
    console.print("  · set its threshold there, or stop and start its inspection")
    if pictures is None:
        console.print("  · watch a second release arrive on line-a while it goes on inspecting")
    console.print("  Ctrl-C ends it.")
    console.rule()


def tell(text: str) -> None:
    """One line to the person who watches."""
    console.print(f"[dim]{time.strftime('%H:%M:%S')}[/] {text}")


def _page_port(port: int | None) -> int:
    """The page's port.

    Raises:
        ConfigError: if the one that was asked for is taken.
    """
    wanted = PORT if port is None else port
    if wanted == 0:
        return free_port()
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", wanted))
        except OSError as error:
            if port is None:
                return free_port()
            raise ConfigError(
                f"port {wanted} cannot be used ({error.strerror})",
                where="--port",
                remedy="Give another, or 0 for any.",
            ) from None
    return wanted
