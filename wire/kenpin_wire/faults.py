"""What is wrong with data that a model refused, in one sentence instead of pydantic's report."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails


def first_fault(error: ValidationError) -> tuple[str, str]:
    """Where the first fault is (`threshold.value`; empty for the whole) and what is wrong there.

    The input itself is never repeated: it may be a password.
    """
    fault = error.errors(include_url=False, include_input=False)[0]
    return place(fault), words(fault)


def place(fault: ErrorDetails | Mapping[str, Any]) -> str:
    """Where a fault is, without pydantic's own names for the branches of a union."""
    return ".".join(str(part) for part in fault["loc"] if not str(part).startswith(_BRANCHES))


def words(fault: ErrorDetails | Mapping[str, Any]) -> str:
    """What is wrong, as a clause."""
    kind = fault["type"]
    if kind in _WORDS:
        return _WORDS[kind]
    said = str(fault["msg"]).removeprefix("Value error, ")
    return said.replace("Input should be", "it should be", 1).replace("String should", "the text should", 1)


_BRANCHES = ("constrained-", "function-", "is-instance", "lax-or-strict", "nullable")
_NUMBER = "a number is expected"
_WHOLE = "a whole number is expected"
_TABLE = "a table of keys and values is expected"
_WORDS = {
    "missing": "it is missing",
    "extra_forbidden": "nothing of this name is known",
    "string_type": "a text is expected",
    "string_too_short": "it is empty",
    "path_type": "a path is expected, as a text",
    "bool_type": "true or false is expected",
    "bool_parsing": "true or false is expected",
    "int_type": _WHOLE,
    "int_parsing": _WHOLE,
    "int_from_float": _WHOLE,
    "int_parsing_size": "the number is too large",
    "float_type": _NUMBER,
    "float_parsing": _NUMBER,
    "finite_number": "a finite number is expected",
    "list_type": "a list is expected",
    "tuple_type": "a list is expected",
    "dict_type": _TABLE,
    "model_type": _TABLE,
    "model_attributes_type": _TABLE,
    "dataclass_type": _TABLE,
}
