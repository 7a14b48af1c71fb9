"""Profile of a user in numbers: how often they come, and which attribute values they choose.

A user's vector says what they would choose next. Models outside that predict who comes back, or
who belongs to an audience, also need what it leaves out: recency, frequency and rhythm of the
visits (the features of RFM models, Fader, Hardie and Lee 2005), and preferences by name.

Shapes: N items, T events of a history, M item numbers, K attribute values, A numbers of the
activity.
"""

from __future__ import annotations

from collections import Counter
from typing import Self

import numpy as np
from scipy import sparse

from serendip.data.arrays import FloatArray, IntArray
from serendip.data.items.catalogue import Catalogue
from serendip.data.query import History

_DAY = 86_400.0

VISIT_GAP = 1_800.0  # seconds without an event after which the next one begins another visit
ACTIVITY = (
    "days since the last event",
    "days since the first event",
    "days per visit",
    "visits",
    "visits of 30 days",
    "visits of 90 days",
    "items",
    "events",
    "share of likes",
)
MOST_VALUES = 64  # attribute values in a profile: those that most items have
NEWEST = 20  # events
PARTS = ("all", "liked", "newest")  # of a history, whose shares are computed in this order


def measure_activity(history: History, now: float) -> FloatArray:
    """Compute (A,): recency, frequency and rhythm of a user until ``now``; see ``ACTIVITY``."""
    if not len(history):
        return np.zeros(len(ACTIVITY), np.float32)
    times = history.timestamps
    begins = times[np.diff(times, prepend=-np.inf) > VISIT_GAP]  # of visits
    since_last, since_first = (max(0.0, now - times[end]) / _DAY for end in (-1, 0))
    recent = [int(np.count_nonzero(begins >= now - days * _DAY)) for days in (30, 90)]
    numbers = (
        since_last,
        since_first,
        since_first / len(begins),
        len(begins),
        *recent,
        len(history.items),
        len(history),
        history.liked.mean(),
    )
    return np.array(numbers, np.float32)


class PreferenceTable:
    """The commonest attribute values of a catalogue, and which items have them.

    Args:
        names: K of them, as ``attribute=value``, in lower case.
        weights: (N, K) an item's share in each value: values of one attribute share an item.
    """

    def __init__(self, names: tuple[str, ...], weights: sparse.csr_array) -> None:
        self.names = names
        self._weights = weights

    @classmethod
    def of(cls, catalogue: Catalogue, most: int = MOST_VALUES) -> Self:
        """The values of texts and lists that most items have; what one item has tells nothing."""
        sizes = Counter(
            {
                (name, value): count
                for name in catalogue.attribute_names
                for value, count in catalogue.values(name).sizes().items()
                if count > 1
            }
        )
        chosen = sorted(sizes, key=lambda pair: (-sizes[pair], pair))[:most]
        items = [np.flatnonzero(catalogue.column(name).having(value)) for name, value in chosen]
        columns = np.repeat(np.arange(len(chosen)), [len(own) for own in items])
        rows = np.concatenate([*items, np.empty(0, np.intp)])
        attributes = np.unique([name for name, _ in chosen], return_inverse=True)[1][columns]
        pairs = rows * max(len(chosen), 1) + attributes  # one number per item and attribute
        _, pair_of, counts = np.unique(pairs, return_inverse=True, return_counts=True)
        shares = (1 / counts[pair_of]).astype(np.float32)
        weights = sparse.csr_array((shares, (rows, columns)), (len(catalogue), len(chosen)))
        return cls(tuple(f"{name}={value}" for name, value in chosen), weights)

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the 3 K numbers of ``shares``."""
        return tuple(f"{part}: {name}" for part in PARTS for name in self.names)

    def shares(self, history: History) -> FloatArray:
        """(3 K,) float32 mean share of each value over all, the liked and the newest events."""
        nums = history.item_nums
        return np.concatenate(
            [self.shares_of(part) for part in (nums, nums[history.liked], nums[-NEWEST:])]
        )

    def usual_shares(self) -> FloatArray:
        """(K,) float32 mean share of each value over all items."""
        means = self._weights.sum(axis=0) / max(1, self._weights.shape[0])
        return np.asarray(means, np.float32)

    def mean_over(self, item_nums: IntArray, columns: FloatArray) -> FloatArray:
        """(M, P) means over the values of each item (M,) of numbers of the values (K, P)."""
        weights = self._weights[item_nums]  # (M, K)
        totals = np.asarray(weights.sum(axis=1)).reshape(-1, 1)
        return np.asarray(weights @ columns / np.maximum(totals, 1e-6), np.float32)

    def shares_of(self, item_nums: IntArray) -> FloatArray:
        """(K,) float32 mean share of each value over items (M,); 0 without any."""
        means = self._weights[item_nums].sum(axis=0) / max(1, len(item_nums))
        return np.asarray(means, np.float32)
