"""Who is shown: cold items, the tail, how unequally, and how much more popular than was chosen."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from serendip.data.arrays import IntArray
from serendip.data.splits import tail_border
from serendip.evaluate.metrics.base import shown_items
from serendip.evaluate.metrics.gini import Gini
from serendip.evaluate.runs import Values
from serendip_bench.splits import BenchSplit

TOP = 10


def exposure(
    lists: IntArray, histories: Sequence[IntArray], trial: BenchSplit
) -> dict[str, float | int | None]:
    """Measures of the first ten of all lists.

    ``coverage_cold@10``: share of the places that cold items hold; ``cold_items_shown``: share of
    the cold items that are in any list; ``tail_share@10``: share of the places outside the 20 % of
    the training items with most events; ``gini@10``: over all items; ``popularity_lift@10``: mean
    popularity of what is shown / of what the same users had chosen, minus 1 (means of means per
    user, popularity = events in training; Abdollahpouri et al. 2019, arXiv:1907.13286).
    """
    counts = np.zeros(len(trial.numbers))
    counts[: trial.train.num_items] = trial.train.item_counts()
    groups = np.arange(len(lists))
    shown, _ = shown_items(lists, groups, TOP)
    border = tail_border(trial.train.item_counts())
    num_cold = int(trial.cold.sum())
    found = np.unique(shown[trial.cold[shown]])
    gini, _ = Gini(TOP).of_exposure(lists, groups, len(counts))
    return {
        "coverage_cold@10": _mean(trial.cold[shown].astype(np.float64)),
        "cold_items_shown": len(found) / num_cold if num_cold else None,
        "cold_items": num_cold,
        "tail_share@10": _mean((counts[shown] <= border).astype(np.float64)),
        "gini@10": gini if len(shown) else None,
        "popularity_lift@10": _lift(counts, lists, histories),
    }


def _mean(values: Values) -> float | None:
    return float(values.mean()) if len(values) else None


def _lift(counts: Values, lists: IntArray, histories: Sequence[IntArray]) -> float | None:
    """Over the users who have a history and were shown something."""
    pairs = [
        (counts[row[row >= 0]].mean(), counts[history].mean())
        for row, history in zip(lists, histories, strict=True)
        if len(history) and (row >= 0).any()
    ]
    if not pairs:
        return None
    after, before = np.mean(pairs, axis=0)
    return float(after / before - 1.0)
