"""What a catalogue says of its items, to judge lists by: attribute values, decades, popularity.

Only attributes tell people that items are alike whose values several items have: neither ids, codes
and addresses, nor numbers. Values are compared without regard to case.

Shapes: N items.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache

import numpy as np

from serendip.data.arrays import BoolArray
from serendip.data.items.attributes import AttributeValues
from serendip.engine.engine import Engine
from serendip.jobs.surface_quality.sample import hash_key

Value = tuple[str, str]

_LEAST_SHARED = 0.2
"""Share of the values of an attribute, each counted as often as items have it, that two items or
more have: below it, the attribute names single items."""

_YEARS = (1_000, 2_100)
_LEAST_LETTERS = 3
_POPULAR = 0.01


def choose(ids: Iterable[str], limit: int, seed: int) -> list[str]:
    """Some of the ids, by the order of their hashes: nearly the same when others come or go."""
    return heapq.nsmallest(limit, ids, key=lambda name: hash_key(seed, name))


class ItemFacts:
    """Facts of the items that an engine may show.

    Attributes:
        kinds: attributes that items are compared by.
        years: attributes that hold years.
        popular: ids of the 1 % of the items with most choices; empty = nothing was chosen.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine, state = engine, engine.state
        self._catalogue, self._visible = state.catalogue, ~state.hidden
        names = [one for one in engine.attribute_names if not engine.is_code(one)]
        self.kinds = tuple(name for name in names if _is_shared(self._catalogue.values(name)))
        self.years = tuple(name for name in names if _are_years(self._catalogue.values(name)))
        counts = np.where(self._visible, state.counts, 0)
        self._chosen = np.flatnonzero(counts)
        best = np.argsort(-counts, kind="stable")[: max(1, int(_POPULAR * self._visible.sum()))]
        self.popular = frozenset(self._ids(best[counts[best] > 0]))
        self.values_of = lru_cache(maxsize=100_000)(self._read_values)

    def choose_items(self, limit: int, seed: int) -> list[str]:
        """Ids of some items that were chosen, or of any if none was."""
        rows = self._chosen if len(self._chosen) else np.flatnonzero(self._visible)
        return choose(self._ids(rows), limit, seed)

    def title(self, item_id: str) -> str:
        """The title of an item, else its id."""
        item = self._engine.item(item_id)
        return item.title if item is not None and item.title else item_id

    def is_chosen(self, item_id: str) -> bool:
        """Whether anybody chose an item."""
        number = self._catalogue.vocabulary.number(item_id)
        return number >= 0 and bool(self._engine.state.counts[number])

    def _read_values(self, item_id: str) -> frozenset[Value]:
        item = self._engine.item(item_id)
        attributes = {} if item is None else item.attributes
        return frozenset(
            (kind, word.casefold()) for kind in self.kinds for word in _words(attributes.get(kind))
        )

    def compare_values(self, item_id: str, other: str) -> float:
        """Mean Jaccard coefficient of the values of two items, over the attributes of the first."""
        left, right = self.values_of(item_id), self.values_of(other)
        shares = []
        for kind in sorted({kind for kind, _ in left}):
            mine, theirs = ({value for value in one if value[0] == kind} for one in (left, right))
            shares.append(len(mine & theirs) / len(mine | theirs))
        return sum(shares) / len(shares) if shares else 0.0

    def are_unlike(self, item_id: str, other: str) -> bool:
        """Whether two items have no value in common."""
        return not self.values_of(item_id) & self.values_of(other)

    def compare_codes(self, item_id: str, other: str) -> float:
        """Share of the levels of the semantic ID, from the first on, that two items share."""
        pairs = zip(self._engine.semantic_id(item_id), self._engine.semantic_id(other), strict=True)
        same = [left == right for left, right in pairs]
        return same.index(False) / len(same) if False in same else 1.0

    def list_values(self, least: int) -> Iterator[Value]:
        """Values that people can type, of at least so many items and at most half of all."""
        most = max(least, int(self._visible.sum()) // 2)
        for kind in self.kinds:
            for value, count in self._catalogue.values(kind).sizes().items():
                if least <= count <= most and sum(map(str.isalpha, value)) >= _LEAST_LETTERS:
                    yield kind, value

    def having(self, values: Iterable[Value]) -> BoolArray:
        """(N,) Visible items that have all values."""
        mask = self._visible.copy()
        for kind, value in values:
            mask &= self._catalogue.values(kind).having(value)
        return mask

    def decade(self, begin: int) -> BoolArray:
        """(N,) Visible items of a decade."""
        mask = np.zeros_like(self._visible)
        for name in self.years:
            mask |= self._catalogue.values(name).within(begin, begin + 9)
        return self._visible & mask

    def find_decades(self, items: BoolArray) -> list[int]:
        """First year of the decade of each of some items (N,) that has a year."""
        years = np.concatenate([self._catalogue.values(name).numbers[items] for name in self.years])
        decades: list[int] = (10 * (years[np.isfinite(years)] // 10)).astype(int).tolist()
        return decades

    def find_ids(self, items: BoolArray, limit: int) -> list[str]:
        """Ids of the first of some items (N,)."""
        return list(self._ids(np.flatnonzero(items)[:limit]))

    def share_of(self, items: BoolArray, shown: Sequence[str]) -> float:
        """Share of the shown items that are among some (N,), of as many as could be."""
        numbers = self._catalogue.vocabulary.numbers(shown)
        possible = min(max(len(shown), 1), int(items.sum()))
        return float(items[numbers[numbers >= 0]].sum()) / max(possible, 1)

    def _ids(self, rows: np.typing.NDArray[np.integer]) -> Sequence[str]:
        return self._catalogue.vocabulary.ids_of(rows.astype(np.int32))


def _words(value: object) -> Sequence[str]:
    if isinstance(value, str):
        return (value,)
    return value if isinstance(value, tuple) else ()


def _is_shared(values: AttributeValues) -> bool:
    counts = np.array(list(values.sizes().values()), np.int64)
    return bool(counts[counts > 1].sum() > _LEAST_SHARED * counts.sum())


def _are_years(values: AttributeValues) -> bool:
    numbers = values.numbers[np.isfinite(values.numbers)]
    least, most = _YEARS
    inside = (numbers >= least) & (numbers <= most) & (numbers == np.floor(numbers))
    return len(numbers) > 0 and bool(inside.all())
