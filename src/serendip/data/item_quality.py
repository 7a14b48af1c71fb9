"""How good items are whoever asks: rating, conversion, popularity and freshness, each in [0, 1].

Shapes: N items, Q = 4 columns in the order of ``QUALITIES``.
"""

from __future__ import annotations

import numpy as np

from serendip.data.arrays import BoolArray, FloatArray, TimeArray
from serendip.data.dataset import Dataset

QUALITIES = ("rating", "conversion", "popularity", "freshness")

UNKNOWN = np.array([0.5, 0.5, 0.0, 1.0], np.float32)
"""The quality of an item that has just come: nobody has said anything of it yet."""

PRIOR_EVENTS = 10.0
"""Events of an average item that every item is taken to have had, so that one rating is no proof
(Bayesian shrinkage towards the mean of the catalogue)."""

HALF_LIFE_DAYS = 180.0
"""Age at which freshness is a half."""

_DAY = 86_400.0


def item_quality(dataset: Dataset) -> FloatArray:
    """(N, 4) float32 in [0, 1] of the items of a dataset, from its own events alone.

    Rating (mean value of the events that have one) and conversion (share of likes), negative events
    included, are shrunk to the catalogue's mean, then told as the share of the items with events
    that are worse; where no event tells them apart, all have .5. Popularity is log(1 +
    interactions) relative to the most popular item. Freshness is 2^(-age / 180 days), age counted
    from ``available_from``, else from the first event, to the last event of the log; an item that
    nobody touched is fresh.
    """
    log, said_no, counts = dataset.events, dataset.negatives, dataset.item_counts()
    items = np.concatenate([log.items, said_no.items])
    values = np.concatenate([log.values, said_no.values])
    liked = np.concatenate([log.liked, np.zeros(len(said_no), np.bool_)])
    touched = counts > 0
    quality = np.tile(UNKNOWN, (dataset.num_items, 1))
    rated = ~np.isnan(values)
    ratings = _shrunk(items[rated], values[rated], dataset.num_items)
    likes = _shrunk(items, liked.astype(np.float32), dataset.num_items)
    quality[:, 0] = _standing(ratings, touched)
    quality[:, 1] = _standing(likes, touched)
    popularity = np.log1p(counts)
    quality[:, 2] = popularity / max(1.0, float(popularity.max(initial=0)))
    quality[:, 3] = _freshness(dataset)
    return quality


def _shrunk(items: np.ndarray, values: FloatArray, num_items: int) -> TimeArray:
    """(N,) mean value per item with ``PRIOR_EVENTS`` events of the overall mean."""
    overall = float(values.mean()) if len(values) else 0.0
    sums = np.bincount(items, weights=values, minlength=num_items)
    counts = np.bincount(items, minlength=num_items)
    shrunk: TimeArray = (sums + PRIOR_EVENTS * overall) / (counts + PRIOR_EVENTS)
    return shrunk


def _standing(values: TimeArray, touched: BoolArray) -> TimeArray:
    """Share of the touched items that are worse, equal ones counted half; .5 for the others."""
    standing = np.full(len(values), 0.5)
    known = np.sort(values[touched])
    low = np.searchsorted(known, values[touched])
    high = np.searchsorted(known, values[touched], side="right")
    standing[touched] = (low + high) / (2 * max(1, len(known)))
    return standing


def _freshness(dataset: Dataset) -> TimeArray:
    """(N,) 1 for an item of the newest moment, a half for each half-life before it."""
    log = dataset.events
    if not len(log):
        return np.ones(dataset.num_items)
    first = np.full(dataset.num_items, np.inf)
    np.minimum.at(first, log.items, log.timestamps)
    available = dataset.catalogue.available_from
    born = np.where(np.isfinite(available), available, first)
    days = np.maximum(float(log.timestamps.max()) - born, 0.0) / _DAY
    return np.where(np.isfinite(born), 0.5 ** (days / HALF_LIFE_DAYS), 1.0)
