"""Runs and ranks: ties, absences, duplicates."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serendip.errors import DataError
from serendip.evaluate.runs import Judged, Run, ranks_from_lists, ranks_from_scores


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


def test_scores_are_not_changed():
    scores = floats([[3, 2, 1]])
    ranks_from_scores(scores, ints([2]), [ints([0])])
    assert scores.tolist() == [[3, 2, 1]]


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


def test_a_list_with_a_repeated_item_is_refused():
    with pytest.raises(DataError, match=r"run 'pop': 1 lists.*list 1, item 3"):
        Run("pop", ints([[1, 2, 3], [3, 2, 3]]), np.array([1.0, 1.0]))


def test_padding_may_repeat():
    assert len(Run("pop", ints([[1, -1, -1]]), np.array([np.inf]))) == 1


@pytest.mark.parametrize("rank", [0.0, -1.0, np.nan])
def test_impossible_ranks_are_refused(rank):
    with pytest.raises(DataError, match="1-based"):
        Run("pop", ints([[1]]), np.array([rank]))


def test_ranks_and_lists_must_be_equally_many():
    with pytest.raises(DataError, match="for 2 ranks"):
        Run("pop", ints([[1]]), np.array([1.0, 1.0]))


def test_columns_of_the_judged_must_be_equally_long():
    with pytest.raises(DataError, match="'cold_item' has 1 rows for 2 targets"):
        Judged(ints([1, 2]), np.array(["a", "b"]), ints([0, 0]), {"cold_item": np.array([True])})


def test_a_user_of_two_cuts_is_one_user():
    judged = Judged(ints([1, 2, 3]), np.array(["a", "b", "a"]), ints([0, 0, 1]))
    assert judged.num_users == 2
    assert judged.groups().tolist() == [0, 1, 0]
