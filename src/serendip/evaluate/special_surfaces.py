"""Quality of surfaces that send messages, and of surfaces that sell places.

**Messages.** A message may hold fewer items than others, or not be sent at all, so that lists of
ten do not compare it. Every request is the chance of one message to one user:

- sent: share of the users who get one;
- precision: chosen items / sent items, mean over the messages that are sent;
- useful: share of the users who get a message with at least one item that they then choose.

**Sold places**: what they bring, and what they cost the users.

- sold: share of the places for sale that were sold;
- bid: mean bid of the sold places;
- expected: sum of bid x P(action) over the sold places of a list, what the engine expected;
- earned: sum of the bids of the sold items that the user then chose, what the log bears out;
- precision: share of the sold places whose item the user then chose, beside that of the items which
  stand at the same places of the same list without a sale (``organic_precision``).

Bids are in the currency of the catalogue. ``earned`` knows choices without the ads only, so it is
a lower bound of what a place that is really shown would bring.

Shapes: T requests, k length of a message, or number of places.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serendip.data.arrays import BoolArray, FloatArray, IntArray
from serendip.evaluate.intervals import Estimate, estimate, per_user
from serendip.evaluate.runs import PADDING


@dataclass(frozen=True, slots=True)
class SystemMessages:
    """Messages of one system; their shares are defined above, ``items`` is None if none is sent."""

    sent: Estimate
    precision: Estimate
    useful: Estimate
    items: float | None


def measure_messages(lists: IntArray, relevant: Sequence[IntArray]) -> SystemMessages:
    """Measure the messages of a system to T users; baselines send to everybody.

    Lists are (T, k) sent items, padded with -1; a row of -1 is not sent. ``relevant`` has the items
    that each user chose afterwards.
    """
    sizes = (lists != PADDING).sum(axis=1)  # (T,)
    chosen = np.array(
        [np.isin(row, items).sum() for row, items in zip(lists, relevant, strict=True)], np.int64
    )
    is_sent = sizes > 0
    return SystemMessages(
        sent=estimate(is_sent.astype(np.float64)),
        precision=estimate(chosen[is_sent] / sizes[is_sent]),
        useful=estimate((chosen > 0).astype(np.float64)),
        items=float(sizes[is_sent].mean()) if is_sent.any() else None,
    )


@dataclass(frozen=True, slots=True, eq=False)
class Sale:
    """The first k places of T lists, and what the users chose afterwards.

    Args:
        items: (T, k) int32, -1 = empty.
        is_sold: (T, k) bool.
        bids: (T, k) float32; only those of sold places are read.
        revenue: (T, k) float32 bid x P(action); only that of sold places is read.
        organic: (T, k) int32 the same list without a sale.
    """

    items: IntArray
    is_sold: BoolArray
    bids: FloatArray
    revenue: FloatArray
    organic: IntArray
    for_sale: int
    chosen: Sequence[IntArray]


def measure_auction(sale: Sale, users: NDArray[Any], seed: int = 0) -> dict[str, Estimate]:
    """Figures of the sold places, see the module's docstring, of the users (T,); sums are per list.

    Returns:
        ``sold``, ``bid``, ``expected``, ``earned``, ``precision`` and ``organic_precision``.
    """
    sold = sale.is_sold
    is_chosen, was_chosen = (  # (T, k)
        np.array(
            [np.isin(row, items) for row, items in zip(lists, sale.chosen, strict=True)], np.bool_
        ).reshape(sold.shape)
        for lists in (sale.items, sale.organic)
    )
    number = sold.sum(axis=1)  # (T,)
    bids, revenue = np.where(sold, sale.bids, 0.0), np.where(sold, sale.revenue, 0.0)
    places = np.where(number > 0, number, np.nan)
    total = float(bids.sum(axis=1).max(initial=0.0))
    figures = {  # values of the lists (T,), NaN = nothing was sold, and the highest possible one
        "sold": (number / max(sale.for_sale, 1), 1.0),
        "bid": (bids.sum(axis=1) / places, float(bids.max(initial=0.0))),
        "expected": (revenue.sum(axis=1), total),
        "earned": ((bids * is_chosen).sum(axis=1), total),
        "precision": ((sold & is_chosen).sum(axis=1) / places, 1.0),
        "organic_precision": ((sold & was_chosen).sum(axis=1) / places, 1.0),
    }
    return {
        name: estimate(
            per_user(values[:, None].astype(np.float64), users)[:, 0],
            seed,
            support=(0.0, max(highest, 1e-9)),
        )
        for name, (values, highest) in figures.items()
    }
