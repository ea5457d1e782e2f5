"""The `kenpin` command. This module imports nothing heavy, so that it can say what is missing."""

from __future__ import annotations

import os
import signal
import sys

from kenpin_wire.errors import KenpinError

__all__ = ["main"]


def main() -> None:
    """Run the command line: exit status 0, 1 for what went wrong, 2 for a wrong command, 130 when interrupted."""
    signal.signal(
        signal.SIGTERM, signal.default_int_handler
    )  # what was begun is cleared away, as after Ctrl-C
    try:
        from kenpin_controller.cli.commands import build

        build(sys.argv[1:])()
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("kenpin_"):
            raise
        _fail(f"{error.name} is not installed. Run: pip install 'kenpin[controller]'")
    except KenpinError as error:
        _fail(str(error))
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:  # `kenpin events | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except OSError as error:
        _fail(str(KenpinError.from_os(error)))


def _fail(text: str) -> None:
    print(f"kenpin: {text}", file=sys.stderr)
    sys.exit(1)
