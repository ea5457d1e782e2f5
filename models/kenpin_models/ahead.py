"""Make the next item while one is worked on."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")


def ahead(items: Iterable[T]) -> Iterator[T]:
    """The items in their order, each made on another thread while the one before is used.

    Reading and painting pictures and the encoder's invoke all let other threads run, so that two cores have something
    to do. What goes wrong in the making is raised here.
    """
    source = iter(items)
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="ahead") as worker:
        coming = worker.submit(_next, source)
        while item := coming.result():
            coming = worker.submit(_next, source)
            yield item[0]


def _next(source: Iterator[T]) -> tuple[T] | None:
    """In a tuple, so that an item that is false is no end."""
    for item in source:
        return (item,)
    return None
