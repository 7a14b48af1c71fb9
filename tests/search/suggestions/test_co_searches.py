import numpy as np
import pytest

from serendip.data.events.search_log import Search
from serendip.data.text import normalise
from serendip.search.rewrites import WITHIN_S
from serendip.search.suggestions.co_searches import CoSearches

ROWS = {"war": 0, "peace": 1, "love": 2, "sea": 3}
NOTHING, FOUND = np.empty(0, np.int32), np.array([4], np.int32)


def search(user: str, key: str, time: float = 0.0, chosen: np.ndarray = FOUND) -> Search:
    return Search(user, time, key, normalise(key), chosen)


def test_pairs_count_people_who_searched_both() -> None:
    searches = [search(user, key) for user in "abc" for key in ("war", "peace", "war")]
    searches += [search(user, key) for user in "cd" for key in ("love", "war")]
    searches += [search("visitor-1", key) for key in ("war", "sea")]
    known = CoSearches.of(searches, ROWS, 2)
    assert known.pairs.toarray()[:3, :3].tolist() == [[0, 3, 2], [3, 0, 0], [2, 0, 0]]
    assert known.pairs.nnz == 4
    assert known.searchers.tolist() == [4, 3, 2, 0] and known.num_people == 4
    assert CoSearches.of(searches, ROWS, 3).pairs.nnz == 2


def test_lift_is_what_goes_along_more_than_by_chance() -> None:
    searches = [search(user, key) for user in "abcd" for key in ("war", "peace")]
    searches += [search(user, "love") for user in "efgh"]
    known = CoSearches.of(searches, ROWS, 1)
    rows = np.arange(4)
    lift = known.lift(rows, np.array([0]))
    assert lift[1] == pytest.approx(np.log((4 + 1) / (4 * 4 / 8 + 1)))
    assert lift[2] == pytest.approx(np.log(1 / (4 * 4 / 8 + 1)))
    assert lift[3] == 0
    assert known.lift(rows[2:], np.array([0])).tolist() == lift[2:].tolist()
    assert not known.lift(rows, np.array([], np.intp)).any()
    assert not CoSearches().lift(rows, np.array([0])).any()


def test_lift_forgets_the_person_who_is_counted() -> None:
    others = [search(user, key) for user in "abc" for key in ("war", "peace")]
    others += [search("d", "love")]
    own = [search("me", key) for key in ("war", "peace", "sea")]
    rows, searched = np.arange(4), np.array([0])
    forgotten = CoSearches.of([*others, *own], ROWS, 1).lift(rows, searched, np.array([0, 1, 3]))
    without = CoSearches.of(others, ROWS, 1)
    chance = without.searchers[rows] * 3 / 5  # the person is still one of all
    together = np.array([0, 3, 0, 0])
    assert forgotten == pytest.approx(np.log((together + 1) / (chance + 1)))


def test_lift_is_finite_for_a_person_with_more_queries_than_are_counted() -> None:
    rows_by_key = {f"q{number}": number for number in range(130)}
    own = [search("me", key) for key in rows_by_key]
    known = CoSearches.of([*own, *(search(user, "q129") for user in "abc")], rows_by_key, 1)
    rows, oldest = np.arange(130), np.arange(30)  # which count for nobody
    lift = known.lift(rows, oldest, rows)
    assert np.isfinite(lift).all()
    assert not lift[oldest].any()


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
