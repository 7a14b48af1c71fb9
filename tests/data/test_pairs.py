from __future__ import annotations

import numpy as np

from serendip.data.dataset import pairs_by_gap


def pairs_of(rows: list[tuple[int, int]], gaps: int) -> dict[int, list[tuple[int, int]]]:
    """Pairs by gap of a log with these (user, item) rows in order of time."""
    users, items = np.asarray(rows, dtype=np.int32).reshape(-1, 2).T
    return {
        gap: list(zip(source.tolist(), target.tolist(), strict=True))
        for gap, source, target in pairs_by_gap(users, items, gaps)
    }


def test_pairs_stand_in_the_order_of_each_users_history() -> None:
    rows = [(1, 3), (0, 0), (0, 1), (1, 0), (0, 2)]
    assert pairs_of(rows, 2) == {1: [(0, 1), (1, 2), (3, 0)], 2: [(0, 2)]}


def test_an_item_is_no_pair_with_itself() -> None:
    assert pairs_of([(0, 1), (0, 1), (0, 2)], 1) == {1: [(1, 2)]}


def test_gaps_longer_than_the_log_have_no_pairs() -> None:
    assert pairs_of([], 2) == {1: [], 2: []}
    assert pairs_of([(0, 1)], 3) == {1: [], 2: [], 3: []}
