"""Items and the catalogue: numbers, ids, texts and attributes of everything that can be shown.

A catalogue is a table in columns, memory-mapped in the service, and the items posted or changed
since: an append-only log that catalogues share, of which each reads the part that it was made with.
Posting an item therefore costs the same at any size, and a request keeps its own catalogue.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from math import isnan
from pathlib import Path
from typing import Self, overload

import numpy as np

from serendip.data.arrays import NO_ITEMS, IntArray, TimeArray
from serendip.data.items.attributes import (
    Attribute,
    AttributeColumn,
    AttributeKind,
    AttributeValues,
    BaseMasks,
    is_code_name,
)
from serendip.data.items.table import Item, ItemTable
from serendip.data.rows.append_log import ItemLog
from serendip.data.rows.growing_rows import append_rows, replace_rows
from serendip.data.rows.strings import Strings, open_arrays, save_arrays
from serendip.data.vocabulary import Vocabulary

__all__ = ["Attribute", "AttributeColumn", "Catalogue", "Item"]

_CATALOGUE, _ITEMS = "catalogue.arrow", "items"
"""Files of a catalogue that tasks of an executor map."""

_SEGMENT = 256
"""Log entries whose attribute values are kept as columns together; newer ones are read again."""


class Catalogue(Sequence[Item]):
    """Items by number, and their vocabulary.

    Attributes:
        vocabulary: ids <-> numbers.
        available_from: (N,) Unix seconds from which items may be shown, -inf = always.
    """

    __slots__ = (
        "_columns",
        "_names",
        "_posted",
        "_table",
        "_timed",
        "available_from",
        "vocabulary",
    )

    def __init__(self, items: Iterable[Item]) -> None:
        self._start(ItemTable.of(items))
        self.vocabulary = Vocabulary(self._table.ids)

    def _start(self, table: ItemTable) -> None:
        self._table, self._posted = table, ItemLog[Item]()
        self._columns: dict[str, AttributeColumn] = {}
        self._names: tuple[str, ...] = ()
        self.available_from: TimeArray = table.available_from
        self._timed: IntArray = NO_ITEMS  # posted or changed items with a time of their own

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
        if len(self._posted):
            return Catalogue(self[number] for number in numbers.tolist())
        catalogue = Catalogue.__new__(Catalogue)
        catalogue._start(self._table.rows(numbers))
        catalogue.vocabulary = Vocabulary(catalogue._table.ids)
        return catalogue

    def save(self, path: Path) -> None:
        """Write the items as one Arrow IPC file."""
        (ItemTable.of(self) if len(self._posted) else self._table).save(path)

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
        posted = self._posted.get(number)
        return self._table[number] if posted is None else posted

    def __iter__(self) -> Iterator[Item]:
        if not len(self._posted):
            return iter(self._table)
        return (self[number] for number in range(len(self)))

    def title(self, number: int) -> str:
        """Title of an item, without reading the rest of it."""
        posted = self._posted.get(number)
        return self._table.titles[number] if posted is None else posted.title

    def words(self, number: int) -> tuple[str, ...]:
        """Distinct texts of an item's attributes, lists included, without reading the rest."""
        posted = self._posted.get(number)
        if posted is None:
            return self._table.words(number)
        values = (
            (value,) if isinstance(value, str) else value
            for value in posted.attributes.values()
            if not isinstance(value, float)
        )
        return tuple(dict.fromkeys(word for part in values for word in part))

    @property
    def titles(self) -> Strings:
        """Titles by number, without those of items posted or changed later."""
        return self._table.titles

    @property
    def items(self) -> Sequence[Item]:
        """All items by number, each made when it is read."""
        return self

    def extended(self, items: Iterable[Item]) -> Catalogue:
        """A new catalogue with items appended; existing numbers stay.

        Raises:
            DataError: an id is in the catalogue already.
        """
        new = list(items)
        numbers = range(len(self), len(self) + len(new))
        catalogue = self._logged(numbers, new)
        catalogue.vocabulary = self.vocabulary.extended(item.item_id for item in new)
        catalogue._set_times(append_rows(self.available_from, _times(new)), numbers)
        return catalogue

    def replaced(self, numbers: Iterable[int], items: Iterable[Item]) -> Catalogue:
        """A new catalogue in which these numbers hold updated items of the same ids."""
        changed, new = list(numbers), list(items)
        catalogue = self._logged(changed, new)
        rows = np.array(changed, np.int32)
        catalogue._set_times(replace_rows(self.available_from, rows, _times(new)), changed)
        return catalogue

    @property
    def table_size(self) -> int:
        """Number of items of the table; those with larger numbers were posted since."""
        return len(self._table)

    def is_posted(self, number: int) -> bool:
        """Whether an item was posted or changed after the table was made."""
        return self._posted.get(number) is not None

    def availability(self, now: float) -> tuple[IntArray, float, float]:
        """Items (M,) that become available after a time, and the times of the changes around it.

        Returns:
            the items, the last time until ``now`` at which an item became available (-inf = none)
            and the next one (inf = none).
        """
        order, times = self._times_of_table
        later = order[np.searchsorted(times, now, side="right") :]
        candidates = np.union1d(later, self._timed).astype(np.int32)
        starts = self.available_from[candidates]
        is_later = starts > now
        earlier = times[: np.searchsorted(times, now, side="right")][-1:]
        begin = max(starts[~is_later].max(initial=-np.inf), earlier.max(initial=-np.inf))
        return candidates[is_later], float(begin), float(starts[is_later].min(initial=np.inf))

    @property
    def has_times(self) -> bool:
        """Whether any item has a time from which it may be shown."""
        return len(self._times_of_table[0]) > 0 or len(self._timed) > 0

    @property
    def _times_of_table(self) -> tuple[IntArray, TimeArray]:
        """Items of the table that have a time, earliest first, and their times."""
        derived = self._table.derived
        if "times" not in derived:
            times = self._table.available_from
            timed = np.flatnonzero(np.isfinite(times))
            order = timed[np.argsort(times[timed], kind="stable")]
            derived["times"] = order.astype(np.int32), times[order]
        found: tuple[IntArray, TimeArray] = derived["times"]
        return found

    def _set_times(self, times: TimeArray, numbers: Sequence[int]) -> None:
        """Replace the times of items that were posted or changed."""
        self.available_from = times
        rows = np.array(numbers, np.int32)
        timed = rows[np.isfinite(times[rows])]
        if len(timed):
            self._timed = np.union1d(self._timed, timed).astype(np.int32)

    def column(self, name: str) -> AttributeColumn:
        """One attribute of all items, built on first use."""
        if name not in self._columns:
            size = len(self._posted)
            full = size // _SEGMENT * _SEGMENT
            newer = [self._segment(name, begin) for begin in range(0, full, _SEGMENT)]
            newer += [self._posted_values(name, full, size)] if full < size else []
            values = self._table.attribute(name)
            masks = self._table.derived.setdefault(("masks", name), BaseMasks(values))
            self._columns[name] = AttributeColumn(values, newer, len(self), masks)
        return self._columns[name]

    def values(self, name: str) -> AttributeValues:
        """Values of one attribute of all items, with their dictionary."""
        if not len(self._posted):
            return self._table.attribute(name)
        return AttributeValues.of(item.attributes.get(name) for item in self)

    @property
    def attribute_names(self) -> tuple[str, ...]:
        """Names of the attributes that items have, in order of first appearance."""
        if not self._names:
            names = (name for item in self._posted.values for name in item.attributes)
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
        if not len(self._posted):
            return iter(self._table.texts(name))
        return (getattr(item, name) for item in self)

    def texts(self, fields: Sequence[str]) -> list[str]:
        """``Item.encoder_text`` of every item, by number."""
        return [item.encoder_text(fields) for item in self]

    def _logged(self, numbers: Iterable[int], items: Sequence[Item]) -> Catalogue:
        catalogue = Catalogue.__new__(Catalogue)
        catalogue._table, catalogue._columns, catalogue._names = self._table, {}, ()
        catalogue._posted = self._posted.with_values(numbers, items)
        catalogue.vocabulary, catalogue.available_from = self.vocabulary, self.available_from
        catalogue._timed = self._timed
        return catalogue

    def _segment(self, name: str, begin: int) -> tuple[IntArray, AttributeValues]:
        """``_posted_values`` of a segment of the log, computed once."""
        derived, key = self._posted.derived, (name, begin)
        if key not in derived:
            derived[key] = self._posted_values(name, begin, begin + _SEGMENT)
        segment: tuple[IntArray, AttributeValues] = derived[key]
        return segment

    def _posted_values(self, name: str, begin: int, end: int) -> tuple[IntArray, AttributeValues]:
        """Item numbers and values of one attribute of some entries of the log."""
        numbers, items = self._posted.part(begin, end)
        values = AttributeValues.of(item.attributes.get(name) for item in items)
        return np.array(numbers, np.int32), values


def _times(items: Sequence[Item]) -> TimeArray:
    times = [-np.inf if item.available_from is None else item.available_from for item in items]
    return np.array(times, np.float64)


def save_catalogue(catalogue: Catalogue, folder: Path) -> None:
    """Write a catalogue into a folder, which exists."""
    catalogue.save(folder / _CATALOGUE)
    save_arrays(folder / _ITEMS, catalogue.vocabulary.arrays())


def open_catalogue(folder: Path) -> Catalogue:
    """Map what ``save_catalogue`` wrote.

    Raises:
        ArtefactError: a file is damaged.
    """
    return Catalogue.open(folder / _CATALOGUE, Vocabulary.of_arrays(open_arrays(folder / _ITEMS)))
