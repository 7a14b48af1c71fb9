"""What the lists of a system show: how unequally, how much of it new, how popular.

``Gini@10`` and ``Coverage@10`` are the metrics of ``metrics``. Two more need a property of the
items and the users' histories:

- ``NewItems@10``: share of the places that hold an item without an event in training.
- ``PopularityLift@10``: mean popularity of what is shown / of what the same users chose before,
  minus 1; popularity = events in training (Abdollahpouri et al. 2019, arXiv:1907.13286). 0 = as
  popular as the user's own choices.

Shapes: T requests, U users, N items, k length of a list.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from serendip.data.arrays import BoolArray, IntArray
from serendip.evaluate.intervals import RESAMPLES, Z_95, Estimate, estimate, per_user
from serendip.evaluate.metrics import ExposureMetric, mean_over_lists
from serendip.evaluate.runs import Groups, Values

NO_ESTIMATE = Estimate(None, None, None, 0)


def estimate_exposure(
    exposure_metric: ExposureMetric, lists: IntArray, groups: Groups, catalogue_size: int
) -> Estimate:
    """Metric of all lists, with the normal interval of its jackknife error, clipped to [0, 1].

    Args:
        exposure_metric: such as coverage or Gini.
        lists: (T, L) item numbers, padded with -1.
        groups: (T,) users from 0 to U - 1, the sampling unit.
        catalogue_size: N.
    """
    if not len(lists):
        return NO_ESTIMATE
    users = int(groups.max()) + 1
    value, error = exposure_metric.of_exposure(lists, groups, catalogue_size)
    if not np.isfinite(value):
        return Estimate(None, None, None, users)
    reach = Z_95 * error
    return Estimate(value, max(0.0, value - reach), min(1.0, value + reach), users)


def estimate_new_items(
    lists: IntArray, groups: Groups, is_new: BoolArray, k: int, resamples: int = RESAMPLES
) -> Estimate:
    """Share of the places of new items, over the users with a list that is not empty.

    Args:
        lists: (T, L) item numbers, padded with -1.
        groups: (T,) users from 0 to U - 1, the sampling unit.
        is_new: (N,) bool, items that nobody has chosen or rejected yet.
        k: places of a list that count.
        resamples: number of bootstrap draws.
    """
    shares = mean_over_lists(lists, is_new.astype(np.float64), k)
    return estimate(_of_users(shares[:, None], groups)[:, 0], resamples=resamples)


def estimate_popularity_lift(
    lists: IntArray, groups: Groups, counts: IntArray, histories: Sequence[IntArray], k: int
) -> Estimate:
    """Popularity lift over the users with a list and a history, with a normal interval.

    The lift is the mean popularity of the shown items divided by that of the items chosen before,
    minus 1. The interval is that of a ratio of two means over users, by the delta method.

    Args:
        lists: (T, L) item numbers, padded with -1.
        groups: (T,) users from 0 to U - 1, the sampling unit.
        counts: (N,) interactions of each item.
        histories: T arrays of the items that the user chose before.
        k: places of a list that count.
    """
    popularity = counts.astype(np.float64)
    shown = mean_over_lists(lists, popularity, k)  # (T,)
    chosen = np.array([popularity[items].mean() if len(items) else np.nan for items in histories])
    users = _of_users(np.column_stack([shown, chosen.reshape(-1)]), groups)  # (U, 2)
    if not len(users) or not users[:, 1].any():
        return Estimate(None, None, None, len(users))
    after, before = users.mean(axis=0)
    ratio = float(after / before)
    if len(users) == 1:
        return Estimate(ratio - 1.0, ratio - 1.0, ratio - 1.0, 1)
    influence = (users[:, 0] - ratio * users[:, 1]) / before  # (U,)
    reach = Z_95 * float(influence.std(ddof=1)) / len(users) ** 0.5
    return Estimate(ratio - 1.0, ratio - 1.0 - reach, ratio - 1.0 + reach, len(users))


def _of_users(values: Values, groups: Groups) -> Values:
    """Means (U, M) of each user over the requests whose values (T, M) are all known."""
    known = ~np.isnan(values).any(axis=1)
    return per_user(values[known], np.unique(groups[known], return_inverse=True)[1].reshape(-1))
