import numpy as np
import pytest

from serendip.data.query import Query
from serendip.evaluate.metrics import NDCG, Recall, grade
from serendip_bench.ranking.requests import BATCH, LABELS, RequestSet

# Three requests of two units: items at places of a list of all items, with their gains.
RANKS = np.array([3.0, 1.0, 40.0, 2.0, 11.0, np.inf])
REQUESTS = np.array([0, 0, 0, 4, 4, 7])
UNITS = np.array([9, 9, 9, 5, 5, 9])
GAINS = np.array([0.1, 1.0, 0.0, 1.0, 1.0, 1.0])


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
    targets = rng.integers(0, items, count).tolist()
    excluded = [
        np.setdiff1d(rng.integers(0, items, rng.integers(0, 6)), [target]).astype(np.int32)
        for target in targets
    ]
    queries = [Query(user_id=str(row), exclude=gone) for row, gone in enumerate(excluded)]
    requests = RequestSet.of(queries, targets, range(count))
    before = scores.copy()
    ranks, lists = requests.rank(lambda part: scores[[int(q.user_id) for q in part]], k=4)
    expected = [
        oracle(row.tolist(), target, set(gone.tolist()))
        for row, target, gone in zip(scores, targets, excluded, strict=True)
    ]
    assert ranks.tolist() == expected
    for row, shown, gone in zip(scores, lists, excluded, strict=True):
        assert not set(shown.tolist()) & set(gone.tolist())
        assert row[shown].tolist() == sorted(np.delete(row, gone).tolist(), reverse=True)[:4]
    np.testing.assert_array_equal(scores, before)


def of_lists(metric: NDCG | Recall, request: int) -> float:
    """The same by the metric's own form for lists."""
    rows = np.flatnonzero(REQUESTS == request)
    row_at = {int(RANKS[row]): int(row) for row in rows if np.isfinite(RANKS[row])}
    ranked = [row_at.get(rank, -rank) for rank in range(1, 101)]
    return metric.of_list(grade(ranked, {int(row): float(GAINS[row]) for row in rows}))


@pytest.mark.parametrize("shuffled", [False, True])
def test_several_targets_are_judged_as_a_list_would_be(shuffled: bool) -> None:
    order = np.random.default_rng(0).permutation(6) if shuffled else np.arange(6)
    items = np.zeros(6, np.int32)
    requests = RequestSet([Query()] * 6, items, UNITS[order], REQUESTS[order], GAINS[order])
    units, values = requests.measure(RANKS[order])
    assert units.tolist() == [5, 9]
    for label, metric in (("R@10", Recall(10)), ("N@10", NDCG(10)), ("R@100", Recall(100))):
        # The third request finds nothing, and belongs to the unit of the first.
        expected = [of_lists(metric, 4), of_lists(metric, 0) / 2]
        assert values[:, LABELS.index(label)].tolist() == pytest.approx(expected)
