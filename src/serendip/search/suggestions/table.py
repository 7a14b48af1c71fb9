"""Table of verified query suggestions: texts, kinds, items, results and category shares.

The table is immutable. Whether a query still has results is checked again when it is shown, as
items may have been deleted since. Queries that are proposed in a request are a table of their own,
so that all are scored alike.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from serendip.data import Artefact, Catalogue, Strings, normalise
from serendip.data.arrays import NO_ITEMS, BoolArray, FloatArray, IntArray, TimeArray
from serendip.data.items.reception import DAY_S
from serendip.search.names import WordStarts
from serendip.search.suggestions.candidates import KINDS, Candidate, QueryKind, Source
from serendip.search.suggestions.co_searches import CoSearches
from serendip.search.suggestions.combinations import Categories

_OF_ONE_ITEM: tuple[QueryKind, ...] = ("like", "written", "title", "spelling")
_FOCUS_PRIOR = 30.0
"""Categories of usual items that are added to those of a query's items."""
_YOUNG_DAYS = 30.0  # from the first item of a category in which it is young


class ItemChoices(NamedTuple):
    """Interactions of all users (N,) with each item, and their sum."""

    of_items: IntArray = NO_ITEMS
    total: int = 0

    @classmethod
    def of(cls, counts: IntArray) -> Self:
        """Sum the counts."""
        return cls(counts, int(counts.sum()))


_UNKNOWN_CHOICES = ItemChoices()


