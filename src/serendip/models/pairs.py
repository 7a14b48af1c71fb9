"""Which items stand how many places apart in somebody's history."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from serendip.data.arrays import IntArray
from serendip.data.dataset import Dataset


def pairs_by_gap(dataset: Dataset, num_gaps: int) -> Iterator[tuple[int, IntArray, IntArray]]:
    """For each gap from 1 on: the earlier and the later item (P,) of all pairs so far apart.

    A pair of one item with itself is left out; pairs never cross from one user to the next.
    """
    order = np.argsort(dataset.events.users, kind="stable")
    users, items = dataset.events.users[order], dataset.events.items[order]
    for gap in range(1, num_gaps + 1):
        source, target = items[:-gap], items[gap:]
        is_pair = (users[:-gap] == users[gap:]) & (source != target)
        yield gap, source[is_pair], target[is_pair]
