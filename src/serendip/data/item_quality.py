"""Query-independent item quality: rating, conversion, popularity, freshness, each in [0, 1].

Shapes: N items, Q = 4 columns in the order of ``QUALITIES``.
"""

from __future__ import annotations

import numpy as np

from serendip.data.arrays import BoolArray, FloatArray, TimeArray
from serendip.data.dataset import Dataset

QUALITIES = ("rating", "conversion", "popularity", "freshness")

UNKNOWN = np.array([0.5, 0.5, 0.0, 1.0], np.float32)
"""Quality of a new item without events."""

PRIOR_EVENTS = 10.0
"""Bayesian shrinkage: each item's mean includes this many events at the catalogue's mean, so that
a single rating weighs little."""

HALF_LIFE_DAYS = 180.0
"""Age at which freshness is 0.5."""

_DAY = 86_400.0


def item_quality(dataset: Dataset) -> FloatArray:
    """(N, 4) float32 in [0, 1]: quality of a dataset's items, from its own events only.

    Rating (mean value of the events that have one) and conversion (share of likes), both including
    negative events, are shrunk to the catalogue's mean, then converted to percentile ranks: the
    share of the items with events that are worse; .5 without events or if all are equal.
    Popularity is log(1 + interactions) relative to the most popular item. Freshness is
    2^(-age / 180 days), with the age from ``available_from``, else from the item's first event, to
    the last event of the log; an item without events is fresh.
    """
    log, negatives, counts = dataset.events, dataset.negatives, dataset.item_counts()
    items = np.concatenate([log.items, negatives.items])
    values = np.concatenate([log.values, negatives.values])
    liked = np.concatenate([log.liked, np.zeros(len(negatives), np.bool_)])
    has_events = counts > 0
    quality = np.tile(UNKNOWN, (dataset.num_items, 1))
    rated = ~np.isnan(values)
    ratings = _shrink_means(items[rated], values[rated], dataset.num_items)
    likes = _shrink_means(items, liked.astype(np.float32), dataset.num_items)
    quality[:, 0] = _percentile_ranks(ratings, has_events)
    quality[:, 1] = _percentile_ranks(likes, has_events)
    popularity = np.log1p(counts)
    quality[:, 2] = popularity / max(1.0, float(popularity.max(initial=0)))
    quality[:, 3] = _freshness(dataset)
    return quality


def _shrink_means(items: np.ndarray, values: FloatArray, num_items: int) -> TimeArray:
    """(N,) mean value per item, shrunk by ``PRIOR_EVENTS`` events at the overall mean."""
    overall = float(values.mean()) if len(values) else 0.0
    sums = np.bincount(items, weights=values, minlength=num_items)
    counts = np.bincount(items, minlength=num_items)
    means: TimeArray = (sums + PRIOR_EVENTS * overall) / (counts + PRIOR_EVENTS)
    return means


def _percentile_ranks(values: TimeArray, has_events: BoolArray) -> TimeArray:
    """(N,) mid-rank among the items with events, in [0, 1]; .5 for the others."""
    ranks = np.full(len(values), 0.5)
    ordered = np.sort(values[has_events])
    low = np.searchsorted(ordered, values[has_events])
    high = np.searchsorted(ordered, values[has_events], side="right")
    ranks[has_events] = (low + high) / (2 * max(1, len(ordered)))
    return ranks


def _freshness(dataset: Dataset) -> TimeArray:
    """(N,) exponential decay with age: 1 for an item as new as the last event of the log."""
    log = dataset.events
    if not len(log):
        return np.ones(dataset.num_items)
    first = np.full(dataset.num_items, np.inf)
    np.minimum.at(first, log.items, log.timestamps)
    available = dataset.catalogue.available_from
    start = np.where(np.isfinite(available), available, first)
    days = np.maximum(float(log.timestamps.max()) - start, 0.0) / _DAY
    return np.where(np.isfinite(start), 0.5 ** (days / HALF_LIFE_DAYS), 1.0)
