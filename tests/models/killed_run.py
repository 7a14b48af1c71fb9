"""A training that ends in the middle, as if its process had been killed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TypeVar

T = TypeVar("T")


class Killed(Exception):
    """Stands for the end of the process."""


class Killer:
    """Progress that ends the run after some passes."""

    def __init__(self, after: int) -> None:
        self.after = after

    def track(self, items: Iterable[T], description: str, total: int) -> Iterator[T]:
        for number, item in enumerate(items):
            if number == self.after:
                raise Killed
            yield item
