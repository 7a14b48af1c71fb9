"""Vocabulary: an immutable two-way map between external ids and dense numbers."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from serendip.data.arrays import IntArray
from serendip.errors import DataError

MISSING = -1


class Vocabulary:
    """External string ids <-> int32 numbers 0..len-1, in the order given.

    Raises:
        DataError: an id appears twice.
    """

    __slots__ = ("_ids", "_numbers")

    def __init__(self, ids: Iterable[str]) -> None:
        self._ids: tuple[str, ...] = tuple(ids)
        self._numbers: dict[str, int] = {name: number for number, name in enumerate(self._ids)}
        if len(self._numbers) != len(self._ids):
            seen: set[str] = set()
            twice = next(name for name in self._ids if name in seen or seen.add(name))  # type: ignore[func-returns-value]
            raise DataError(f"id {twice!r} appears twice in a vocabulary.", "Ids must be unique.")

    def __len__(self) -> int:
        return len(self._ids)

    def __contains__(self, name: object) -> bool:
        return name in self._numbers

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Vocabulary) and self._ids == other._ids

    def __hash__(self) -> int:
        return hash(self._ids)

    @property
    def ids(self) -> tuple[str, ...]:
        """All ids, by number."""
        return self._ids

    def number(self, name: str) -> int:
        """The number of an id, or -1 if unknown: unknown ids are data, not errors."""
        return self._numbers.get(name, MISSING)

    def numbers(self, names: Iterable[str]) -> IntArray:
        """Numbers of ids, int32, -1 for unknown ones; same order and length as the input."""
        get = self._numbers.get
        return np.fromiter((get(name, MISSING) for name in names), dtype=np.int32)

    def id(self, number: int) -> str:
        """The id of a number.

        Raises:
            IndexError: the number is negative or too large.
        """
        if number < 0:
            raise IndexError(f"item number {number} is negative")
        return self._ids[number]

    def ids_of(self, numbers: Sequence[int] | IntArray) -> list[str]:
        """Ids of numbers, in the same order."""
        return [self.id(int(number)) for number in numbers]

    def extended(self, names: Iterable[str]) -> Vocabulary:
        """A new vocabulary with ids appended; existing numbers stay."""
        return Vocabulary((*self._ids, *names))
