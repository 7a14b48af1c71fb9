"""What else the people searched who searched a query: pairs of queries, and ways out of a failure.

A pair is known only if enough people searched both queries, as each of them alone would be shown to
others only then. A way out leads from a search after which nothing was chosen to a query of the
table that people searched next, and found something with; see ``search.rewrites``.

Shapes: Q queries of a table, P people, R rows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from serendip.data import NO_ITEMS, Artefact, FloatArray, IntArray, normalise
from serendip.data.events.search_log import Search
from serendip.data.privacy import count_people
from serendip.search.rewrites import find_reformulations

MOST_WAYS_OUT = 10
"""Queries that are kept for a failure, those of most people."""

_MOST_QUERIES = 100
"""Newest distinct queries of a person that are counted."""


@dataclass(frozen=True, slots=True, eq=False)
class CoSearches(Artefact):
    """Numbers of people who searched two queries, and what was searched after failures.

    Args:
        pairs: (Q, Q) sparse int32 distinct people who searched both queries, where they are enough.
        searchers: (Q,) int32 distinct people who searched each query.
        num_people: P, distinct people who searched any query of the table.
        ways_out: normal form of a search without success -> rows, those of most people first.
    """

    pairs: Any = field(default_factory=lambda: csr_array((0, 0), dtype=np.int32))
    searchers: IntArray = field(default_factory=lambda: NO_ITEMS)
    num_people: int = 0
    ways_out: Mapping[str, Sequence[int]] = field(default_factory=dict)

    @classmethod
    def of(
        cls, searches: Sequence[Search], rows_by_key: Mapping[str, int], min_people: int
    ) -> Self:
        """Count the searches of people, which come by time; generated visitor ids are nobody.

        Rows are those of the table by normal form; ``min_people`` is of a pair, and of a way out.
        """
        known = count_people(search.user_id for search in searches)
        rows: dict[str, dict[int, None]] = {}
        for search in reversed(searches):
            if search.user_id in known and search.key in rows_by_key:
                rows.setdefault(search.user_id, {})[rows_by_key[search.key]] = None
        newest = [[*found][:_MOST_QUERIES] for found in rows.values()]
        places = np.concatenate([NO_ITEMS, *newest]).astype(np.int32)
        starts = np.cumsum([0, *map(len, newest)])
        shape = (len(newest), len(rows_by_key))
        searched = csr_array((np.ones(len(places), np.int32), places, starts), shape)  # (P, Q)
        together = (searched.T @ searched).tocoo()
        left, right = together.coords
        is_pair = (left != right) & (together.data >= min_people)
        pairs: Any = csr_array(
            (together.data[is_pair], (left[is_pair], right[is_pair])), together.shape
        )
        ways_out = {
            key: tuple(rows_by_key[way] for way in keys if way in rows_by_key)[:MOST_WAYS_OUT]
            for key, ways in find_reformulations(searches, min_people).items()
            if (keys := [normalise(way.text) for way in ways])
        }
        ways_out = {key: found for key, found in ways_out.items() if found}
        searchers = np.bincount(places, minlength=len(rows_by_key)).astype(np.int32)
        return cls(pairs, searchers, len(newest), ways_out)

    def lift(
        self,
        rows: NDArray[np.intp],
        searched: NDArray[np.intp],
        counted: NDArray[np.intp] | None = None,
    ) -> FloatArray:
        """(R,) logarithm of how much more often rows go along with searched ones than by chance.

        Args:
            rows: (R,) of the table.
            searched: rows that the user searched.
            counted: rows of the searches by which this user is counted; they count no longer.
        """
        if not len(searched) or not self.num_people:
            return np.zeros(len(rows), np.float32)
        counted = np.empty(0, np.intp) if counted is None else counted
        searchers = self.searchers.astype(np.float64)
        # Of somebody with more queries than are counted the oldest ones are not among these.
        searchers[counted] = np.maximum(searchers[counted] - 1.0, 0.0)
        together = self.pairs[searched].sum(axis=0).astype(np.float64)  # (Q,)
        own = self.pairs[np.intersect1d(searched, counted)].indices
        together[counted] -= np.bincount(own, minlength=len(searchers))[counted]
        chance = searchers[rows] * float(searchers[searched].sum()) / self.num_people
        lift: FloatArray = np.log((together[rows] + 1.0) / (chance + 1.0)).astype(np.float32)
        return lift
