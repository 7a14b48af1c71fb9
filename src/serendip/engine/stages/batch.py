"""The batch of one run: queries of one surface, with the scores computed for them.

What a model computes for the queries, it computes once per run; sources, features and scorers share
it.

Shapes: B queries, R candidate rows.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Self

import numpy as np

from serendip.data import AllowedItems, FloatArray, History, IntArray, ItemList, Query
from serendip.data.query import RECALLED, RECENT, select_relevant_history
from serendip.engine.stages.list_rules import SPONSORED
from serendip.engine.stages.rules import find_pins
from serendip.engine.stages.surfaces import SurfaceConfig, without_past
from serendip.engine.state import EngineState
from serendip.models.query_scores import QueryScores

# Newest events that history length and share of likes are computed over.
HISTORY_FEATURE_EVENTS = 500
_SHORTENED = "shortened"


@dataclass(slots=True)
class Batch:
    """B queries that are answered together; the answer to one never depends on the others.

    Args:
        queries: B queries of one surface, their histories reduced to the events that models read.
        pasts: per query its last ``HISTORY_FEATURE_EVENTS`` events.
        allowed: per query the items that may be shown.
        hits: per query the results of the word search; None = no word search has run.
        degraded: names of stages that failed.
        proposals: source -> its candidates per query.
    """

    queries: Sequence[Query]
    pasts: Sequence[History]
    surface: SurfaceConfig
    state: EngineState
    allowed: Sequence[AllowedItems]
    hits: list[ItemList] | None = None
    degraded: list[str] = field(default_factory=list)
    proposals: dict[str, list[ItemList]] = field(default_factory=dict)
    _pins: dict[int, dict[int, int]] = field(default_factory=dict)
    _scores: dict[str, QueryScores] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        queries: Sequence[Query],
        surface: SurfaceConfig,
        state: EngineState,
        allowed: Sequence[AllowedItems],
    ) -> Self:
        """Build from queries with histories of any length.

        The past of a user does not count where likeness orders: it would replace what is alike.
        """
        if surface.is_by_likeness:
            queries = [without_past(query) for query in queries]
        pasts = [query.history.last(HISTORY_FEATURE_EVENTS) for query in queries]
        shortened = [shorten_history(query, state) for query in queries]
        return cls(shortened, pasts, surface, state, allowed)

    @property
    def organic_proposals(self) -> dict[str, list[ItemList]]:
        """Candidates of the sources that propose them for the user's sake."""
        return {name: lists for name, lists in self.proposals.items() if name != SPONSORED}

    def pins(self, row: int) -> dict[int, int]:
        """0-based position -> item that a rule puts there, of query ``row``."""
        query = self.queries[row]
        if query.rules and row not in self._pins:
            self._pins[row] = find_pins(query, self.allowed[row], self.state)
        return self._pins.get(row, {})

    def pinned(self, row: int) -> IntArray:
        """(P,) int32 items that rules pin for query ``row``."""
        return np.fromiter(self.pins(row).values(), np.int32)

    def add_hits(self, more: Sequence[ItemList]) -> None:
        """Add hits of the words that are not among those of the word search.

        They have the fields of the word search, or none if the items are not hits.
        """
        known = self.hits or [ItemList()] * len(more)
        if any(hits.fields for hits in more):
            self.hits = [_join_hits(*both) for both in zip(known, more, strict=True)]

    def keep_close(self, lists: Sequence[ItemList]) -> list[ItemList]:
        """Per query the items that are hits of the words, or close enough in meaning to its text.

        All of a surface that needs no text, of a query without a vector, and of a text in words of
        which no item has any: what is nearest is the answer then. None of a text of which no word
        is known, in whatever script, unless an item is nearer than nonsense comes to any. An item
        of a title alone, where most have a text, is near many texts and means none of them.
        """
        if self.surface.needs != "query":
            return list(lists)
        hits = self.hits or [ItemList()] * len(lists)
        return [self._keep_close(*row) for row in zip(self.queries, lists, hits, strict=True)]

    def _keep_close(self, query: Query, items: ItemList, hits: ItemList) -> ItemList:
        state, vector, numbers = self.state, query.text_vector, items.item_nums
        if vector is None or not len(items):
            return items
        tells = ~state.catalogue.are_bare(numbers)
        is_language = state.searcher.read(query.text, query.is_literal).content.is_language
        if is_language and not len(hits):
            return items.split(tells)[0]
        floor = state.meaning_floor
        cosines = state.fusion.compare_text(state.features.content, numbers, vector)
        is_meant = is_language or float(cosines.max()) >= floor.of_nonsense
        is_close = (cosines >= floor.beside_words) & is_meant
        return items.split((is_close & tells) | np.isin(numbers, hits.item_nums))[0]

    def scores(self, model: str) -> QueryScores:
        """Scores of a model for the queries."""
        if model not in self._scores:
            self._scores[model] = self.state.models[model].query_scores(self.queries)
        return self._scores[model]


