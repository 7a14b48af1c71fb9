import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serendip.data.arrays import FloatArray
from serendip.models.sparse.pair_counts import PairCounter

NUM_ITEMS = 6
FORWARD = np.asarray([1.0, 0.5, 0.25], np.float32)
BACKWARD = np.asarray([0.5, 0.25, 0.0], np.float32)

Rows = list[tuple[int, int]]


def counter_of(rows: Rows) -> PairCounter:
    users, items = np.asarray(rows, np.int32).reshape(-1, 2).T
    return PairCounter(users, items, NUM_ITEMS, FORWARD, BACKWARD)


def count_slowly(rows: Rows) -> FloatArray:
    """(N, N), from the definition."""
    counts = np.zeros((NUM_ITEMS, NUM_ITEMS))
    for user in {user for user, _ in rows}:
        history = [item for owner, item in rows if owner == user]
        for place, first in enumerate(history):
            for gap, second in enumerate(history[place + 1 : place + 4]):
                if first != second:
                    counts[first, second] += FORWARD[gap]
                    counts[second, first] += BACKWARD[gap]
    return counts.astype(np.float32)


logs = st.lists(st.tuples(st.integers(0, 3), st.integers(0, NUM_ITEMS - 1)), max_size=40)


@given(logs, st.integers(1, NUM_ITEMS))
def test_the_largest_scaled_counts_of_each_row_are_kept(rows: Rows, most: int) -> None:
    across = np.linspace(1, 2, NUM_ITEMS, dtype=np.float32)
    down = np.linspace(3, 1, NUM_ITEMS, dtype=np.float32)
    kept = counter_of(rows).count_top(across, down, most).toarray()
    expected = across[:, None] * count_slowly(rows) * down
    np.testing.assert_allclose(
        np.sort(kept, axis=1)[:, -most:], np.sort(expected, axis=1)[:, -most:], rtol=1e-6
    )
    assert (np.count_nonzero(kept, axis=1) <= most).all()
    np.testing.assert_allclose(kept[kept > 0], expected[kept > 0], rtol=1e-6)


@pytest.mark.parametrize("pairs_per_block", [1, 7, 40])
def test_the_size_of_a_block_changes_no_bit(
    monkeypatch: pytest.MonkeyPatch, pairs_per_block: int
) -> None:
    random = np.random.default_rng(0)
    rows = list(zip(random.integers(0, 5, 60), random.integers(0, NUM_ITEMS, 60), strict=True))
    counter, ones = counter_of(rows), np.ones(NUM_ITEMS, np.float32)
    whole, largest = counter.count(), counter.count_top(ones, ones, 2)
    monkeypatch.setattr("serendip.models.sparse.pair_counts.PAIRS_PER_BLOCK", pairs_per_block)
    in_blocks, largest_in_blocks = counter.count(), counter.count_top(ones, ones, 2)
    for expected, found in ((whole, in_blocks), (largest, largest_in_blocks)):
        for part in ("indptr", "indices", "data"):
            np.testing.assert_array_equal(getattr(found, part), getattr(expected, part))


def test_no_events_are_no_pairs() -> None:
    counter, ones = counter_of([]), np.ones(NUM_ITEMS, np.float32)
    assert counter.count().nnz == 0
    assert counter.count_top(ones, ones, 3).shape == (NUM_ITEMS, NUM_ITEMS)
    assert not np.any(counter.sums())


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 5), st.integers(1, 4)), max_size=25))
def test_a_pair_counts_by_the_strength_of_the_event_that_is_foretold(
    rows: list[tuple[int, int, int]],
) -> None:
    users, items, strengths = np.asarray(rows, np.int32).reshape(-1, 3).T
    counter = PairCounter(users, items, NUM_ITEMS, FORWARD, BACKWARD, strengths.astype(np.float32))
    expected = np.zeros((NUM_ITEMS, NUM_ITEMS))
    for user in set(users.tolist()):
        history = [(item, strength) for owner, item, strength in rows if owner == user]
        for place, (first, weak) in enumerate(history):
            for gap, (second, strong) in enumerate(history[place + 1 : place + 4]):
                if first != second:
                    expected[first, second] += FORWARD[gap] * strong
                    expected[second, first] += BACKWARD[gap] * weak
    np.testing.assert_array_equal(counter.count().toarray(), expected)
    across, down = counter.sums()
    np.testing.assert_array_equal(across, expected.sum(axis=1))
    np.testing.assert_array_equal(down, expected.sum(axis=0))
