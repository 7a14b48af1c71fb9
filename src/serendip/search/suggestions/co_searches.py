"""What else the people searched who searched a query: pairs of queries, and ways out of a failure.

A pair is known only if enough people searched both queries, as each of them alone would be shown to
others only then. A way out leads from a search after which nothing was chosen to the query that the
same person searched next, within half an hour, and found something with.

What a person searches next is expected by EASE (Steck 2019, "Embarrassingly Shallow Autoencoders
for Sparse Data") from the numbers of people of the known pairs alone: unlike these numbers, its
weights do not count twice what two searched queries say together.

Shapes: Q queries of a table, P people, R rows, E pairs (each in both directions), M queries of the
core.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from serendip.data.arrays import NO_ITEMS, BoolArray, FloatArray, IntArray
from serendip.data.privacy import count_people, private_keys
from serendip.data.search_log import Search

WITHIN_S = 1_800.0
"""Seconds within which a next search is a way out of a failure."""

MOST_WAYS_OUT = 10
"""Queries that are kept for a failure, those of most people."""

_MOST_QUERIES = 100
"""Newest distinct queries of a person that make pairs."""

CORE = 1_000
"""Queries that EASE expects from each other, those of most people; others go by their pairs."""

REGULARISATION = 10.0
"""People of each query without any pair, added for EASE."""

SMALLEST_SHARE = 0.01
"""Share of people that is added to the expected one and to that by chance: neither is exact."""


@dataclass(frozen=True, eq=False)
class CoSearches:
    """Numbers of people who searched two queries, and what was searched after failures.

    Args:
        left: (E,) int32 rows of the first query of each pair, ascending.
        right: (E,) int32 rows of the second query.
        people: (E,) int32 distinct people who searched both.
        searchers: (Q,) int32 distinct people who searched each query.
        num_people: P, distinct people who searched any query of the table.
        ways_out: normal form of a search without success -> rows, those of most people first.
    """

    left: IntArray = field(default_factory=lambda: NO_ITEMS)
    right: IntArray = field(default_factory=lambda: NO_ITEMS)
    people: IntArray = field(default_factory=lambda: NO_ITEMS)
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
        queries: dict[str, dict[int, None]] = {}
        known = count_people(search.user_id for search in searches)
        for search in reversed(searches):
            row = rows_by_key.get(search.key)
            if row is not None and search.user_id in known:
                queries.setdefault(search.user_id, {})[row] = None
        searchers = np.zeros(len(rows_by_key), np.int32)
        pairs: Counter[tuple[int, int]] = Counter()
        for rows in queries.values():
            searchers[list(rows)] += 1
            newest = list(rows)[:_MOST_QUERIES]
            pairs.update((one, other) for one in newest for other in newest if one != other)
        kept = sorted(pair for pair, count in pairs.items() if count >= min_people)
        left, right = np.array(kept, np.int32).reshape(-1, 2).T
        people = np.array([pairs[pair] for pair in kept], np.int32)
        ways_out = _find_ways_out(searches, rows_by_key, min_people)
        return cls(left, right, people, searchers, len(queries), ways_out)

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
        people = max(1.0, float(searchers[searched].sum()))
        expected = self._count_together(searched, counted) / people  # (Q,)
        known = np.isin(self._core, searched)
        if known.any():
            expected[self._core] = self._expect(known, np.isin(self._core, counted))
        least = SMALLEST_SHARE + 1.0 / people
        chance = searchers[rows] / self.num_people
        ratio = (np.maximum(expected[rows], 0.0) + least) / (chance + least)
        lift: FloatArray = np.log(ratio).astype(np.float32)
        return lift

    def _count_together(
        self, searched: NDArray[np.intp], counted: NDArray[np.intp]
    ) -> NDArray[np.float64]:
        """(Q,) people who searched each query and one of ``searched``, summed over these."""
        num_rows, place = len(self.searchers), self._pairs_of(searched)
        together = np.bincount(self.right[place], self.people[place].astype(float), num_rows)
        own = np.isin(self.left[place], counted) & np.isin(self.right[place], counted)
        together -= np.bincount(self.right[place][own], minlength=num_rows)
        return together.astype(np.float64)

    @cached_property
    def _core(self) -> NDArray[np.intp]:
        """(M,) rows of the most searched queries with a pair, ascending."""
        rows = np.unique(self.left).astype(np.intp)
        most = np.argsort(-self.searchers[rows], kind="stable")[:CORE]
        return np.sort(rows[most])

    @cached_property
    def _inverse(self) -> NDArray[np.float64]:
        """(M, M) inverse of the regularised numbers of people of the core's pairs."""
        places = np.full(len(self.searchers), -1)
        places[self._core] = np.arange(len(self._core))
        left, right = places[self.left], places[self.right]
        inside = (left >= 0) & (right >= 0)
        gram = np.diag(self.searchers[self._core] + REGULARISATION)
        gram[left[inside], right[inside]] = self.people[inside]
        inverse: NDArray[np.float64] = np.linalg.inv(gram)
        return inverse

    def _expect(self, searched: BoolArray, counted: BoolArray) -> NDArray[np.float64]:
        """(M,) expected share of people who search each query of the core, besides ``searched``.

        Args:
            searched: (M,) whether the user searched it.
            counted: (M,) whether the user is counted as one who did, and is to be forgotten.
        """
        sums, scale = self._inverse[searched].sum(0), self._inverse.diagonal()  # (M,), (M,)
        if counted.any():  # by Sherman and Morrison: a person adds an outer product
            own = self._inverse[counted].sum(0)
            rest = max(1.0 - float(own[counted].sum()), 1e-6)
            sums = sums + own[searched].sum() * own / rest
            scale = scale + own**2 / rest
        expected: NDArray[np.float64] = searched - sums / scale  # a query says nothing of itself
        return expected

    def _pairs_of(self, rows: NDArray[np.intp]) -> NDArray[np.intp]:
        """Places of the pairs whose first query is one of some rows."""
        begins = np.searchsorted(self.left, rows)
        ends = np.searchsorted(self.left, rows, side="right")
        ranges = [np.arange(*bounds) for bounds in zip(begins, ends, strict=True)]
        return np.concatenate(ranges).astype(np.intp)

    def arrays(self) -> dict[str, IntArray]:
        """The arrays by name, for a file."""
        return {
            "pair_left": self.left,
            "pair_right": self.right,
            "pair_people": self.people,
            "searchers": self.searchers,
        }

    def facts(self) -> dict[str, Any]:
        """What else belongs in a file, as JSON."""
        ways_out = {key: [int(row) for row in rows] for key, rows in self.ways_out.items()}
        return {"people": self.num_people, "ways_out": ways_out}

    @classmethod
    def read(cls, arrays: Mapping[str, Any], facts: Mapping[str, Any]) -> Self:
        """What ``arrays`` and ``facts`` gave; nothing from files of earlier versions."""
        if "pair_left" not in arrays:
            return cls()
        ways_out = {key: tuple(rows) for key, rows in facts["ways_out"].items()}
        return cls(
            arrays["pair_left"],
            arrays["pair_right"],
            arrays["pair_people"],
            arrays["searchers"],
            int(facts["people"]),
            ways_out,
        )


def _find_ways_out(
    searches: Sequence[Search], rows_by_key: Mapping[str, int], min_people: int
) -> dict[str, tuple[int, ...]]:
    """What enough people searched with success after the same search without."""
    private = private_keys(search.text for search in searches)
    people = count_people(search.user_id for search in searches)
    failed: dict[str, Search] = {}
    found: dict[str, dict[int, set[str]]] = {}
    for search in searches:
        if search.user_id not in people:
            continue
        before = failed.pop(search.user_id, None)
        if not len(search.chosen):
            failed[search.user_id] = search
            continue
        row = rows_by_key.get(search.key)
        if before is None or row is None or before.key in private:
            continue
        is_other = not search.key.startswith(before.key)  # else typing went on
        if is_other and search.timestamp - before.timestamp <= WITHIN_S:
            found.setdefault(before.key, {}).setdefault(row, set()).add(search.user_id)
    ways = {}
    for key, users in found.items():
        enough = [row for row in users if len(users[row]) >= min_people]
        enough.sort(key=lambda row: (-len(users[row]), row))
        if enough:
            ways[key] = tuple(enough[:MOST_WAYS_OUT])
    return ways