def _join_hits(known: ItemList, more: ItemList) -> ItemList:
    if not known.fields or not more.fields:
        return more if more.fields else known
    # An item of both has the numbers of the second.
    others = known.split(~np.isin(known.item_nums, more.item_nums))[0]
    return ItemList.of_distinct(
        np.concatenate([others.item_nums, more.item_nums]),
        np.concatenate([others.scores, more.scores]),
        {name: np.concatenate([others.fields[name], more.fields[name]]) for name in more.fields},
    )


@dataclass(frozen=True, slots=True)
class Candidates:
    """R candidate rows (query, item), grouped by query.

    Args:
        rows: (R,) int32 position of the query in the batch, non-decreasing.
        items: (R,) int32 item numbers, ascending and unique within a query.
    """

    rows: IntArray
    items: IntArray

    def __len__(self) -> int:
        return len(self.rows)

    def bounds(self, num_queries: int) -> list[int]:
        """B + 1 bounds: the candidates of query b are rows ``bounds[b]:bounds[b + 1]``."""
        if num_queries == 1:
            return [0, len(self)]
        bounds: list[int] = np.searchsorted(self.rows, np.arange(num_queries + 1)).tolist()
        return bounds

    def parts(self, num_queries: int) -> Iterator[tuple[int, slice]]:
        """Each query that has candidates, and their rows."""
        for row, (begin, end) in enumerate(pairwise(self.bounds(num_queries))):
            if begin < end:
                yield row, slice(begin, end)


def shorten_history(query: Query, state: EngineState) -> Query:
    """The query with the events of the history that are relevant to it.

    See ``select_relevant_history``. The codes of the query are those of its source items and, for a
    text, those that an item with exactly this text would have. Without either, the events are kept
    with the history, as is what later steps derive from them.
    """
    if len(query.history) <= RECENT + RECALLED:
        return query
    codes = state.features.codes  # (N, L)
    query_codes = codes[query.source_items]  # (S, L)
    if query.text_vector is not None and query.text_vector.any():
        text_codes = state.codebooks.assign(query.text_vector[None])  # (1, L)
        query_codes = np.concatenate([query_codes, text_codes])
    if len(query_codes):
        return replace(query, history=select_relevant_history(query.history, codes, query_codes))
    known: tuple[IntArray, History] | None = query.history.derived.get(_SHORTENED)
    if known is None or known[0] is not codes:
        shortened = select_relevant_history(query.history, codes, query_codes)
        query.history.derived[_SHORTENED] = known = codes, shortened
    return replace(query, history=known[1])


# The last ten bits of a float32 depend on the other rows of the batch that it is computed with.
_BITS = 14


def round_scores(values: FloatArray) -> FloatArray:
    """Values (R,) without differences by rounding: the same alone and in any batch."""
    mantissa, exponent = np.frexp(values)
    rounded = np.ldexp(np.round(mantissa * 2.0**_BITS), exponent - _BITS)
    return np.asarray(rounded, np.float32)
