"""Reading a head's arrays and parameters back with suspicion. All errors here are `ValueError`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

Arrays = Mapping[str, npt.NDArray[Any]]
Parameters = Mapping[str, float]


def floats(arrays: Arrays, name: str, *shape: int | None) -> npt.NDArray[np.float32]:
    """An array as contiguous float32; stored as float16 to 64.

    Args:
        shape: Each axis' length; None for any but zero.
    """
    return np.ascontiguousarray(_real(arrays, name, shape), dtype=np.float32)


def doubles(arrays: Arrays, name: str, *shape: int | None) -> npt.NDArray[np.float64]:
    """As `floats`, in float64."""
    return np.ascontiguousarray(_real(arrays, name, shape), dtype=np.float64)


def names(arrays: Arrays, name: str) -> tuple[str, ...]:
    """A vector of words, at least one."""
    array = _array(arrays, name)
    if array.dtype.kind != "U" or array.ndim != 1 or not array.size:
        raise ValueError(f"{name} is not a list of names")
    return tuple(array.tolist())


def count(parameters: Parameters, name: str, most: int) -> int:
    """A whole number, 1 to `most`."""
    value = _parameter(parameters, name)
    if value != int(value) or not 1 <= value <= most:
        raise ValueError(f"{name} is {value:g}, not a whole number from 1 to {most}")
    return int(value)


def number(parameters: Parameters, name: str, least: float, most: float) -> float:
    """A number from `least` to `most`."""
    value = _parameter(parameters, name)
    if not least <= value <= most:
        raise ValueError(f"{name} is {value:g}, not from {least:g} to {most:g}")
    return value


def _array(arrays: Arrays, name: str) -> npt.NDArray[Any]:
    if name not in arrays:
        raise ValueError(f"{name} is missing")
    return np.asarray(arrays[name])


def _real(arrays: Arrays, name: str, shape: tuple[int | None, ...]) -> npt.NDArray[Any]:
    array = _array(arrays, name)
    if array.dtype.kind != "f":
        raise ValueError(f"{name} holds {array.dtype}, not floats")
    fits = array.ndim == len(shape) and all(
        have > 0 if want is None else have == want for have, want in zip(array.shape, shape, strict=True)
    )
    if not fits:
        wanted = " × ".join("any" if want is None else str(want) for want in shape)
        raise ValueError(f"{name} is {' × '.join(map(str, array.shape))}, not {wanted}")
    if not np.isfinite(array).all():
        raise ValueError(f"{name} holds a value that is not finite")
    return array


def _parameter(parameters: Parameters, name: str) -> float:
    if name not in parameters:
        raise ValueError(f"parameter {name} is missing")
    return float(parameters[name])
