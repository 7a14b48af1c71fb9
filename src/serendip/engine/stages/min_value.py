"""What is worth sending: an e-mail or a push is a list of a few good items, or nothing.

A page that a person opened shows the best there is. A message that nobody asked for must be good:
it holds only items of a least value, and is not sent with too few of them.
"""

from __future__ import annotations

from typing import Self

import numpy as np
from pydantic import PositiveInt, model_validator

from serendip.config import Config
from serendip.data.arrays import BoolArray, FloatArray


class MinValueConfig(Config):
    """``[surfaces.<name>.send]``."""

    k: PositiveInt = 5
    """A list holds at most so many items."""

    min_items: PositiveInt = 3
    """With fewer good items nothing is sent."""

    min_value: float = 0.25
    """An item is good from this organic value on; a sum over ranks, where no ranker orders the
    task of the surface, is at most about .02 for each of its sources."""

    @model_validator(mode="after")
    def _possible(self) -> Self:
        if self.min_items > self.k:
            raise ValueError(f"no list of at most k = {self.k} has min_items = {self.min_items}")
        return self


def keep_valuable(
    config: MinValueConfig | None, values: FloatArray, is_organic: BoolArray
) -> BoolArray:
    """(C,) candidates that may be sent; none where too few are good, all without a config.

    Args:
        config: what is worth sending.
        values: (C,) organic values.
        is_organic: (C,) False for candidates that are there for their bid only: they do not count.
    """
    if config is None:
        return np.ones(len(values), np.bool_)
    good: BoolArray = values >= config.min_value
    return good if (good & is_organic).sum() >= config.min_items else good & False
