"""The agent's TUF client as a command, for the public conformance suite.

It has the form that theupdateframework/tuf-conformance drives (its CLIENT-CLI.md)::

    CLIENT --metadata-dir D init ROOT
    CLIENT --metadata-dir D --metadata-url U refresh
    CLIENT --metadata-dir D --metadata-url U --target-name N --target-base-url B --target-dir T download

It exits with 0, or with 1 and one line that says why. With the suite installed::

    pytest tuf_conformance --entrypoint ".venv/bin/python tests/tuf/client.py"
"""

from __future__ import annotations

import argparse
import shutil
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import quote

from tuf.api.exceptions import LengthOrHashMismatchError

from kenpin_agent.clock import SystemClock
from kenpin_agent.files import write_atomically
from kenpin_agent.trust.fetching import WebFetch
from kenpin_agent.trust.repository import Repository
from kenpin_wire.errors import KenpinError

PINNED = "pinned"  # no metadata by its name: the suite counts those


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit status."""
    options = _parser().parse_args(arguments)
    try:
        options.run(options)
    except (KenpinError, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def _init(options: argparse.Namespace) -> None:
    for name in (PINNED, "root.json"):
        (options.metadata_dir / name).unlink(missing_ok=True)  # it may be a link to a root that was fetched
        shutil.copyfile(options.root, options.metadata_dir / name)


def _refresh(options: argparse.Namespace) -> None:
    _repository(options).refresh(datetime.now(UTC))


def _download(options: argparse.Namespace) -> None:
    repository = _repository(options)
    repository.refresh(datetime.now(UTC))
    target = repository.find(options.target_name)
    if target is None:
        raise KenpinError("the targets metadata does not name it", where=options.target_name)
    place = options.target_dir / quote(options.target_name, "")
    try:
        target.verify_length_and_hashes(place.read_bytes())
    except (OSError, LengthOrHashMismatchError):
        write_atomically(place, repository.read(target))


def _repository(options: argparse.Namespace) -> Repository:
    clock = SystemClock()
    fetch = WebFetch(options.metadata_url, clock)
    fetch_target = WebFetch(options.target_base_url, clock) if options.target_base_url else None
    pinned = (options.metadata_dir / PINNED).read_bytes()
    return Repository(options.metadata_dir, pinned, fetch, fetch_target)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--metadata-dir", type=Path, required=True)
    parser.add_argument("--metadata-url")
    parser.add_argument("--target-name")
    parser.add_argument("--target-base-url")
    parser.add_argument("--target-dir", type=Path)
    commands = parser.add_subparsers(required=True)
    init = commands.add_parser("init")
    init.add_argument("root", type=Path)
    init.set_defaults(run=_init)
    commands.add_parser("refresh").set_defaults(run=_refresh)
    commands.add_parser("download").set_defaults(run=_download)
    return parser


if __name__ == "__main__":
    sys.exit(main())
