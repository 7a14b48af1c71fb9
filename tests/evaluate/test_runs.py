"""Runs and ranks: ties, absences, duplicates."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serendip.errors import DataError
from serendip.evaluate.runs import (
    BATCH,
    rank_all,
    ranks_from_lists,
    ranks_from_scores,
    require_distinct,
)


def ints(rows):
    return np.array(rows, dtype=np.int32)


def floats(rows):
    return np.array(rows, dtype=np.float32)


def test_a_rank_counts_the_better_items_and_half_of_the_equal_ones():
    scores = floats([[3, 2, 2, 2, 1]])
    assert ranks_from_scores(scores, ints([0])).tolist() == [1.0]
    assert ranks_from_scores(scores, ints([2])).tolist() == [3.0]
    assert ranks_from_scores(scores, ints([4])).tolist() == [5.0]


def test_excluded_items_take_no_place():
    scores = floats([[3, 2, 2, 1]])
    assert ranks_from_scores(scores, ints([3]), [ints([0, 1, 1])]).tolist() == [2.0]


def test_an_excluded_target_is_absent():
    assert ranks_from_scores(floats([[3, 2]]), ints([0]), [ints([0])]).tolist() == [np.inf]


def test_a_target_without_a_score_is_absent():
    scores = floats([[np.nan, 1], [-np.inf, 1]])
    assert ranks_from_scores(scores, ints([0, 0])).tolist() == [np.inf, np.inf]


def test_items_without_a_score_are_not_ranked_above_the_target():
    assert ranks_from_scores(floats([[np.nan, 0.5, -np.inf]]), ints([1])).tolist() == [1.0]


@given(st.lists(st.integers(0, 4), min_size=1, max_size=12), st.data())
def test_ranks_of_all_items_sum_to_that_of_any_order(scores, data):
    """Ties half: whatever the ties, the ranks of n items sum to 1 + 2 + ... + n."""
    row = floats([scores] * len(scores))
    ranks = ranks_from_scores(row, np.arange(len(scores), dtype=np.int32))
    assert ranks.sum() == len(scores) * (len(scores) + 1) / 2


def test_a_constant_scorer_ranks_like_a_random_one():
    rng = np.random.default_rng(1)
    targets = rng.integers(0, 200, size=4_000).astype(np.int32)
    constant = ranks_from_scores(np.ones((4_000, 200), dtype=np.float32), targets)
    random = ranks_from_scores(rng.random((4_000, 200), dtype=np.float32), targets)
    error = random.std() / np.sqrt(len(random))
    assert abs(constant.mean() - random.mean()) < 3 * error
    assert (constant <= 10).mean() <= (random <= 10).mean()


def test_ranks_in_lists_are_1_based_and_infinite_where_absent():
    lists = ints([[4, 5, -1], [4, 5, 6]])
    assert ranks_from_lists(lists, ints([5, 7])).tolist() == [2.0, np.inf]


def test_a_list_with_a_repeated_item_is_refused_and_padding_may_repeat():
    require_distinct("pop", ints([[1, -1, -1]]))
    with pytest.raises(DataError, match=r"run 'pop': 1 lists.*list 1, item 3"):
        require_distinct("pop", ints([[1, 2, 3], [3, 2, 3]]))


def oracle(scores: list[float], target: int, excluded: set[int]) -> float:
    """The rank by its definition, one comparison at a time."""
    rank = 1.0
    for item, score in enumerate(scores):
        if item != target and item not in excluded:
            rank += 1.0 if score > scores[target] else 0.5 if score == scores[target] else 0.0
    return rank


def test_ranks_are_those_of_the_definition_in_every_batch() -> None:
    rng = np.random.default_rng(5)
    count, items = BATCH + 40, 17
    scores = rng.integers(-2, 3, (count, items)).astype(np.float32)
    targets = rng.integers(0, items, count).astype(np.int32)
    excluded = [
        np.setdiff1d(rng.integers(0, items, rng.integers(0, 6)), [target]).astype(np.int32)
        for target in targets
    ]
    found = rank_all(lambda rows: scores[rows], targets, excluded, k=4)
    expected = [
        oracle(row.tolist(), int(target), set(gone.tolist()))
        for row, target, gone in zip(scores, targets, excluded, strict=True)
    ]
    assert found.ranks.tolist() == expected
    for row, shown, gone in zip(scores, found.lists, excluded, strict=True):
        allowed = np.delete(row, gone)
        assert not set(shown.tolist()) & set(gone.tolist())
        assert row[shown].tolist() == sorted(allowed.tolist(), reverse=True)[:4]


def test_what_is_excluded_is_neither_ranked_nor_shown() -> None:
    scores = np.array([[5.0, 4.0, 3.0, 2.0]], np.float32)
    found = rank_all(lambda rows: scores, np.array([3]), [np.array([0, 1])], k=3)
    assert found.ranks.tolist() == [2.0]
    assert found.lists.tolist() == [[2, 3, -1]]
    assert scores.tolist() == [[5.0, 4.0, 3.0, 2.0]]
