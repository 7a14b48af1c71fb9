"""Item value: what an action on an item is worth, by a number of the item (price, minutes, margin).

The value of a candidate is the sum over actions of weight x P(action); for the actions named here
it is weight x P(action) x the item's number, so that candidates are ordered by expected value. An
item without the number has the median of all that have one: neither favoured nor punished.

Shapes: N items, R candidate rows, A actions.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from pydantic import Field

from serendip.config import Config
from serendip.data import Catalogue, FloatArray, IntArray


class ItemValueConfig(Config):
    """``[surfaces.<name>.item_value]``."""

    attribute: str = Field(min_length=1)
    """Attribute of the items that holds the value: a price, a margin, minutes. It may be negative;
    an item without it has the median of those that have it."""

    actions: tuple[str, ...] = ()
    """Actions that are worth the item's value; the others are worth the same for all items. Empty =
    all actions of ``action_weights``."""


def expected_values(
    probabilities: FloatArray,
    action_weights: Mapping[str, float],
    actions: Sequence[str],
    config: ItemValueConfig,
    values: FloatArray,
) -> FloatArray:
    """Sum over actions of weight x P(action) x value: (R,) float32.

    Args:
        probabilities: (R, A).
        action_weights: action -> weight; actions that are not named have weight 0.
        actions: names of the A columns.
        config: which actions are worth the item's value.
        values: (R,) of the items.
    """
    weights = np.array([action_weights.get(action, 0.0) for action in actions], np.float32)  # (A,)
    worth = np.array([not config.actions or action in config.actions for action in actions])
    by_value = (probabilities * np.where(worth, weights, 0.0)).sum(1)  # (R,)
    by_count = (probabilities * np.where(worth, 0.0, weights)).sum(1)  # (R,)
    return np.asarray(by_value * values + by_count, np.float32)


def values_of(config: ItemValueConfig, catalogue: Catalogue, items: IntArray) -> FloatArray:
    """(R,) float32 values of items (R,); 1 if no item of the catalogue has the attribute."""
    column = catalogue.column(config.attribute)
    found = column.numbers_of(items)
    usual = 1.0 if np.isnan(column.median) else column.median
    return np.where(np.isfinite(found), found, usual).astype(np.float32)
