"""Slices by which the quality of a surface is told apart: kinds of items, of choices and of users.

Shapes: T requests, N items.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import islice

import numpy as np

from serendip.data import BoolArray, IntArray, Query
from serendip.data.arrays import NO_ITEMS
from serendip.data.splits import COLD_USER_BELOW, Split, tail_border

HEAVY_SHARE = 0.1
"""Share of the users of the training part, those with most events, who are heavy users."""

MOST_COUNTRIES = 5
"""Number of countries, those with most requests, that are slices."""

LEAST_USERS = 20
"""Users of a slice of users: figures of fewer would tell about single people."""


def find_slices(
    split: Split,
    queries: Sequence[Query],
    relevant: Sequence[IntArray],
    countries: Mapping[str, str],
) -> dict[str, Sequence[IntArray]]:
    """Slice -> what is relevant to each request, nothing if it is not in the slice.

    Kinds of items come first, then of choices, then of users.

    Choices are those that came again, and first choices, if anything may come again. Of the
    countries of users those with most requests are slices. Relevant are T arrays of items.
    """
    parts: dict[str, Sequence[IntArray]] = {
        name: [items[of_kind[items]] for items in relevant]
        for name, of_kind in kinds_of_items(split).items()
    }
    if any(len(query.again) for query in queries):
        pairs = list(zip(relevant, (query.again for query in queries), strict=True))
        parts["repeats"] = [items[np.isin(items, again)] for items, again in pairs]
        parts["first choices"] = [items[~np.isin(items, again)] for items, again in pairs]
    for name, mask in kinds_of_users(split, queries, countries).items():
        asked = zip(relevant, mask.tolist(), strict=True)
        parts[name] = [items if is_of_kind else NO_ITEMS for items, is_of_kind in asked]
    return parts


def kinds_of_items(split: Split) -> dict[str, BoolArray]:
    """Slice -> (N,) bool.

    Cold items have no event in training, tail items are the 80 % with fewest; those tied at the
    border are all tail.
    """
    counts = np.zeros(len(split.catalogue), np.int32)
    counts[: split.train.num_items] = split.train.item_counts()
    return {
        "warm items": counts > 0,
        "cold items": counts == 0,
        "tail items": counts <= tail_border(counts[: split.train.num_items]),
    }


def kinds_of_users(
    split: Split, queries: Sequence[Query], countries: Mapping[str, str]
) -> dict[str, BoolArray]:
    """Slice -> (T,) bool.

    Cold users have fewer than 3 known events at the request, new users none in training, heavy
    users as many in training as the tenth of the users with most. Kinds of fewer than
    ``LEAST_USERS`` users are left out.
    """
    train = split.train
    per_user = np.bincount(train.events.users, minlength=train.num_users)
    numbers = train.users.numbers([query.user_id for query in queries])  # (T,) -1 = not in train
    events = np.where(numbers >= 0, per_user[numbers], 0)
    border = float(np.quantile(per_user, 1.0 - HEAVY_SHARE))
    known = np.array([len(query.history) for query in queries], np.int64)
    of_requests = [countries.get(query.user_id, "") for query in queries]
    most = (name for name, _ in Counter(of_requests).most_common() if name)
    by_country = {f"country {name}": np.array(of_requests) == name for name in most}
    by_events = {
        "cold users": known < COLD_USER_BELOW,
        "new users": events == 0,
        "heavy users": events >= border,
    }
    largest = islice(_large(by_country, queries).items(), MOST_COUNTRIES)
    return {**_large(by_events, queries), **dict(largest)}


def _large(kinds: Mapping[str, BoolArray], queries: Sequence[Query]) -> dict[str, BoolArray]:
    users = np.array([query.user_id for query in queries])
    return {
        name: mask for name, mask in kinds.items() if len(np.unique(users[mask])) >= LEAST_USERS
    }
