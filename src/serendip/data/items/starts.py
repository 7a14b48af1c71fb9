"""When items appeared: when they became available, else with their first event in the log."""

from __future__ import annotations

import numpy as np

from serendip.data.arrays import TimeArray
from serendip.data.dataset import Dataset

DAY_S = 86_400.0


def find_starts(dataset: Dataset) -> TimeArray:
    """(N,) Unix seconds from which items could be seen; infinite = without a time or an event."""
    first = np.full(dataset.num_items, np.inf)
    for log in (dataset.events, dataset.negatives, dataset.impressions):
        np.minimum.at(first, log.items, log.timestamps)
    available_from = np.asarray(dataset.catalogue.available_from)
    return np.where(np.isfinite(available_from), available_from, first)