@dataclass(frozen=True, eq=False)
class QueryTable(Artefact):
    """Q queries.

    Args:
        users: (Q,) int32 number of distinct people who searched it.
        searches: (Q,) int32 number of their searches.
        single: (Q,) int32 the item of a query about a single one, else -1.
        starts: (Q + 1,) int32 offsets of each query's items in ``items``.
        items: int32, items that each query was made from, and its results.
        results: (Q, 10) int32 first results, padded with -1.
        shares: (Q, C) float32 share of a query's results in each category.
        category_starts: (C,) float64 Unix seconds of the first item of each category; empty =
            unknown.
        focus: (Q,) float32 how much a query's items keep to some categories, see ``find_focus``;
            empty = unknown.
    """

    texts: tuple[str, ...]
    kinds: tuple[QueryKind, ...]
    sources: tuple[Source, ...]
    users: IntArray
    searches: IntArray
    single: IntArray
    starts: IntArray
    items: IntArray
    results: IntArray
    categories: Categories
    shares: FloatArray
    choices: ItemChoices = _UNKNOWN_CHOICES
    co_searches: CoSearches = field(default_factory=CoSearches)
    category_starts: TimeArray = field(default_factory=lambda: np.empty(0))
    focus: FloatArray = field(default_factory=lambda: np.empty(0, np.float32))

    @classmethod
    def of(
        cls,
        candidates: Sequence[Candidate],
        catalogue: Catalogue,
        categories: Categories,
        choices: ItemChoices = _UNKNOWN_CHOICES,
        results: IntArray | None = None,
    ) -> Self:
        """Build from Q candidates; their own items stand in for missing results (Q, 10)."""
        found = np.full((len(candidates), 10), -1, np.int32) if results is None else results.copy()
        for row, candidate in enumerate(candidates):
            if results is None or candidate.kind == "like":  # leads to what is similar to its item
                found[row] = -1
                found[row, : min(10, len(candidate.items))] = candidate.items[:10]
        lists = [
            np.union1d(candidate.items, row[row >= 0]).astype(np.int32)
            for candidate, row in zip(candidates, found, strict=True)
        ]
        single = [one.items[0] if one.kind in _OF_ONE_ITEM else -1 for one in candidates]
        return cls(
            tuple(candidate.text for candidate in candidates),
            tuple(candidate.kind for candidate in candidates),
            tuple(candidate.source for candidate in candidates),
            np.array([candidate.users for candidate in candidates], np.int32),
            np.array([candidate.searches for candidate in candidates], np.int32),
            np.array(single, np.int32),
            np.cumsum([0, *map(len, lists)]).astype(np.int32),
            np.concatenate([NO_ITEMS, *lists]).astype(np.int32),
            found,
            categories,
            _shares(found, catalogue, categories),
            choices,
        )

    @classmethod
    def empty(cls) -> Self:
        """A table without queries."""
        return cls.of([], Catalogue(()), Categories())

    def __len__(self) -> int:
        return len(self.texts)

    @cached_property
    def keys(self) -> tuple[str, ...]:
        """Normal form of each query."""
        return tuple(map(normalise, self.texts))

    @cached_property
    def rows_by_key(self) -> Mapping[str, int]:
        """Normal form -> row."""
        return {key: row for row, key in enumerate(self.keys)}

    def find_rows(self, keys: Iterable[str]) -> NDArray[np.intp]:
        """Rows of those normal forms that are in the table."""
        rows = [self.rows_by_key[key] for key in keys if key in self.rows_by_key]
        return np.array(rows, np.intp)

    @cached_property
    def entropy(self) -> FloatArray:
        """(Q,) entropy in bits of the categories of a query's results: 0 = a single category."""
        share = self.shares / np.maximum(self.shares.sum(1, keepdims=True), 1e-9)
        logs = np.log2(np.where(share > 0, share, 1.0))
        entropy: FloatArray = -(share * logs).sum(1).astype(np.float32)
        return entropy

    @cached_property
    def num_items(self) -> IntArray:
        """(Q,) number of items of each query."""
        return np.diff(self.starts)

    @cached_property
    def num_words(self) -> FloatArray:
        """(Q,) number of words of each query."""
        return np.array([key.count(" ") + 1 for key in self.keys], np.float32)

    @cached_property
    def kind_numbers(self) -> IntArray:
        """(Q,) index of each query's kind in ``KINDS``."""
        return np.array([KINDS.index(kind) for kind in self.kinds], np.int32)

    @cached_property
    def num_choices(self) -> FloatArray:
        """(Q,) interactions of all users with the items of each query."""
        return self.sums(self.choices.of_items)

    @cached_property
    def _by_item(self) -> tuple[IntArray, IntArray]:
        rows = np.repeat(np.arange(len(self), dtype=np.int32), self.num_items)
        order = np.argsort(self.items, kind="stable")
        return self.items[order], rows[order]

    def sums(self, values: FloatArray | IntArray | BoolArray) -> FloatArray:
        """(Q,) sums of ``values`` (N,) over the items of each query; 0 beyond their end."""
        items, rows = self._by_item
        last = np.searchsorted(items, len(values))
        return np.bincount(rows[:last], values[items[:last]], len(self)).astype(np.float32)

    def count(self, items: IntArray) -> FloatArray:
        """(Q,) how many of some items, as often as they occur, each query has."""
        numbers, repeats = np.unique(items, return_counts=True)
        having, rows = self._by_item
        begins, ends = (np.searchsorted(having, numbers, side) for side in ("left", "right"))
        sizes = ends - begins
        places = np.arange(sizes.sum()) + np.repeat(begins - np.cumsum(sizes) + sizes, sizes)
        counts = np.bincount(rows[places], np.repeat(repeats, sizes), len(self))
        return counts.astype(np.float32)

    def find_focus(self, catalogue: Catalogue) -> FloatArray:
        """(Q,) how much a query's items keep to some categories; 0 = these are as usual.

        The Kullback-Leibler divergence of their shares of categories from those of all items, over
        the entropy of these, shrunk by a few items of the catalogue: "heist" keeps to few
        categories, "day" is anywhere. Empty without categories.
        """
        if not len(self.categories):
            return np.empty(0, np.float32)
        has = self.categories.matrix(catalogue)  # (N, C)
        usual = has.sum(0, dtype=np.float64) / max(1, has.sum())  # (C,)
        counts = np.stack([self.sums(column) for column in has.T], 1)  # (Q, C)
        of_usual = _FOCUS_PRIOR * usual
        shares = (counts + of_usual) / np.maximum(counts.sum(1, keepdims=True) + of_usual.sum(), 1)
        ratio = np.where(shares > 0, shares / np.maximum(usual, 1e-12), 1.0)
        entropy = -float((usual * np.log(np.maximum(usual, 1e-12))).sum())
        divergence = (shares * np.log(ratio)).sum(1)
        focus: FloatArray = (divergence / max(entropy, 1e-9)).astype(np.float32)
        return focus

    def completions(self, key: str) -> NDArray[np.intp]:
        """(R,) rows of queries that contain ``key`` as a prefix from one of their words on."""
        return np.unique(self._word_starts.starting(key)[0]).astype(np.intp)

    @cached_property
    def _word_starts(self) -> WordStarts:
        return WordStarts.of(Strings.of(self.keys))

    def find_young(self, now: float) -> BoolArray:
        """(C,) categories whose first item appeared in the last days, but not with the catalogue.

        Args:
            now: Unix seconds; NaN = no category is young.
        """
        starts, span = self.category_starts, _YOUNG_DAYS * DAY_S
        known = starts[np.isfinite(starts)]
        if not len(known):
            return np.zeros(len(self.categories), np.bool_)
        with np.errstate(invalid="ignore"):  # infinite: no item has appeared
            young: BoolArray = (now - starts < span) & (starts <= now)
            young &= starts - known.min() >= span
        return young

    def stored(self) -> dict[str, Any]:
        """All but choices, which are those of the generation."""
        values = Artefact.stored(self)
        del values["choices"]
        return values


def _shares(results: IntArray, catalogue: Catalogue, categories: Categories) -> FloatArray:
    shares = np.zeros((len(results), len(categories)), np.float32)
    is_item = results >= 0
    rows, items = np.nonzero(is_item)[0], results[is_item]
    weights = (1.0 / np.maximum(is_item.sum(1), 1)).tolist()
    for row, numbers in zip(rows.tolist(), categories.of_items(catalogue, items), strict=True):
        shares[row, numbers] += weights[row]
    return shares
