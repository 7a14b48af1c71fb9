"""The most chosen items that may be shown: an order that needs no model and knows every item."""

from __future__ import annotations

import numpy as np

from serendip.data import AllowedItems, ItemList
from serendip.data.arrays import first_rows
from serendip.engine.state import EngineState


def list_popular(allowed: AllowedItems, state: EngineState, most: int) -> ItemList:
    """The most chosen items, and of equally often chosen ones the newest.

    Args:
        allowed: items that may be shown.
        state: to answer from.
        most: number of items.
    """
    shown = allowed.numbers()
    counts, times = state.counts[shown], state.catalogue.available_from[shown]
    rows = first_rows(most, -counts, -times, -shown)
    return ItemList.of_distinct(shown[rows], counts[rows].astype(np.float32))
