"""The catalogue: a table in columns, memory-mapped in the service, and late items in a dict."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from math import isnan
from pathlib import Path
from typing import Self, overload

import numpy as np

from serendip.data.arrays import BoolArray, IntArray, TimeArray, locate
from serendip.data.items.attributes import (
    Attribute,
    AttributeColumn,
    AttributeKind,
    AttributeValues,
    is_code_name,
)
from serendip.data.items.table import Item, ItemTable
from serendip.data.rows.row_array import put_rows
from serendip.data.rows.strings import Strings
from serendip.data.vocabulary import Vocabulary

__all__ = ["Attribute", "AttributeColumn", "Catalogue", "Item"]

# Files of a catalogue that tasks of an executor map.
_CATALOGUE, _ITEMS = "catalogue.arrow", "items"


class Catalogue(Sequence[Item]):
    """Items by number, and their vocabulary.

    Attributes:
        available_from: (N,) Unix seconds from which items may be shown, -inf = always.
    """

    __slots__ = (
        "_columns",
        "_late",
        "_names",
        "_table",
        "available_from",
        "vocabulary",
    )

    def __init__(self, items: Iterable[Item]) -> None:
        self._start(ItemTable.of(items))
        self.vocabulary = Vocabulary(self._table.ids)

    def _start(self, table: ItemTable) -> None:
        self._table, self._late = table, dict[int, Item]()
        self._columns: dict[str, AttributeColumn] = {}
        self._names: tuple[str, ...] = ()
        self.available_from: TimeArray = table.available_from

    @classmethod
    def open(cls, path: Path, vocabulary: Vocabulary) -> Self:
        """Map a table that ``save`` wrote.

        Raises:
            ArtefactError: the file is missing or damaged.
        """
        catalogue = cls.__new__(cls)
        catalogue._start(ItemTable.open(path))
        catalogue.vocabulary = vocabulary
        return catalogue

    def rows(self, numbers: IntArray) -> Catalogue:
        """A catalogue of some items (M,), numbered in their order."""
        return Catalogue(self[int(number)] for number in numbers)

    def save(self, path: Path) -> None:
        """Write the items as one Arrow IPC file."""
        (ItemTable.of(self) if self._late else self._table).save(path)

    def __len__(self) -> int:
        return len(self.vocabulary)

    @overload
    def __getitem__(self, key: int) -> Item: ...
    @overload
    def __getitem__(self, key: slice) -> list[Item]: ...
    def __getitem__(self, key: int | slice) -> Item | list[Item]:
        if isinstance(key, slice):
            return [self[number] for number in range(*key.indices(len(self)))]
        if not -len(self) <= key < len(self):
            raise IndexError(f"item {key} of {len(self)}")
        number = key % len(self)
        return self._late[number] if number in self._late else self._table[number]

    def __iter__(self) -> Iterator[Item]:
        if not self._late:
            return iter(self._table)
        return (self[number] for number in range(len(self)))

    def title(self, number: int) -> str:
        """Title of an item, without reading the rest of it."""
        late = self._late.get(number)
        return self._table.texts("title")[number] if late is None else late.title

    def words(self, number: int) -> tuple[str, ...]:
        """Distinct texts of an item's attributes, lists included, without reading the rest."""
        late = self._late.get(number)
        if late is None:
            return self._table.words(number)
        values = (
            (value,) if isinstance(value, str) else value
            for value in late.attributes.values()
            if not isinstance(value, float)
        )
        return tuple(dict.fromkeys(word for part in values for word in part))

    @property
    def titles(self) -> Strings:
        """Titles by number, without those of late items."""
        return self._table.texts("title")

    @property
    def items(self) -> Sequence[Item]:
        """All items by number, each made when it is read."""
        return self

    def with_late(self, items: Sequence[Item]) -> Catalogue:
        """A copy with late items of different ids; those of new ids are numbered after all others.

        Raises:
            DataError: a new id appears twice.
        """
        ids, known = [item.item_id for item in items], self.vocabulary
        catalogue = Catalogue.__new__(Catalogue)
        catalogue._table, catalogue._columns, catalogue._names = self._table, {}, ()
        catalogue.vocabulary = known.extended(name for name in ids if name not in known)
        numbers = catalogue.vocabulary.numbers(ids)
        catalogue._late = {**self._late, **dict(zip(numbers.tolist(), items, strict=True))}
        times = [-np.inf if item.available_from is None else item.available_from for item in items]
        catalogue.available_from = put_rows(self.available_from, numbers, np.array(times))
        return catalogue

    @property
    def table_size(self) -> int:
        """Number of items of the table; those with larger numbers were posted since."""
        return len(self._table)

    def is_late(self, number: int) -> bool:
        """Whether an item was posted or changed after the table was made."""
        return number in self._late

    def are_bare(self, numbers: IntArray) -> BoolArray:
        """Whether items (M,) have a title and no text, where most items have one."""
        is_bare = locate(self._table.bare, numbers)[1]
        for place in np.flatnonzero(is_bare).tolist():
            is_bare[place] = int(numbers[place]) not in self._late
        return is_bare

    def availability(self, now: float) -> tuple[IntArray, float, float]:
        """Items (M,) that become available after a time, and the times of the changes around it.

        Also the last time until ``now`` at which one became available (-inf = none) and the next
        (inf = none).
        """
        order, times = self._table.timed
        later = order[np.searchsorted(times, now, side="right") :]
        candidates = np.union1d(later, [*self._late]).astype(np.int32)
        starts = self.available_from[candidates]
        is_later = starts > now
        earlier = times[: np.searchsorted(times, now, side="right")][-1:]
        begin = max(starts[~is_later].max(initial=-np.inf), earlier.max(initial=-np.inf))
        return candidates[is_later], float(begin), float(starts[is_later].min(initial=np.inf))

    @property
    def has_times(self) -> bool:
        """Whether any item has a time from which it may be shown."""
        late = (item.available_from is not None for item in self._late.values())
        return len(self._table.timed[0]) > 0 or any(late)

    def column(self, name: str) -> AttributeColumn:
        """One attribute of all items, built on first use."""
        if name not in self._columns:
            base, late = self._table.attribute(name), sorted(self._late)
            values = AttributeValues.of(self._late[number].attributes.get(name) for number in late)
            self._columns[name] = AttributeColumn(base, np.array(late, np.int32), values)
        return self._columns[name]

    def values(self, name: str) -> AttributeValues:
        """Values of one attribute of all items, with their dictionary."""
        if not self._late:
            return self._table.attribute(name)
        return AttributeValues.of(item.attributes.get(name) for item in self)

    @property
    def attribute_names(self) -> tuple[str, ...]:
        """Names of the attributes that items have, in order of first appearance."""
        if not self._names:
            names = (name for item in self._late.values() for name in item.attributes)
            self._names = tuple(dict.fromkeys((*self._table.attribute_names, *names)))
        return self._names

    def kind(self, name: str) -> AttributeKind:
        """Kind of an attribute's values before any post."""
        values = self._table.attribute(name)
        return "list" if len(values.members) else "text" if isnan(values.median) else "number"

    def is_code(self, name: str) -> bool:
        """Whether an attribute holds ids or codes, by its name or by its values before any post."""
        return is_code_name(name) or self._table.attribute(name).are_codes

    def texts_of(self, name: str) -> Iterator[str]:
        """One of an item's own texts for every item: ``title``, ``generated_text``, ..."""
        if not self._late:
            return iter(self._table.texts(name))
        return (getattr(item, name) for item in self)

    def texts(self, fields: Sequence[str]) -> list[str]:
        """``Item.encoder_text`` of every item, by number."""
        return [item.encoder_text(fields) for item in self]


def save_catalogue(catalogue: Catalogue, folder: Path) -> None:
    """Write a catalogue into a folder, which exists."""
    catalogue.save(folder / _CATALOGUE)
    catalogue.vocabulary.save(folder / _ITEMS)


def open_catalogue(folder: Path) -> Catalogue:
    """Map what ``save_catalogue`` wrote.

    Raises:
        ArtefactError: a file is damaged.
    """
    return Catalogue.open(folder / _CATALOGUE, Vocabulary.open(folder / _ITEMS))
