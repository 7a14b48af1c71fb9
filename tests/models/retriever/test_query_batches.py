from __future__ import annotations

import numpy as np

from serendip.data.dataset import QueryExamples
from serendip.models.retriever.batches import ItemQueries
from serendip.models.retriever.requests import NONE

EXAMPLES = QueryExamples(
    ["b", "d", "b again", "a"], np.zeros((4, 2), np.float32), np.array([1, 3, 1, 0], np.int32)
)
ITEMS = np.array([[0, 1], [2, 9]])


def test_each_item_has_its_first_query() -> None:
    assert ItemQueries(EXAMPLES).first(ITEMS).tolist() == [[3, 0], [NONE, NONE]]


def test_all_queries_of_an_item_are_drawn_and_no_other() -> None:
    queries, random = ItemQueries(EXAMPLES), np.random.default_rng(0)
    drawn = np.stack([queries.any_of(ITEMS, random) for _ in range(50)])
    assert set(drawn[:, 0, 1].tolist()) == {0, 2}
    assert set(drawn[:, 0, 0].tolist()) == {3}
    assert (drawn[:, 1] == NONE).all()


def test_any_query_comes_with_its_item() -> None:
    queries, items = ItemQueries(EXAMPLES).anything((2, 40), np.random.default_rng(0))
    assert set(queries.ravel().tolist()) == {0, 1, 2, 3}
    assert (items == EXAMPLES.items[queries]).all()


def test_queries_that_are_not_used_are_never_drawn() -> None:
    queries = ItemQueries(EXAMPLES, np.array([False, True, True, False]))
    assert len(queries) == 2
    assert queries.first(ITEMS).tolist() == [[NONE, 2], [NONE, NONE]]
    assert set(queries.anything((40,), np.random.default_rng(0))[0].tolist()) == {1, 2}


def test_without_queries_no_item_has_one() -> None:
    for queries in (ItemQueries(None), ItemQueries(EXAMPLES, np.zeros(4, np.bool_))):
        assert not len(queries)
        assert (queries.first(ITEMS) == NONE).all()
        assert (queries.any_of(ITEMS, np.random.default_rng(0)) == NONE).all()
