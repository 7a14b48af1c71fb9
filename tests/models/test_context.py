import numpy as np

from serendip.data.query import History, Query
from serendip.models.context import (
    RECALLED_STEPS,
    build_context_matrix,
    compute_context_weights,
    compute_growth_without,
)


def _history(items: list[int], liked: list[bool], recalled: int = 0) -> Query:
    times = np.arange(len(items), dtype=np.float64)
    return Query(
        history=History(np.array(items, np.int32), times, np.array(liked), recalled=recalled)
    )


def test_events_weigh_by_their_age_alone_and_sources_replace_them() -> None:
    items, weights = compute_context_weights(_history([2, 1, 2], [True, False, True]), 3, 0.5)
    assert items.tolist() == [1, 2]
    assert weights.tolist() == [0.5, 1.25]
    matrix = build_context_matrix([_history([2, 1, 2], [True, False, True])], 3, 0.5)
    assert matrix.toarray().tolist() == [[0.0, 0.5, 1.25]]
    query = _history([0, *[1] * (RECALLED_STEPS + 5)], [False] * (RECALLED_STEPS + 6), recalled=1)
    items, weights = compute_context_weights(query, 2, 0.9)
    assert weights[items == 0] == np.float32(0.9**RECALLED_STEPS)
    query = Query(source_items=np.array([3, 1, 3, 9, -1], np.int32))
    items, weights = compute_context_weights(query, 4, 0.5)
    assert (items.tolist(), weights.tolist()) == ([1, 3], [1.0, 1.0])


def test_weights_grow_as_those_of_a_history_without_the_item() -> None:
    query = _history([6, 3, 8, 1, 8, 4, *range(10, 20)], [False] * 16, recalled=1)
    context, weights = compute_context_weights(query, 20, 0.8)
    left_out = np.array([8, 4, 6, 0], np.int32)
    growth = compute_growth_without(query.history, context, left_out, 0.8)
    for item, factors in zip(left_out, growth, strict=True):
        less = Query(history=query.history.without(np.array([item])))
        kept, expected = compute_context_weights(less, 20, 0.8)
        grown = factors * weights
        assert context[grown > 0].tolist() == kept.tolist()
        np.testing.assert_allclose(grown[grown > 0], expected, rtol=1e-6)
