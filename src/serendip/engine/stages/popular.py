"""The most chosen items that may be shown: an order that needs no model and knows every item."""

from __future__ import annotations

import numpy as np

from serendip.data import AllowedItems, IntArray, ItemList
from serendip.data.arrays import NO_ITEMS, first_rows
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


def order_popular(state: EngineState) -> IntArray:
    """All items (N,) in the order of ``list_popular``, for the lists of many requests."""
    return list_popular(AllowedItems.all(state.num_items), state, state.num_items).item_nums


def take_allowed(order: IntArray, allowed: AllowedItems, most: int) -> IntArray:
    """The first items of an order (N,) that may be shown; it is read no further than that needs.

    Args:
        order: of all items.
        allowed: items that may be shown.
        most: number of items.
    """
    found, begin, size = NO_ITEMS, 0, 4 * most
    while len(found) < most and begin < len(order):
        part = order[begin : begin + size]
        found = np.concatenate([found, part[allowed.admits(part)]])
        begin, size = begin + size, 2 * size
    return found[:most]
