from pathlib import Path

import numpy as np
import pytest

from serendip.evaluate.metrics import NDCG, Recall, grade
from serendip_bench.qrels import Relevance
from serendip_bench.unified.rows import compute_values

# Three requests of two units: items at places of a list of all items, with their gains.
RANKS = np.array([3.0, 1.0, 40.0, 2.0, 11.0, np.inf])
REQUESTS = np.array([0, 0, 0, 4, 4, 7])
UNITS = np.array([9, 9, 9, 5, 5, 9])
GAINS = np.array([0.1, 1.0, 0.0, 1.0, 1.0, 1.0])


def of_lists(metric: NDCG | Recall, request: int) -> float:
    """The same by the metric's own form for lists."""
    rows = np.flatnonzero(REQUESTS == request)
    row_at = {int(RANKS[row]): int(row) for row in rows if np.isfinite(RANKS[row])}
    ranked = [row_at.get(rank, -rank) for rank in range(1, 101)]
    return metric.of_list(grade(ranked, {int(row): float(GAINS[row]) for row in rows}))


@pytest.mark.parametrize("shuffled", [False, True])
def test_several_items_are_judged_as_a_list_would_be(shuffled: bool) -> None:
    order = np.random.default_rng(0).permutation(6) if shuffled else np.arange(6)
    relevance = Relevance(REQUESTS[order], UNITS[order], GAINS[order])
    values = compute_values(RANKS[order], relevance)
    for column, metric in enumerate((Recall(10), NDCG(10), Recall(100))):
        first = of_lists(metric, 0)
        # The third request finds nothing, and belongs to the unit of the first.
        assert values[:, column].tolist() == pytest.approx([of_lists(metric, 4), first / 2])


def test_judged_counts_what_is_not_relevant_too() -> None:
    relevance = Relevance(REQUESTS, UNITS, GAINS)
    assert relevance.judged(RANKS, 10).tolist() == pytest.approx([0.1, 0.1])


def test_rows_of_their_own_are_judged_by_their_rank() -> None:
    each = Relevance(np.arange(6), np.arange(6), np.ones(6))
    np.testing.assert_allclose(compute_values(RANKS, each), compute_values(RANKS))


def test_it_comes_back_from_its_file(tmp_path: Path) -> None:
    relevance = Relevance(REQUESTS, UNITS, GAINS)
    relevance.save(tmp_path / "some.npz")
    opened = Relevance.open(tmp_path / "some.npz")
    assert opened is not None
    np.testing.assert_array_equal(compute_values(RANKS, opened), compute_values(RANKS, relevance))
    assert Relevance.open(tmp_path / "none.npz") is None
