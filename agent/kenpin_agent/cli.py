"""The `kenpin-agent` command."""

from __future__ import annotations

import argparse
import logging
import math
import signal
import sys
import threading
from pathlib import Path

from kenpin_agent import __version__
from kenpin_agent.threads import one_thread_a_library
from kenpin_wire.errors import KenpinError


def main(arguments: list[str] | None = None) -> int:
    """Run the command. Returns its exit status: 0 done, 1 something to mend, 2 wrong usage, 130 interrupted."""
    one_thread_a_library()  # before anything below imports numpy or OpenCV
    signal.signal(
        signal.SIGTERM, signal.default_int_handler
    )  # what was begun is cleared away, as after Ctrl-C
    options = _parser().parse_args(arguments)
    logging.basicConfig(
        level=logging.DEBUG if options.verbose else logging.INFO,
        format="%(asctime)s %(levelname)-7s %(name)s: %(message)s",
    )
    try:
        return int(options.verb(options))
    except KenpinError as error:
        print(error, file=sys.stderr)
        return 1
    except OSError as error:
        print(KenpinError.from_os(error), file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


def _run(options: argparse.Namespace) -> int:
    from kenpin_agent.assembly import run_agent
    from kenpin_agent.config import load_config

    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    run_agent(load_config(options.config), stop)
    return 0


def _capture(options: argparse.Namespace) -> int:
    from kenpin_agent.cameras import open_camera
    from kenpin_agent.capture import capture
    from kenpin_agent.clock import SystemClock
    from kenpin_agent.config import load_config

    clock = SystemClock()
    camera = open_camera(load_config(options.config).camera, clock)
    try:
        kept = capture(camera, options.to, options.count, every_s=options.every, clock=clock)
    except KeyboardInterrupt:
        print(f"stopped; what was taken is in {options.to}")
        raise
    finally:
        camera.close()
    print(f"{kept} pictures in {options.to}")
    return 0


def _doctor(options: argparse.Namespace) -> int:
    from kenpin_agent.config import load_config
    from kenpin_agent.doctor import examine

    healthy = True
    for finding in examine(load_config(options.config)):
        healthy &= finding.ok
        print(f"{'ok  ' if finding.ok else 'MEND'}  {finding.what:8}  {finding.found}")
    return 0 if healthy else 1


def _bench(options: argparse.Namespace) -> int:
    from kenpin_agent.bench import run_bench

    return run_bench(options)


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of pictures: give 1 or more")
    return int(text)


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not (math.isfinite(value) and value >= 0):
        raise argparse.ArgumentTypeError(f"{text!r} is no time: give seconds, 0 or more")
    return value


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="kenpin-agent", description="Inspects parts with a camera. Runs on the Pi."
    )
    parser.add_argument("--version", action="version", version=f"kenpin-agent {__version__}")
    parser.add_argument("--verbose", action="store_true", help="log everything")
    verbs = parser.add_subparsers(required=True, metavar="VERB")

    def verb(name: str, action: object, description: str) -> argparse.ArgumentParser:
        sub = verbs.add_parser(name, help=description, description=description)
        sub.set_defaults(verb=action)
        return sub

    run = verb("run", _run, "inspect until stopped")
    doctor = verb("doctor", _doctor, "look at disk, camera, release, heat and broker, and say what to mend")
    capture = verb("capture", _capture, "take pictures of good parts")
    capture.add_argument("--to", type=Path, default=Path("good"), metavar="DIR", help="the folder (good)")
    capture.add_argument("--count", type=_count, default=40, metavar="N", help="how many (40)")
    capture.add_argument("--every", type=_seconds, default=1.0, metavar="S", help="seconds between them (1)")
    for sub in (run, doctor, capture):
        sub.add_argument(
            "--config",
            type=Path,
            default=Path("kenpin-agent.toml"),
            metavar="FILE",
            help="the configuration (kenpin-agent.toml)",
        )
    bench = verb("bench", _bench, "what a frame costs on this machine")
    bench.add_argument(
        "--release", type=Path, required=True, metavar="FILE", help="a release file, NAME-VERSION.kenpin"
    )
    bench.add_argument(
        "--pictures", type=Path, metavar="DIR", help="a folder to take the frames from; else grey noise"
    )
    bench.add_argument("--json", action="store_true", help="print JSON")
    return parser


if __name__ == "__main__":
    sys.exit(main())
