"""What else the people searched who searched a query: pairs of queries, and ways out of a failure.

A pair is known only if enough people searched both queries, as each of them alone would be shown to
others only then. A way out leads from a search after which nothing was chosen to a query of the
table that people searched next, and found something with; see ``search.reformulations``.

Shapes: Q queries of a table, P people, R rows.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from serendip.data.arrays import NO_ITEMS, FloatArray, IntArray
from serendip.data.events.search_log import Search
from serendip.data.privacy import count_people
from serendip.search.reformulations import find_reformulations

MOST_WAYS_OUT = 10
"""Queries that are kept for a failure, those of most people."""

_MOST_QUERIES = 100
"""Newest distinct queries of a person that make pairs."""

_ARRAYS = ("pair_starts", "pair_rows", "pair_people", "searchers")


@dataclass(frozen=True, slots=True, eq=False)
class CoSearches:
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
        """Count the searches of people; generated visitor ids are nobody.

        Args:
            searches: by time.
            rows_by_key: normal form -> row of the table.
            min_people: of a pair, and of a way out.
        """
        queries = _group_rows(list(reversed(searches)), rows_by_key)  # newest first
        searchers = np.zeros(len(rows_by_key), np.int32)
        pairs: Counter[tuple[int, int]] = Counter()
        for rows in queries.values():
            searchers[list(rows)] += 1
            newest = list(rows)[:_MOST_QUERIES]
            pairs.update((one, other) for one in newest for other in newest if one != other)
        enough = {pair: count for pair, count in pairs.items() if count >= min_people}
        people: Any = np.fromiter(enough.values(), np.int32, len(enough))
        places = np.array([*enough], np.int32).reshape(-1, 2).T
        together = csr_array((people, tuple(places)), (len(rows_by_key), len(rows_by_key)))
        known = find_reformulations(searches, min_people)
        ways_out = {
            key: tuple(rows_by_key[way.key] for way in ways if way.key in rows_by_key)
            for key, ways in known.items()
        }
        ways_out = {key: rows[:MOST_WAYS_OUT] for key, rows in ways_out.items() if rows}
        return cls(together, searchers, len(queries), ways_out)

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
        searchers[counted] -= 1.0
        people = float(searchers[searched].sum())
        together = self.pairs[searched].sum(axis=0).astype(np.float64)  # (Q,)
        own = self.pairs[np.intersect1d(searched, counted)].indices
        together[counted] -= np.bincount(own, minlength=len(searchers))[counted]
        chance = searchers[rows] / self.num_people
        ratio = (together[rows] + 1.0) / (chance * people + 1.0)
        lift: FloatArray = np.log(ratio).astype(np.float32)
        return lift

    def arrays(self) -> dict[str, IntArray]:
        """The arrays by name, for a file."""
        numbers = (self.pairs.indptr, self.pairs.indices, self.pairs.data, self.searchers)
        return dict(zip(_ARRAYS, numbers, strict=True))

    def facts(self) -> dict[str, Any]:
        """What else belongs in a file, as JSON."""
        ways_out = {key: [int(row) for row in rows] for key, rows in self.ways_out.items()}
        return {"people": self.num_people, "ways_out": ways_out}

    @classmethod
    def read(cls, arrays: Mapping[str, Any], facts: Mapping[str, Any]) -> Self:
        """What ``arrays`` and ``facts`` gave; nothing from files of earlier versions."""
        if _ARRAYS[0] not in arrays:
            return cls()
        ways_out = {key: tuple(rows) for key, rows in facts["ways_out"].items()}
        starts, rows, people, searchers = (arrays[name] for name in _ARRAYS)
        pairs = csr_array((people, rows, starts), (len(searchers), len(searchers)))
        return cls(pairs, searchers, int(facts["people"]), ways_out)


def _group_rows(
    searches: Sequence[Search], rows_by_key: Mapping[str, int]
) -> dict[str, dict[int, None]]:
    """Person -> distinct rows of their searches; both in the order of the first of ``searches``."""
    known = count_people(search.user_id for search in searches)
    rows: dict[str, dict[int, None]] = {}
    for search in searches:
        row = rows_by_key.get(search.key)
        if row is not None and search.user_id in known:
            rows.setdefault(search.user_id, {})[row] = None
    return rows
