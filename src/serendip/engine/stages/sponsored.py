"""Sponsored items: a bid buys one of a few marked positions, if the item is relevant enough.

The expected revenue of a candidate is bid x P(action), and the position goes to the highest
revenue, not to the highest bid. A candidate may only bid if its organic value (its worth to the
user, without the bid) is at least ``floor`` times that of the best organic result that is not shown
before it. Without such a candidate the position stays organic. The organic results keep their
order. A bid of 0 counts as none.
"""

from __future__ import annotations

from typing import Annotated

import numpy as np
from pydantic import Field, NonNegativeInt, field_validator

from serendip.config import Config
from serendip.data import BoolArray, Catalogue, FloatArray, IntArray
from serendip.engine.stages.base import ListRule, Slate

# The source of items with a bid: a candidate of this source alone is shown at a sponsored position
# only. Also the rule that sells the positions, and the column (bool) of items that bought one.
SPONSORED = "sponsored"

BID, ORGANIC = "bid", "organic value"  # columns of these; NaN for the others


class SponsoredConfig(Config):
    """``[surfaces.<name>.sponsored]``."""

    bid: str = Field(default="bid", min_length=1)
    """Attribute of the items that holds the bid, in any currency; missing or 0 = no bid."""

    action: str = "interact"
    """The action that the advertiser pays for."""

    positions: Annotated[tuple[NonNegativeInt, ...], Field(min_length=1)] = (1, 6)
    """0-based positions of a list that can be bought."""

    floor: float = Field(default=0.5, ge=0.0, le=1.0)
    """Minimum organic value, as a share of that of the best organic result not shown before it."""

    @field_validator("positions")
    @classmethod
    def _once_each(cls, positions: tuple[int, ...]) -> tuple[int, ...]:
        if len(set(positions)) < len(positions):
            raise ValueError("positions contains a position twice")
        return positions


def has_bid(catalogue: Catalogue, attribute: str) -> BoolArray:
    """(N,) bool, True for items with a positive bid."""
    bidding: BoolArray = catalogue.column(attribute).numbers > 0  # False for NaN
    return bidding


def bids_of(catalogue: Catalogue, attribute: str, items: IntArray) -> FloatArray:
    """(R,) float32 bids of items (R,); 0 = no bid."""
    bids = catalogue.column(attribute).numbers[items]
    return np.where(bids > 0, bids, 0.0).astype(np.float32)


class SponsoredRule(ListRule):
    """Sells positions of the slate; see the module's docstring for who may buy."""

    name = SPONSORED

    def __init__(self, config: SponsoredConfig) -> None:
        self._config = config

    def place(self, slate: Slate) -> int:
        """The bidding row of the highest expected revenue; -1 if the position stays organic."""
        position, ranked = len(slate), slate.ranked
        if position not in self._config.positions:
            return -1
        minimum = self._config.floor * ranked.values[slate.organic].max()
        is_bidding = slate.unused & slate.fits & (ranked.revenue > 0) & (ranked.values >= minimum)
        if not is_bidding.any():
            return -1
        slate.positions[self.name].append(position)
        return int(np.argmax(np.where(is_bidding, ranked.revenue, -np.inf)))
