from __future__ import annotations

import numpy as np
import pytest

from serendip.models.early_stopping import compute_target_ndcg

NOTHING = np.empty(0, np.int64), np.empty(0, np.int64)


def gain(scores: list[float], wanted: int, excluded: list[int]) -> float:
    rows, items = np.zeros(len(excluded), np.int64), np.array(excluded, np.int64)
    (value,) = compute_target_ndcg(
        np.array([scores], np.float32), np.array([wanted]), (rows, items)
    )
    return float(value)


def test_the_gain_falls_with_the_rank_and_excluded_items_are_not_ranked() -> None:
    assert gain([3, 2, 1], 0, []) == 1.0
    assert gain([3, 2, 1], 2, []) == pytest.approx(1 / np.log2(4))
    assert gain([3, 2, 1], 2, [0]) == pytest.approx(1 / np.log2(3))
    assert gain([3, 2, 1], 2, [0, 1]) == 1.0


def test_the_wanted_item_is_ranked_though_it_is_excluded() -> None:
    assert gain([3, 2, 1], 1, [0, 1]) == 1.0


def test_ties_count_half() -> None:
    assert gain([1, 1, 1], 0, []) == pytest.approx(1 / np.log2(3))
    assert gain([2, 1, 1], 1, []) == pytest.approx(1 / np.log2(3.5))


def test_the_eleventh_place_is_worth_nothing() -> None:
    scores = [float(-place) for place in range(12)]
    assert gain(scores, 9, []) == pytest.approx(1 / np.log2(11))
    assert gain(scores, 10, []) == 0.0


def test_a_score_that_is_no_number_comes_last() -> None:
    assert gain([np.nan, np.nan, np.nan], 0, []) == 0.0
    assert gain([np.nan, 1, 2], 0, []) == 0.0
    assert gain([np.nan, 1, 2], 2, []) == 1.0
