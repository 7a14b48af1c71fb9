"""The working set of one run: queries of one surface and what has been computed for them.

Dense scores of a model are computed once per run and serve both as a source of candidates and as
ranker features.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Self

import numpy as np

from serendip.data.arrays import BoolArray, FloatArray, IntArray
from serendip.data.item_list import ItemList
from serendip.data.query import History, Query, select_relevant_history
from serendip.engine.stages.surfaces import SurfaceConfig
from serendip.engine.state import EngineState

TOLD = 500
"""What features tell of a whole past, its length and share of likes, is told of so many events."""


@dataclass(slots=True)
class Batch:
    """Requests that are answered together; no row ever influences another.

    Args:
        queries: B queries of one surface, with histories short enough for any model.
        pasts: per query its recent past, longer than the history that models read.
        surface: how that surface is answered.
        state: what the answers are made from.
        allowed: (B, N) bool, items that may be shown.
        hits: per query, what the words of its text found; None before the search ran.
        degraded: names of stages that failed.
    """

    queries: Sequence[Query]
    pasts: Sequence[History]
    surface: SurfaceConfig
    state: EngineState
    allowed: BoolArray
    hits: list[ItemList] | None = None
    degraded: list[str] = field(default_factory=list)
    _scores: dict[str, FloatArray] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        queries: Sequence[Query],
        surface: SurfaceConfig,
        state: EngineState,
        allowed: BoolArray,
    ) -> Self:
        """From queries with histories of any length."""
        pasts = [query.history.last(TOLD) for query in queries]
        return cls([condensed(query, state) for query in queries], pasts, surface, state, allowed)

    def scores(self, model: str) -> FloatArray:
        """(B, N) scores of a model, computed on first use."""
        if model not in self._scores:
            self._scores[model] = self.state.models[model].score_all(self.queries)
        return self._scores[model]


@dataclass(frozen=True, slots=True)
class Candidates:
    """Flat rows of (query, item), grouped by query.

    Args:
        rows: (R,) int32 row of the query in the batch, non-decreasing.
        items: (R,) int32 item numbers, unique within a query.
    """

    rows: IntArray
    items: IntArray

    def __len__(self) -> int:
        return len(self.rows)

    def bounds(self, num_queries: int) -> list[int]:
        """B + 1 positions: rows of query b are ``bounds[b]:bounds[b + 1]``."""
        places: list[int] = np.searchsorted(self.rows, np.arange(num_queries + 1)).tolist()
        return places


def condensed(query: Query, state: EngineState) -> Query:
    """The query with the part of its user's past that bears on it; see ``select_relevant_history``.

    What a request names are its source items and its words; for words, the codes that an item of
    exactly these words would have.
    """
    codes = state.features.codes
    named = codes[query.source_items]
    if query.text_vector is not None and query.text_vector.any():
        named = np.concatenate([named, state.codebooks.assign(query.text_vector[None])])
    return replace(query, history=select_relevant_history(query.history, codes, named))
