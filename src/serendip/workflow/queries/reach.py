"""Which items suggested queries lead to: retrievability, in the sense of Azzopardi and Vinay 2008.

An item is reached by a query that has it among its first ten results; r = number of queries that
reach it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from serendip.data.arrays import IntArray
from serendip.evaluate.metrics.gini import Gini
from serendip.search.searcher import Searcher
from serendip.search.suggestions.checks import TOP


def reach_of(searcher: Searcher, queries: Sequence[str]) -> dict[str, Any]:
    """What some queries reach."""
    results = np.full((len(queries), TOP), -1, np.int32)
    for row, text in enumerate(queries):
        found = searcher.search(text, TOP).item_nums
        results[row, : len(found)] = found
    return {"queries": len(queries), **reached_by(results, searcher.num_items)}


def reached_by(results: IntArray, num_items: int) -> dict[str, float | None]:
    """Share of the items that are reached, and the Gini index of r over all of them.

    Args:
        results: (Q, 10) items, -1 where there are fewer.
        num_items: of the catalogue.
    """
    reached = np.unique(results[results >= 0])
    gini = Gini(TOP).of_exposure(results, np.arange(len(results)), num_items)[0]
    return {"share": len(reached) / max(1, num_items), "gini": gini if len(reached) else None}
