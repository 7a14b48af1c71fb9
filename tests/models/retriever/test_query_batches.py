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


def test_queries_are_drawn_in_proportion_to_their_weights() -> None:
    weighted = EXAMPLES.joined(EXAMPLES.as_unchecked(0.25))
    queries, random = ItemQueries(weighted), np.random.default_rng(0)
    drawn, items = queries.anything((20_000,), random)
    shares = np.bincount(drawn, minlength=8) / 20_000
    np.testing.assert_allclose(shares, np.array([1.0] * 4 + [0.25] * 4) / 5, atol=0.01)
    assert (items == weighted.items[drawn]).all()
    of_item = np.bincount(queries.any_of(np.ones(20_000, np.int64), random), minlength=8) / 20_000
    np.testing.assert_allclose(of_item, [0.4, 0, 0.4, 0, 0.1, 0, 0.1, 0], atol=0.02)


def test_joined_examples_keep_which_are_unchecked() -> None:
    assert EXAMPLES.joined(EXAMPLES).unchecked is None
    both = EXAMPLES.joined(EXAMPLES.as_unchecked(1.0))
    assert both.checked.tolist() == [True] * 4 + [False] * 4


def test_a_request_weighs_as_much_as_the_heaviest_query_of_its_item() -> None:
    weighted = EXAMPLES.as_unchecked(0.25).joined(EXAMPLES.as_unchecked(0.5))
    queries = ItemQueries(weighted)
    asked = np.array([[0, 3], [4, NONE]])
    assert queries.weights_of(asked).tolist() == [[0.5, 0.5], [0.5, 1.0]]
    alone = ItemQueries(weighted, np.arange(8) < 4)
    assert alone.weights_of(asked[0]).tolist() == [0.25, 0.25]
    plain = ItemQueries(EXAMPLES.joined(EXAMPLES))
    assert plain.weights_of(asked).tolist() == [[1.0, 1.0], [1.0, 1.0]]
