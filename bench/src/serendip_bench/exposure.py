"""Exposure metrics: cold items, long tail, Gini index and popularity lift of recommendations."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from serendip.data.arrays import IntArray
from serendip.data.splits import tail_border
from serendip.evaluate.metrics import Gini, shown_items
from serendip.evaluate.runs import Values
from serendip_bench.splits import BenchSplit

TOP = 10


def measure_exposure(
    lists: IntArray, histories: Sequence[IntArray], split: BenchSplit
) -> dict[str, float | int | None]:
    """Exposure metrics of the first ten items of all lists.

    ``coverage_cold@10``: share of positions with a cold item; ``cold_items_shown``: share of the
    cold items that are in any list; ``tail_share@10``: share of positions with an item outside the
    20 % of the training items with most events; ``gini@10``: over all items;
    ``popularity_lift@10``: mean popularity of the list / of the history, minus 1 (means of means
    per user, popularity = events in training; Abdollahpouri et al. 2019, arXiv:1907.13286).

    Args:
        lists: (U, k) items, -1 = empty position.
        histories: items of each user's history.
        split: with training events and cold items.
    """
    counts = np.zeros(len(split.numbers))  # (N,) training events
    counts[: split.train.num_items] = split.train.item_counts()
    groups = np.arange(len(lists))
    shown, _ = shown_items(lists, groups, TOP)  # one item per impression
    border = tail_border(split.train.item_counts())
    num_cold = int(split.cold.sum())
    shown_cold = np.unique(shown[split.cold[shown]])
    gini, _ = Gini(TOP).of_exposure(lists, groups, len(counts))
    return {
        "coverage_cold@10": _mean_or_none(split.cold[shown].astype(np.float64)),
        "cold_items_shown": len(shown_cold) / num_cold if num_cold else None,
        "cold_items": num_cold,
        "tail_share@10": _mean_or_none((counts[shown] <= border).astype(np.float64)),
        "gini@10": gini if len(shown) else None,
        "popularity_lift@10": _compute_lift(counts, lists, histories),
    }


def _mean_or_none(values: Values) -> float | None:
    return float(values.mean()) if len(values) else None


def _compute_lift(counts: Values, lists: IntArray, histories: Sequence[IntArray]) -> float | None:
    """Popularity lift over users with a history and a non-empty list."""
    pairs = [
        (counts[items[items >= 0]].mean(), counts[history].mean())
        for items, history in zip(lists, histories, strict=True)
        if len(history) and (items >= 0).any()
    ]
    if not pairs:
        return None
    after, before = np.mean(pairs, axis=0)
    return float(after / before - 1.0)
