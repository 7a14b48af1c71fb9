"""Append-only collections that snapshots share: adding costs the same at any size.

Each snapshot knows how many entries are its own and ignores newer ones, so a reader needs no lock
while a writer appends. If a snapshot that is not the newest one is extended, it copies its entries.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

_Value = TypeVar("_Value")


@dataclass(slots=True)
class _Entries(Generic[_Value]):
    """What snapshots share.

    Args:
        numbers: item number of each entry.
        values: value of each entry.
        of_item: item number -> its entries, oldest first.
        derived: what was computed from entries that are not going to change.
    """

    numbers: list[int] = field(default_factory=list)
    values: list[_Value] = field(default_factory=list)
    of_item: dict[int, list[int]] = field(default_factory=dict)
    derived: dict[Any, Any] = field(default_factory=dict)


class ItemLog(Generic[_Value]):
    """Values of items in order of arrival; the newest value of an item counts."""

    __slots__ = ("_entries", "_size")

    def __init__(self) -> None:
        self._entries: _Entries[_Value] = _Entries()
        self._size = 0

    def __len__(self) -> int:
        return self._size

    def with_values(self, numbers: Iterable[int], values: Iterable[_Value]) -> ItemLog[_Value]:
        """A log with further entries."""
        entries = self._entries
        if len(entries.numbers) != self._size:
            log = ItemLog[_Value]().with_values(self.numbers, self.values)
            entries = log._entries
        for number, value in zip(numbers, values, strict=True):
            entries.of_item.setdefault(number, []).append(len(entries.numbers))
            entries.values.append(value)
            entries.numbers.append(number)
        longer: ItemLog[_Value] = ItemLog()
        longer._entries, longer._size = entries, len(entries.numbers)
        return longer

    def get(self, number: int) -> _Value | None:
        """The newest value of an item; None if it has none."""
        if self._size:
            for entry in reversed(self._entries.of_item.get(number, ())):
                if entry < self._size:
                    return self._entries.values[entry]
        return None

    @property
    def numbers(self) -> Sequence[int]:
        """Item number of each entry, in order of arrival."""
        return self._entries.numbers[: self._size]

    @property
    def values(self) -> Sequence[_Value]:
        """Value of each entry, in order of arrival."""
        return self._entries.values[: self._size]

    def part(self, begin: int, end: int) -> tuple[Sequence[int], Sequence[_Value]]:
        """Numbers and values of some entries."""
        return self._entries.numbers[begin:end], self._entries.values[begin:end]

    @property
    def derived(self) -> dict[Any, Any]:
        """Cache of what was computed from entries, shared by snapshots."""
        return self._entries.derived


class GrowingSet:
    """A set of strings that only grows."""

    __slots__ = ("_places", "_size")

    def __init__(self) -> None:
        self._places: dict[str, int] = {}
        self._size = 0

    def __contains__(self, string: object) -> bool:
        return self._size > 0 and self._places.get(string, self._size) < self._size  # type: ignore[call-overload]

    def __len__(self) -> int:
        return self._size

    def with_strings(self, strings: Iterable[str]) -> GrowingSet:
        """A set with further strings."""
        places = self._places
        if len(places) != self._size:
            places = {name: place for name, place in places.items() if place < self._size}
        for string in strings:
            places.setdefault(string, len(places))
        longer = GrowingSet()
        longer._places, longer._size = places, len(places)
        return longer


class GrowingCounter:
    """Counts of strings that only grow."""

    __slots__ = ("_order", "_places", "_size")

    def __init__(self) -> None:
        self._order: list[str] = []
        self._places: dict[str, array[int]] = {}
        self._size = 0

    def __getitem__(self, string: str) -> int:
        return bisect_left(self._places.get(string, ()), self._size)

    def with_strings(self, strings: Iterable[str]) -> GrowingCounter:
        """A counter in which each of some strings counts one more."""
        longer = GrowingCounter()
        if len(self._order) == self._size:
            longer._order, longer._places = self._order, self._places
        else:
            longer = longer.with_strings(self._order[: self._size])
        for string in strings:
            longer._places.setdefault(string, array("q")).append(len(longer._order))
            longer._order.append(string)
        longer._size = len(longer._order)
        return longer
