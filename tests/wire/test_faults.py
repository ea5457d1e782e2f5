"""Errors a person can act on: one line, in words, whatever is in them."""

from __future__ import annotations

import errno
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from kenpin_wire.contract import decode
from kenpin_wire.errors import ConfigError, KenpinError, os_words
from kenpin_wire.faults import first_fault
from kenpin_wire.messages import MAX_WHOLE, DesiredConfig, Threshold
from kenpin_wire.topics import Channel


@given(what=st.text(), where=st.text(), remedy=st.text())
def test_an_error_is_one_printable_line_whatever_is_in_it(what: str, where: str, remedy: str) -> None:
    text = str(KenpinError(what, where=where, remedy=remedy))
    assert text.isprintable()
    text.encode()  # a file's name need not be text; a terminal wants text


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EACCES, errno.ENOENT, errno.EISDIR, errno.EIO, 9999])
def test_what_the_operating_system_refused_names_place_and_remedy(number: int) -> None:
    error = ConfigError.from_os(OSError(number, os.strerror(number), "/a/b"), where="elsewhere")
    assert (error.where, error.what) == ("/a/b", os.strerror(number))
    assert error.remedy.endswith(".")
    assert ConfigError.from_os(OSError(number, os.strerror(number)), where="here").where == "here"


def test_words_that_mislead_are_replaced() -> None:
    assert os_words(FileExistsError(errno.EEXIST, "File exists")) == "it is a file, not a folder"


@pytest.mark.parametrize(
    ("fields", "place", "words"),
    [
        ({}, "rev", "it is missing"),
        ({"rev": "x"}, "rev", "a whole number is expected"),
        ({"rev": -1}, "rev", "it should be greater than or equal to 0"),
        ({"rev": 1, "roi": 3}, "roi", "a table of keys and values is expected"),
        ({"rev": 1, "threshold": {"release": 5}}, "threshold.release", "a text is expected"),
        ({"rev": 1, "inspection": "maybe"}, "inspection", "true or false is expected"),
    ],
)
def test_refused_data_is_described_in_words(fields: dict[str, object], place: str, words: str) -> None:
    with pytest.raises(ValidationError) as refused:
        DesiredConfig.model_validate(fields)
    assert first_fault(refused.value) == (place, words)


def test_what_was_given_is_never_repeated() -> None:
    with pytest.raises(ValidationError) as refused:
        Threshold.model_validate({"release": ["hunter2"]})
    assert "hunter2" not in "".join(first_fault(refused.value))


def test_a_whole_number_that_no_database_could_hold_breaks_the_contract() -> None:
    assert decode(Channel.SET_CONFIG, b'{"rev": %d}' % MAX_WHOLE).rev == MAX_WHOLE
    with pytest.raises(KenpinError, match="rev"):
        decode(Channel.SET_CONFIG, b'{"rev": %d}' % (MAX_WHOLE + 1))
