"""Runs and ranks: ties, absences, duplicates."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serendip.errors import DataError
from serendip.evaluate.runs import ranks_from_lists, ranks_from_scores, require_distinct


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
