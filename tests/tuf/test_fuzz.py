"""Whatever a stranger serves, the client says in one line what is wrong, and trusts nothing of it."""

from __future__ import annotations

import copy
import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kenpin_agent.trust.fetching import NotThereError
from kenpin_agent.trust.repository import Repository
from kenpin_wire.errors import KenpinError, RepositoryAwayError
from support.tuf_site import TufSite

SITE = TufSite()
NAMES = ["2.root.json", "timestamp.json", "1.snapshot.json", "1.targets.json"]
ODD = [
    None,
    True,
    -1,
    0,
    2**70,
    1.5,
    "",
    "x" * 300,
    "\ud800",
    [],
    [[]],
    {},
    {"a": {}},
    "9999-12-31T23:59:59Z",
]


def places(node, at=()):
    """The path to everything inside a JSON value."""
    inner = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for key, value in inner:
        yield (*at, key)
        yield from places(value, (*at, key))


def refresh(folder: Path, files: dict[str, bytes]) -> Repository:
    def fetch(name):
        if name not in files:
            raise NotThereError(name)
        yield files[name]

    repository = Repository(folder, SITE.pinned, fetch)
    repository.refresh(SITE.now)
    return repository


@settings(deadline=None, max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_metadata_with_any_value_changed_is_refused_in_one_line(data, tmp_path_factory):
    name = data.draw(st.sampled_from(NAMES))
    files = dict(SITE.files)
    table = json.loads(files.get(name) or SITE.pinned)
    path = data.draw(st.sampled_from(list(places(table))))
    # python-tuf reads null there as the version that it writes itself, and so as what was signed.
    odds = [odd for odd in ODD if odd is not None or path != ("signed", "spec_version")]
    spoiled = copy.deepcopy(table)
    inner = spoiled
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = data.draw(st.sampled_from(odds).filter(lambda odd: odd != inner[path[-1]]))
    files[name] = json.dumps(spoiled).encode()
    with pytest.raises(RepositoryAwayError) as refused:
        refresh(tmp_path_factory.mktemp("m"), files)
    assert "\n" not in str(refused.value)


@settings(deadline=None, max_examples=60)
@given(
    name=st.sampled_from(NAMES),
    garbage=st.binary(max_size=300) | st.just(b"[" * 100_000) | st.just(b"9" * 9000),
)
def test_garbage_is_refused_in_one_line(name, garbage, tmp_path_factory):
    with pytest.raises(RepositoryAwayError):
        refresh(tmp_path_factory.mktemp("m"), {**SITE.files, name: garbage})


def test_a_folder_that_cannot_be_written_is_said(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(KenpinError, match="file"):
        refresh(tmp_path / "file" / "metadata", SITE.files)


def test_unspoiled_it_is_taken(tmp_path):
    assert refresh(tmp_path, SITE.files).find("nothing") is None
