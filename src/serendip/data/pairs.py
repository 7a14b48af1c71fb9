"""Which items stand how many places apart in somebody's history."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from serendip.data.arrays import IntArray


def pairs_by_gap(
    users: IntArray, items: IntArray, num_gaps: int
) -> Iterator[tuple[int, IntArray, IntArray]]:
    """For each gap from 1 on: the earlier and the later item (P,) of all pairs so far apart.

    A pair of one item with itself is left out; pairs never cross from one user to the next.

    Args:
        users: (E,) whose event it is, in any order.
        items: (E,) what was chosen; the rows of a user from old to new.
        num_gaps: the largest gap.
    """
    order = np.argsort(users, kind="stable")
    users, items = users[order], items[order]
    for gap in range(1, num_gaps + 1):
        earlier, later = items[:-gap], items[gap:]
        is_pair = (users[:-gap] == users[gap:]) & (earlier != later)
        yield gap, earlier[is_pair], later[is_pair]
