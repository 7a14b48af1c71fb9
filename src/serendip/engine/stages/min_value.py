"""Minimum value: an e-mail or a push is a list of a few good items, or nothing.

A page that a person opened shows the best items there are. A message arrives uninvited, so it
holds only items of at least a minimum value, and is not sent if too few items reach it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Self

from pydantic import PositiveInt, model_validator

from serendip.config import Config
from serendip.data.arrays import BoolArray
from serendip.engine.stages.base import Kept, ListFilter, OrderedCandidates

SENT = "sent"
"""Trace key: length of the list that is sent."""


class MinValueConfig(Config):
    """``[surfaces.<name>.min_value]``."""

    k: PositiveInt = 5
    """Maximum length of the list."""

    min_items: PositiveInt = 3
    """Minimum number of items that reach the threshold; below it nothing is sent."""

    threshold: float = 0.25
    """Minimum organic value of an item. On surfaces whose task the ranker does not order, a value
    is a sum over ranks of at most about .02 for each source."""

    @model_validator(mode="after")
    def _is_possible(self) -> Self:
        if self.min_items > self.k:
            raise ValueError(f"no list of at most k = {self.k} has min_items = {self.min_items}")
        return self


class MinValueFilter(ListFilter):
    """Removes items below a minimum value, and all items if too few reach it."""

    name, label = "min value", "Good enough to be sent"
    counts: ClassVar[Mapping[str, str]] = {SENT: "The best of them, to be sent"}

    def __init__(self, config: MinValueConfig) -> None:
        self._config = config

    def keep(self, ordered: OrderedCandidates) -> Kept:
        """Candidates of at least the threshold; only organic ones count towards ``min_items``."""
        is_good: BoolArray = ordered.values >= self._config.threshold
        if (is_good & ordered.is_organic).sum() < self._config.min_items:
            is_good = is_good & False
        return Kept(is_good, max_items=self._config.k)
