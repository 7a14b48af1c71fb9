"""Ranks among all items, and the first items of each ranking."""

import numpy as np

from serendip_bench.ranking_values import BATCH, rank_all


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
