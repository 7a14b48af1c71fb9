"""Vocabulary: an immutable two-way map between external ids and dense numbers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import chain
from typing import Any, Self

import numpy as np

from serendip.data.arrays import IntArray
from serendip.data.artefact import Artefact
from serendip.data.rows.strings import StringIndex, Strings
from serendip.errors import DataError

MISSING = -1


class Vocabulary(Artefact):
    """External string ids <-> int32 numbers 0..len-1, in the order given.

    The ids of a saved vocabulary are memory-mapped; those of late items are in a dict beside them.

    Raises:
        DataError: an id appears twice.
    """

    __slots__ = ("_base", "_find", "_late", "_late_numbers")

    def __init__(self, ids: Iterable[str]) -> None:
        self._base: Sequence[str] = tuple(ids)
        numbers = {name: number for number, name in enumerate(self._base)}
        if len(numbers) != len(self._base):
            seen: set[str] = set()
            twice = next(name for name in self._base if name in seen or seen.add(name))  # type: ignore[func-returns-value]
            raise DataError(f"id {twice!r} appears twice in a vocabulary.", "Ids must be unique.")
        self._find: Callable[[str], int] = lambda name: numbers.get(name, MISSING)
        self._late: tuple[str, ...] = ()
        self._late_numbers: dict[str, int] = {}

    def stored(self) -> dict[str, Any]:
        """An index of the ids, which is read when they are needed, without a copy."""
        return {"index": StringIndex.of(Strings.of(self))}

    @classmethod
    def restored(cls, values: Mapping[str, Any]) -> Self:
        """See ``Artefact``."""
        vocabulary, index = cls(()), values["index"]
        vocabulary._base, vocabulary._find = index.strings, index.find
        return vocabulary

    def __len__(self) -> int:
        return len(self._base) + len(self._late)

    def __iter__(self) -> Iterator[str]:
        return chain(self._base, self._late)

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and self.number(name) != MISSING

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Vocabulary) or len(self) != len(other):
            return False
        return all(left == right for left, right in zip(self, other, strict=True))

    def __hash__(self) -> int:
        return hash(tuple(self))

    @property
    def ids(self) -> tuple[str, ...]:
        """All ids, by number; a copy of a vocabulary that was opened or extended."""
        if isinstance(self._base, tuple) and not self._late:
            return self._base
        return tuple(self)

    def number(self, name: str) -> int:
        """The number of an id, or -1 if unknown: unknown ids are data, not errors."""
        number = self._find(name)
        return self._late_numbers.get(name, MISSING) if number == MISSING else number

    def numbers(self, names: Iterable[str]) -> IntArray:
        """Numbers of ids, int32, -1 for unknown ones; same order and length as the input."""
        find = self.number if self._late else self._find
        return np.fromiter(map(find, names), dtype=np.int32)

    def id(self, number: int) -> str:
        """The id of a number; an ``IndexError`` if it is negative or too large."""
        if not 0 <= number < len(self):
            raise IndexError(f"item number {number} is not one of {len(self)}")
        first = len(self._base)
        return self._base[number] if number < first else self._late[number - first]

    def ids_of(self, numbers: Sequence[int] | IntArray) -> list[str]:
        """Ids of numbers, in the same order."""
        return [self.id(int(number)) for number in numbers]

    def extended(self, names: Iterable[str]) -> Vocabulary:
        """A new vocabulary with ids appended, which must be new; existing numbers stay."""
        new = list(names)
        known = [name for name in new if name in self]
        if known or len(set(new)) < len(new):
            twice = known[0] if known else next(name for name in new if new.count(name) > 1)
            raise DataError(f"id {twice!r} appears twice in a vocabulary.", "Ids must be unique.")
        longer = Vocabulary(())
        longer._base, longer._find = self._base, self._find
        longer._late = (*self._late, *new)
        numbers = {name: number for number, name in enumerate(new, len(self))}
        longer._late_numbers = {**self._late_numbers, **numbers}
        return longer
