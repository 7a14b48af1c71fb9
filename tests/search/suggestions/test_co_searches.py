"""Pairs of queries that the same people searched, and ways out of searches without success."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from serendip.data.item import Catalogue
from serendip.data.search_log import Search
from serendip.data.text import normalise
from serendip.search.suggestions import co_searches
from serendip.search.suggestions.candidates import Candidate
from serendip.search.suggestions.co_searches import (
    REGULARISATION,
    SMALLEST_SHARE,
    WITHIN_S,
    CoSearches,
)
from serendip.search.suggestions.table import Categories, QueryTable

ROWS = {"war": 0, "peace": 1, "love": 2, "sea": 3}
NOTHING, FOUND = np.empty(0, np.int32), np.array([4], np.int32)


def search(user: str, key: str, time: float = 0.0, chosen: np.ndarray = FOUND) -> Search:
    return Search(user, time, key, normalise(key), chosen)


def test_pairs_count_people_who_searched_both() -> None:
    searches = [search(user, key) for user in "abc" for key in ("war", "peace", "war")]
    searches += [search(user, key) for user in "cd" for key in ("love", "war")]
    searches += [search("visitor-1", key) for key in ("war", "sea")]
    known = CoSearches.of(searches, ROWS, 2)
    pairs = list(zip(known.left.tolist(), known.right.tolist(), known.people.tolist(), strict=True))
    assert pairs == [(0, 1, 3), (0, 2, 2), (1, 0, 3), (2, 0, 2)]
    assert known.searchers.tolist() == [4, 3, 2, 0] and known.num_people == 4
    assert CoSearches.of(searches, ROWS, 3).right.tolist() == [1, 0]


def expect_by_ridge(sets: list[set[int]], searched: list[int]) -> np.ndarray:
    """Shares of each query of ``ROWS``, each by its own regression on the other three."""
    by_person = np.array([[float(row in rows) for row in range(4)] for rows in sets])
    user = np.isin(np.arange(4), searched).astype(float)
    shares = np.zeros(4)
    for row in range(4):
        others = [other for other in range(4) if other != row]
        inputs = by_person[:, others]
        gram = inputs.T @ inputs + REGULARISATION * np.eye(3)
        shares[row] = user[others] @ np.linalg.solve(gram, inputs.T @ by_person[:, row])
    return shares


def lift_of(expected: np.ndarray, searchers: np.ndarray, people: int, of: int) -> np.ndarray:
    least = SMALLEST_SHARE + 1 / of
    return np.log((np.maximum(expected, 0) + least) / (searchers / people + least))


def test_lift_is_what_goes_along_more_than_by_chance() -> None:
    sets = [{0, 1, 2}, {0, 1}, {0, 1}, {1, 2}, {1, 2}, {3, 0}]
    names = list(ROWS)
    searches = [search(f"u{n}", names[row]) for n, rows in enumerate(sets) for row in rows]
    known = CoSearches.of(searches, ROWS, 1)
    rows, searchers = np.arange(4), np.array([4, 5, 3, 1])
    assert known.lift(rows, np.array([0])) == pytest.approx(
        lift_of(expect_by_ridge(sets, [0]), searchers, 6, 4), rel=1e-5
    )
    assert known.lift(rows, np.array([0, 2])) == pytest.approx(
        lift_of(expect_by_ridge(sets, [0, 2]), searchers, 6, 7), rel=1e-5
    )
    assert known.lift(rows[2:], np.array([0])) == pytest.approx(known.lift(rows, np.array([0]))[2:])
    assert not known.lift(rows, np.array([], np.intp)).any()
    assert not CoSearches().lift(rows, np.array([0])).any()


def test_lift_of_queries_beyond_the_core_goes_by_their_pairs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(co_searches, "CORE", 2)
    searches = [search(user, key) for user in "abcd" for key in ("war", "peace")]
    searches += [search(user, key) for user in "efg" for key in ("war", "sea")]
    known = CoSearches.of([*searches, search("h", "sea"), search("h", "love")], ROWS, 1)
    together, searchers = np.array([0.0, 4.0, 0.0, 3.0]), np.array([7, 4, 1, 4])
    lift = known.lift(np.arange(4), np.array([0]))
    assert lift[2:] == pytest.approx(lift_of(together / 7, searchers, 8, 7)[2:])
    assert lift[1] == pytest.approx(
        lift_of(np.array([4 / (7 + REGULARISATION)]), np.array([4]), 8, 7)[0]
    )


def test_lift_forgets_the_person_who_is_counted() -> None:
    sets = [{0, 1}, {0, 1}, {0, 1, 3}, {2, 3}]
    names = list(ROWS)
    others = [search(f"u{n}", names[row]) for n, rows in enumerate(sets) for row in rows]
    own = [search("me", key) for key in ("war", "peace", "sea")]
    rows, searched = np.arange(4), np.array([0])
    forgotten = CoSearches.of([*others, *own], ROWS, 1).lift(rows, searched, np.array([0, 1, 3]))
    searchers = np.array([3, 3, 1, 2])  # the person is still one of all
    assert forgotten == pytest.approx(
        lift_of(expect_by_ridge(sets, [0]), searchers, 5, 3), rel=1e-5
    )


def test_ways_out_lead_from_a_failure_to_a_success() -> None:
    searches = []
    for number, user in enumerate("abc"):
        begin = 1e5 * number
        searches += [
            search(user, "wra", begin, NOTHING),
            search(user, "war", begin + 60),
            search(user, "se", begin + 100, NOTHING),
            search(user, "sea", begin + 110),
            search(user, "lvoe", begin + 200, NOTHING),
            search(user, "love", begin + 200 + WITHIN_S + 1),
            search(user, "a@b.example", begin + 9_000, NOTHING),
            search(user, "peace", begin + 9_010),
        ]
    known = CoSearches.of(searches, ROWS, 3)
    assert known.ways_out == {"wra": (0,)}  # "sea" was typed on, "love" late, one was private
    assert CoSearches.of(searches, ROWS, 4).ways_out == {}


def test_a_table_keeps_them_in_its_files(tmp_path: Path) -> None:
    candidates = [Candidate(key, "query", "logs", np.array([0], np.int32)) for key in ROWS]
    results = np.full((4, 10), -1, np.int32)
    table = QueryTable.of(candidates, results, Catalogue(()), Categories())
    searches = [search(user, key) for user in "abc" for key in ("war", "peace")]
    searches += [search("a", "wra", 5.0, NOTHING), search("a", "war", 6.0)]
    known = CoSearches.of(searches, table.rows_by_key, 1)
    replace(table, co_searches=known).save(tmp_path)
    opened = QueryTable.open(tmp_path).co_searches
    assert opened.ways_out == known.ways_out == {"wra": (0,)}
    assert (
        opened.lift(np.arange(4), np.array([0])).tolist()
        == known.lift(np.arange(4), np.array([0])).tolist()
    )
