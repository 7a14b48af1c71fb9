"""One item and the catalogue: what is known about things, before anything is learned."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np

from serendip.data.arrays import TimeArray
from serendip.data.attributes import AttributeColumn
from serendip.data.vocabulary import Vocabulary

Attribute: TypeAlias = str | float | tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Item:
    """A thing that can be found and recommended.

    Args:
        item_id: external id, unique.
        title: as shown; empty where it is unknown.
        description: longer text; empty where there is none.
        attributes: further columns: text, numbers or lists of words (year, genres, brand).
        available_from: Unix seconds from which it may be shown; None = always.
        written: what a machine wrote about it and a gate let through; searched and encoded, never
            shown, and no part of what the catalogue says.
    """

    item_id: str
    title: str = ""
    description: str = ""
    attributes: Mapping[str, Attribute] = field(default_factory=dict)
    available_from: float | None = None
    written: str = ""

    def field_text(self, name: str) -> str:
        """The words of one field; numbers without a trailing .0, lists joined by commas."""
        if name in ("title", "description"):
            return str(getattr(self, name))
        value = self.attributes.get(name, "")
        if isinstance(value, float):
            return f"{value:g}" if value != int(value) else str(int(value))
        return ", ".join(value) if isinstance(value, tuple) else value

    def text(self, fields: Sequence[str]) -> str:
        """The non-empty fields and ``written`` joined by ". ": what a text encoder reads."""
        return ". ".join(part for part in (*map(self.field_text, fields), self.written) if part)


class Catalogue:
    """Items by number, with their ids and the Unix seconds (N,) from which they may be shown."""

    __slots__ = ("_columns", "available_from", "items", "vocabulary")

    def __init__(self, items: Iterable[Item]) -> None:
        self.items: tuple[Item, ...] = tuple(items)
        self.vocabulary = Vocabulary(item.item_id for item in self.items)
        self.available_from: TimeArray = np.fromiter(
            (
                -np.inf if item.available_from is None else item.available_from
                for item in self.items
            ),
            dtype=np.float64,
        )
        self._columns: dict[str, AttributeColumn] = {}

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, number: int) -> Item:
        return self.items[number]

    def extended(self, items: Iterable[Item]) -> Catalogue:
        """A new catalogue with more items at the end; old numbers stay."""
        return Catalogue((*self.items, *items))

    def replaced(self, numbers: Iterable[int], items: Iterable[Item]) -> Catalogue:
        """A new catalogue in which these numbers carry other values of the same ids."""
        changed = list(self.items)
        for number, item in zip(numbers, items, strict=True):
            changed[number] = item
        return Catalogue(changed)

    def column(self, name: str) -> AttributeColumn:
        """One attribute of all items, made on first use."""
        if name not in self._columns:
            self._columns[name] = AttributeColumn.of(
                item.attributes.get(name) for item in self.items
            )
        return self._columns[name]

    def texts(self, fields: Sequence[str]) -> list[str]:
        """``Item.text`` of every item, by number."""
        return [item.text(fields) for item in self.items]
