"""EASE over the pairs of queries that enough people searched."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from serendip.search.suggestions import query_ease
from serendip.search.suggestions.query_ease import REGULARISATION, QueryEase

NOBODY = np.empty(0, np.intp)


def fit(sets: Sequence[set[int]], num_queries: int, min_people: int) -> QueryEase | None:
    """EASE of people's queries, from the pairs of ``min_people`` people or more."""
    by_person = np.array([[row in rows for row in range(num_queries)] for rows in sets]).astype(int)
    together = by_person.T @ by_person
    pairs = together * (1 - np.eye(num_queries, dtype=int))
    left, right = np.nonzero(pairs >= min_people)
    return QueryEase.of(
        left.astype(np.int32),
        right.astype(np.int32),
        together[left, right].astype(np.int32),
        together.diagonal().astype(np.int32),
    )


def expect_by_ridge(sets: Sequence[set[int]], searched: list[int]) -> np.ndarray:
    """Shares of each of four queries, each by its own regression on the other three."""
    by_person = np.array([[float(row in rows) for row in range(4)] for rows in sets])
    user = np.isin(np.arange(4), searched).astype(float)
    shares = np.zeros(4)
    for row in range(4):
        others = [other for other in range(4) if other != row]
        inputs = by_person[:, others]
        gram = inputs.T @ inputs + REGULARISATION * np.eye(3)
        shares[row] = user[others] @ np.linalg.solve(gram, inputs.T @ by_person[:, row])
    return np.maximum(shares, 0.0)


@pytest.mark.parametrize("searched", [[0], [0, 2], [3]])
def test_each_query_is_expected_by_a_regression_on_all_others(searched: list[int]) -> None:
    sets = [{0, 1, 2}, {0, 1}, {0, 1}, {1, 2}, {1, 2}, {3, 0}]
    ease = fit(sets, 4, 1)
    assert ease is not None and ease.core.tolist() == [0, 1, 2, 3]
    shares = ease.expect(np.array(searched), NOBODY)
    assert shares == pytest.approx(expect_by_ridge(sets, searched))


def test_a_person_is_forgotten() -> None:
    others = [{0, 1}, {0, 1}, {0, 1, 3}, {2, 3}]
    ease = fit([*others, {0, 1, 3}], 4, 1)
    assert ease is not None
    shares = ease.expect(np.array([0]), np.array([0, 1, 3]))
    assert shares == pytest.approx(expect_by_ridge(others, [0]))


def test_a_person_of_whom_too_little_was_left_out_is_not_forgotten() -> None:
    """Most of their pairs were never counted, so no matrix without them is known."""
    sets = [{0, 1}] * 3 + [{2, 3}] * 3 + [set(range(120))]
    ease = fit(sets, 120, 1)
    assert ease is not None
    assert ease.expect(np.array([0]), np.arange(120)) is None
    assert ease.expect(np.array([0]), NOBODY) is not None


def test_the_core_has_the_queries_of_most_people(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(query_ease, "CORE", 2)
    ease = fit([{0, 1}, {0, 1}, {1, 3}, {2}, {2}, {2}, {2}], 4, 1)
    assert ease is not None and ease.core.tolist() == [0, 1]  # nobody searched 2 with another
    shares = ease.expect(np.array([0]), NOBODY)
    assert shares == pytest.approx([0.0, 2 / (2 + REGULARISATION)])
    assert ease.expect(np.array([2, 3]), NOBODY) is None


def test_without_most_pairs_there_is_none() -> None:
    rng = np.random.default_rng(0)
    weights = 1.0 / np.arange(1, 301)
    weights /= weights.sum()
    sets = [set(rng.choice(300, 20, replace=False, p=weights).tolist()) for _ in range(50)]
    assert fit(sets, 300, 1) is not None
    assert fit(sets, 300, 3) is None
    assert fit([{0}, {1}], 2, 1) is None
