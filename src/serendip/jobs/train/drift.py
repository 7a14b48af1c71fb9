"""Drift of item popularity, by the population stability index (PSI).

The items are put into ten groups of equal popularity: each has a tenth of the interactions that
were known at a moment, the most popular items first. Items without interactions are a group of
their own. The *popularity profile* of later interactions is their share in each group. Two profiles
are compared: that of the newest interactions of a training, as they looked from the ones before
them, and that of the interactions since, as they look from the whole training. Without drift they
are alike, also where most interactions are with new items.

The index and its usual bounds, .1 and .25, are those of N. Siddiqi, Credit Risk Scorecards (2006).

Shapes: N items, G groups.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from serendip.data.arrays import FloatArray, IntArray
from serendip.data.dataset import EventLog
from serendip.data.events.event import ActionRules, EventColumns
from serendip.data.events.feedback import Feedback
from serendip.data.vocabulary import Vocabulary

MIN_INTERACTIONS = 500
"""Interactions of a profile: with fewer, chance alone moves the index."""

_TENTHS = 10
_NEWEST_SHARE = 0.1
_PRIOR = 0.5
"""Pseudo-count of each group (Jeffreys), so that an empty one has a logarithm."""


def popularity_groups(counts: IntArray) -> IntArray:
    """Group (N,) of each item: 0 = the most popular ones, 10 = items without interactions.

    Args:
        counts: (N,) interactions per item.
    """
    groups = np.full(len(counts), _TENTHS, np.int32)
    order = np.argsort(-counts, kind="stable")
    order = order[: int((counts > 0).sum())]
    before = np.cumsum(counts[order], dtype=np.int64) - counts[order]
    groups[order] = _TENTHS * before // max(1, int(counts.sum()))
    return groups


def popularity_profile(item_nums: IntArray, counts: IntArray) -> FloatArray:
    """Share (G,) of interactions in each group; none is 0.

    Args:
        item_nums: items of the interactions; -1 = an item that is not in ``counts``.
        counts: (N,) earlier interactions per item.
    """
    groups = np.append(popularity_groups(counts), _TENTHS)  # the last one for -1
    found = np.bincount(groups[item_nums], minlength=_TENTHS + 1) + _PRIOR
    profile: FloatArray = (found / found.sum()).astype(np.float64)
    return profile


def newest_profile(events: EventLog, num_items: int) -> list[float] | None:
    """Profile of the newest tenth of the interactions; None if there are too few.

    Args:
        events: interactions, oldest first.
        num_items: N.
    """
    if len(events) < 2 * MIN_INTERACTIONS:
        return None
    newest = max(MIN_INTERACTIONS, round(_NEWEST_SHARE * len(events)))
    counts = np.bincount(events.items[:-newest], minlength=num_items).astype(np.int32)
    profile = popularity_profile(events.items[-newest:], counts)
    return [round(float(share), 6) for share in profile]


def stability_index(expected: Sequence[float] | FloatArray, found: FloatArray) -> float:
    """Population stability index of two profiles: 0 = equal, symmetric."""
    before, after = np.asarray(expected, np.float64), np.asarray(found, np.float64)
    return float(((after - before) * np.log(after / before)).sum())


def interacted_items(events: EventColumns, rules: ActionRules, items: Vocabulary) -> IntArray:
    """Items of the interactions among events; -1 = an item that is not in ``items``."""
    rows = np.flatnonzero(Feedback.of(events, rules).interest).tolist()
    return items.numbers(events.item_ids[row] for row in rows)
