"""Query-independent item quality: rating, conversion, popularity, freshness, each in [0, 1].

Shapes: N items, Q = 4 columns in the order of ``QUALITIES``.
"""

from __future__ import annotations

import numpy as np

from serendip.config import Config
from serendip.data.arrays import BoolArray, FloatArray, TimeArray
from serendip.data.dataset import Dataset
from serendip.data.items.catalogue import Catalogue

QUALITIES = ("rating", "conversion", "popularity", "freshness")

UNKNOWN = np.array([0.5, 0.5, 0.0, 1.0], np.float32)  # a new item without events

PRIOR_EVENTS = 10.0
"""Bayesian shrinkage: each item's mean includes this many events at the catalogue's mean, so that
a single rating weighs little."""

HALF_LIFE_DAYS = 180.0  # age at which freshness is 0.5
_DAY = 86_400.0

_MOST = 1e9  # larger ratings and numbers of reviews count as this one


class QualityConfig(Config):
    """``[quality]``: columns of the catalogue that tell how good items are."""

    rating: str = ""
    """Attribute with the mean rating of an item, on any scale, higher is better; 0 counts as no
    rating. Empty = none."""

    reviews: str = ""
    """Attribute with the number of ratings or reviews of an item. Empty = none."""


def item_quality(dataset: Dataset, config: QualityConfig | None = None) -> FloatArray:
    """(N, 4) float32 in [0, 1]: quality of a dataset's items, from its catalogue and its events.

    Rating (mean value of the events that have one) and conversion (share of likes), both including
    negative events, are shrunk to the catalogue's mean, then converted to percentile ranks: the
    share of the items with events that are worse; .5 without events or if all are equal. A rating
    of the catalogue is shrunk and ranked in the same way among the items that have one, and counts
    beside that of the log as many times as the item has reviews.
    Popularity is log(1 + interactions) relative to the most popular item, or the same of reviews if
    that is more. Freshness is 2^(-age / 180 days), with the age from ``available_from``, else from
    the item's first event, to the last event of the log; an item without events is fresh.

    Without a config no columns of the catalogue are read.
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
    quality[:, 2] = _share_of_largest(counts)
    quality[:, 3] = _freshness(dataset)
    if config is not None:
        reviews = _reviews(dataset.catalogue, config)
        known = np.bincount(items[rated], minlength=dataset.num_items)
        _add_ratings(quality[:, 0], known, dataset.catalogue, config, reviews)
        quality[:, 2] = np.maximum(quality[:, 2], _share_of_largest(np.nan_to_num(reviews)))
    return quality


def has_ratings(dataset: Dataset) -> bool:
    """Whether the catalogue tells how good items are that nobody has chosen."""
    if dataset.quality is None:
        return False
    unknown = dataset.quality[dataset.item_counts() == 0][:, [0, 2]]
    return bool((unknown != UNKNOWN[[0, 2]]).any())


def catalogue_prior(dataset: Dataset) -> FloatArray:
    """(N,) float32 in [0, 1]: how good items are by the catalogue; 0 if events tell more than it.

    They do unless it has ratings. The mean of ratings (weight 4), of numbers of reviews (3), of
    freshness (2) and of completeness (1: the share of title, description and attributes that an
    item has, as a percentile rank).

    Args:
        dataset: with the quality of its items; without it completeness alone counts.
    """
    if len(dataset.events) and not has_ratings(dataset):
        return np.zeros(dataset.num_items, np.float32)
    filled = np.array(
        [
            bool(item.title) + bool(item.description) + len(item.attributes)
            for item in dataset.catalogue.items
        ]
    )
    complete = _percentile_ranks(filled, np.ones(len(filled), np.bool_))  # (N,)
    if dataset.quality is None:
        return complete.astype(np.float32)
    rating, _, reviews, freshness = dataset.quality.T
    return np.asarray(0.4 * rating + 0.3 * reviews + 0.2 * freshness + 0.1 * complete, np.float32)


def _share_of_largest(counts: np.ndarray) -> TimeArray:
    logs = np.log1p(counts)  # (N,)
    shares: TimeArray = logs / max(1.0, float(logs.max(initial=0)))
    return shares


def _reviews(catalogue: Catalogue, config: QualityConfig) -> TimeArray:
    if not config.reviews:
        return np.full(len(catalogue), np.nan)
    return np.clip(catalogue.column(config.reviews).numbers, 0.0, _MOST)  # (N,), NaN = not known


def _add_ratings(
    ranks: FloatArray,
    known: np.ndarray,
    catalogue: Catalogue,
    config: QualityConfig,
    reviews: TimeArray,
) -> None:
    """Move the ranks (N,) of the log's ratings to those of the catalogue, by numbers of ratings.

    Where ``reviews`` (N,) is NaN, a rating counts as ``PRIOR_EVENTS`` reviews.
    """
    if not config.rating:
        return
    given = np.clip(catalogue.column(config.rating).numbers, -_MOST, _MOST)  # (N,)
    has_rating = np.isfinite(given) & (given != 0)
    count = np.where(has_rating, np.nan_to_num(reviews, nan=PRIOR_EVENTS), 0.0)  # (N,)
    rating = np.where(has_rating, given, 0.0)
    overall = float((count * rating).sum() / max(count.sum(), 1e-9))
    means = (count * rating + PRIOR_EVENTS * overall) / (count + PRIOR_EVENTS)  # (N,)
    weight = count / np.maximum(count + known, 1e-9)
    ranks += weight * (_percentile_ranks(means, has_rating) - ranks)


def _shrink_means(items: np.ndarray, values: FloatArray, num_items: int) -> TimeArray:
    """(N,) mean value per item, shrunk by ``PRIOR_EVENTS`` events at the overall mean."""
    overall = float(values.mean()) if len(values) else 0.0
    sums = np.bincount(items, weights=values, minlength=num_items)
    counts = np.bincount(items, minlength=num_items)
    means: TimeArray = (sums + PRIOR_EVENTS * overall) / (counts + PRIOR_EVENTS)
    return means


def _percentile_ranks(values: TimeArray, is_ranked: BoolArray) -> TimeArray:
    """(N,) mid-rank among the items of a mask (N,), in [0, 1]; .5 for the others."""
    ranks = np.full(len(values), 0.5)
    ordered = np.sort(values[is_ranked])
    low = np.searchsorted(ordered, values[is_ranked])
    high = np.searchsorted(ordered, values[is_ranked], side="right")
    ranks[is_ranked] = (low + high) / (2 * max(1, len(ordered)))
    return ranks


def _freshness(dataset: Dataset) -> TimeArray:
    log = dataset.events
    if not len(log):
        return np.ones(dataset.num_items)
    first = np.full(dataset.num_items, np.inf)
    np.minimum.at(first, log.items, log.timestamps)
    available = dataset.catalogue.available_from
    start = np.where(np.isfinite(available), available, first)
    days = np.maximum(float(log.timestamps.max()) - start, 0.0) / _DAY
    return np.where(np.isfinite(start), 0.5 ** (days / HALF_LIFE_DAYS), 1.0)
