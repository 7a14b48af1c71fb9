"""Items and the catalogue: ids, titles, descriptions and attributes.

``AttributeColumn`` holds one attribute of all items as arrays, so that a filter costs a few
comparisons per request.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Self, TypeAlias

import numpy as np

from serendip.data.arrays import NO_ITEMS, BoolArray, IntArray, TimeArray
from serendip.data.vocabulary import Vocabulary


@dataclass(frozen=True, slots=True, eq=False)
class AttributeColumn:
    """Inverted index of one attribute over N items; case-insensitive.

    Args:
        numbers: (N,) float64, NaN if the attribute is not a number or is missing.
        words: case-folded text -> (M,) int32 ascending items that have exactly this text.
        listed: case-folded value -> (M,) int32 ascending items whose list contains it.
    """

    numbers: TimeArray
    words: Mapping[str, IntArray]
    listed: Mapping[str, IntArray]

    @classmethod
    def of(cls, values: Iterable[Attribute | None]) -> Self:
        """Build from one value per item, None for an item without one."""
        numbers: list[float] = []
        words: dict[str, list[int]] = {}
        listed: dict[str, list[int]] = {}
        for number, value in enumerate(values):
            numbers.append(float(value) if isinstance(value, int | float) else np.nan)
            if isinstance(value, str):
                words.setdefault(value.casefold(), []).append(number)
            elif isinstance(value, tuple):
                for word in {word.casefold() for word in value}:
                    listed.setdefault(word, []).append(number)
        return cls(np.array(numbers, np.float64), _arrays(words), _arrays(listed))

    def equal(self, value: str | float) -> BoolArray:
        """(N,) True where the attribute equals this text or number."""
        if isinstance(value, str):
            return self._mask(self.words.get(value.casefold(), NO_ITEMS))
        equal: BoolArray = self.numbers == value
        return equal

    def having(self, word: str) -> BoolArray:
        """(N,) True where the list contains this value; a text counts as a list of one."""
        folded = word.casefold()
        mask = self._mask(self.listed.get(folded, NO_ITEMS))
        mask[self.words.get(folded, NO_ITEMS)] = True
        return mask

    def within(self, least: float, most: float) -> BoolArray:
        """(N,) True where the attribute is a number in this range, both ends included."""
        inside: BoolArray = (self.numbers >= least) & (self.numbers <= most)
        return inside

    def _mask(self, items: IntArray) -> BoolArray:
        mask = np.zeros(len(self.numbers), np.bool_)
        mask[items] = True
        return mask


def _arrays(lists: Mapping[str, list[int]]) -> dict[str, IntArray]:
    return {word: np.array(items, np.int32) for word, items in lists.items()}


Attribute: TypeAlias = str | float | tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Item:
    """An item that can be found and recommended.

    Args:
        item_id: external id, unique.
        title: as shown; empty if unknown.
        description: longer text; empty if there is none.
        attributes: further columns: text, numbers or lists of texts (year, genres, brand).
        available_from: Unix seconds from which it may be shown; None = always.
        generated_text: active generated text; searched and encoded, but never shown, and not part
            of the catalogue's own text.
    """

    item_id: str
    title: str = ""
    description: str = ""
    attributes: Mapping[str, Attribute] = field(default_factory=dict)
    available_from: float | None = None
    generated_text: str = ""

    def field_text(self, name: str) -> str:
        """The text of one field; numbers without a trailing .0, lists joined by commas."""
        if name in ("title", "description"):
            return str(getattr(self, name))
        value = self.attributes.get(name, "")
        if isinstance(value, float):
            return f"{value:g}" if value != int(value) else str(int(value))
        return ", ".join(value) if isinstance(value, tuple) else value

    def text(self, fields: Sequence[str]) -> str:
        """Input of a text encoder: the non-empty fields and ``written``, joined by ". "."""
        return ". ".join(
            part for part in (*map(self.field_text, fields), self.generated_text) if part
        )


class Catalogue:
    """Items by number, their vocabulary and (N,) Unix seconds from which they may be shown."""

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
        """A new catalogue with items appended; existing numbers stay."""
        return Catalogue((*self.items, *items))

    def replaced(self, numbers: Iterable[int], items: Iterable[Item]) -> Catalogue:
        """A new catalogue in which these numbers hold updated items of the same ids."""
        changed = list(self.items)
        for number, item in zip(numbers, items, strict=True):
            changed[number] = item
        return Catalogue(changed)

    def column(self, name: str) -> AttributeColumn:
        """One attribute of all items, built on first use."""
        if name not in self._columns:
            self._columns[name] = AttributeColumn.of(
                item.attributes.get(name) for item in self.items
            )
        return self._columns[name]

    def texts(self, fields: Sequence[str]) -> list[str]:
        """``Item.text`` of every item, by number."""
        return [item.text(fields) for item in self.items]
