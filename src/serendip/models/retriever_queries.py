"""Example queries by the item that each should find, as training draws them; no Python per row."""

from __future__ import annotations

import numpy as np

from serendip.data.arrays import BoolArray
from serendip.data.dataset import QueryExamples
from serendip.models.retriever_context import NONE, LongArray


class ItemQueries:
    """Queries of items.

    Args:
        examples: Q queries; None = there are none.
        drawn: (Q,) which of them are used; None = all.
    """

    def __init__(self, examples: QueryExamples | None, drawn: BoolArray | None = None) -> None:
        self._items = np.empty(0, np.int64) if examples is None else examples.items.astype(np.int64)
        order = np.argsort(self._items, kind="stable")
        self._order = order if drawn is None else order[drawn[order]]
        self._ordered = self._items[self._order]

    def __len__(self) -> int:
        return len(self._order)

    def first(self, items: LongArray) -> LongArray:
        """The first query of each item; -1 = it has none."""
        return self._at(np.searchsorted(self._ordered, items), items)

    def any_of(self, items: LongArray, random: np.random.Generator) -> LongArray:
        """A query of each item, by chance; -1 = it has none."""
        low = np.searchsorted(self._ordered, items)
        count = np.searchsorted(self._ordered, items, side="right") - low
        return self._at(low + (random.random(items.shape) * count).astype(np.int64), items)

    def anything(
        self, shape: tuple[int, ...], random: np.random.Generator
    ) -> tuple[LongArray, LongArray]:
        """Any queries, and the item of each."""
        queries = self._order[random.integers(0, len(self._order), shape)]
        return queries, self._items[queries]

    def _at(self, places: LongArray, items: LongArray) -> LongArray:
        """Queries by place in the order of their items; -1 where that is one of another item."""
        if not len(self):
            return np.full(places.shape, NONE, np.int64)
        places = np.minimum(places, len(self) - 1)
        return np.where(self._ordered[places] == items, self._order[places], NONE)
