"""Sponsored items: a bid buys one of a few marked places, relevance decides who may bid at all.

The value of a sponsored candidate is bid x P(action), so the place goes to the one that earns most
where it is shown, not to the highest bid. Who bids must first be good enough: its organic value
(what it is worth to the user, without the bid) is at least ``floor`` times that of the best
organic result that is not shown before it. Where nobody passes, the place stays organic. The
organic results keep their order, and a bid of 0 is no bid.
"""

from __future__ import annotations

from typing import Annotated

import numpy as np
from pydantic import Field, NonNegativeInt, field_validator

from serendip.config import Config
from serendip.data.arrays import BoolArray, FloatArray, IntArray
from serendip.data.item import Catalogue

SOURCE = "sponsored"
"""The source of candidates that proposes items with a bid; those that only it proposes are never
shown outside of the sponsored places."""


class SponsoredConfig(Config):
    """``[surfaces.<name>.sponsored]``."""

    bid: str = Field(default="bid", min_length=1)
    """Attribute of the items that holds the bid, in any currency; missing or 0 = no bid."""

    action: str = "interact"
    """The action that is paid for."""

    positions: Annotated[tuple[NonNegativeInt, ...], Field(min_length=1)] = (1, 6)
    """0-based places of a list that can be bought."""

    floor: float = Field(default=0.5, ge=0.0, le=1.0)
    """Least organic value, as a share of that of the best organic result not shown before it."""

    @field_validator("positions")
    @classmethod
    def _once_each(cls, positions: tuple[int, ...]) -> tuple[int, ...]:
        if len(set(positions)) < len(positions):
            raise ValueError("a position is named twice")
        return positions


def has_bid(catalogue: Catalogue, attribute: str) -> BoolArray:
    """(N,) True for items with a bid; a negative one counts as none."""
    bidding: BoolArray = catalogue.column(attribute).numbers > 0  # NaN is not
    return bidding


def bids_of(catalogue: Catalogue, attribute: str, items: IntArray) -> FloatArray:
    """(R,) float32 bids of items (R,), 0 where one has none."""
    bids = catalogue.column(attribute).numbers[items]
    return np.where(bids > 0, bids, 0.0).astype(np.float32)


class Auction:
    """Sells the places of one list of C candidate rows.

    Args:
        config: places and floor; None sells nothing.
        organic: (C,) organic values.
        earned: (C,) bid x P(action), 0 without a bid.
    """

    def __init__(
        self, config: SponsoredConfig | None, organic: FloatArray, earned: FloatArray
    ) -> None:
        self._positions = frozenset(config.positions if config else ())
        self._floor = config.floor if config else 0.0
        self._organic, self._earned = organic, earned

    def sells(self, place: int) -> bool:
        """Whether a 0-based place can be bought."""
        return place in self._positions

    def row(self, usable: BoolArray, left: BoolArray) -> int:
        """The candidate row that buys the next place; -1 where it stays organic.

        Args:
            usable: (C,) rows that may stand there.
            left: (C,) organic results that are not shown yet, at least one.
        """
        least = self._floor * self._organic[left].max()
        bidding = usable & (self._earned > 0) & (self._organic >= least)
        if not bidding.any():
            return -1
        return int(np.argmax(np.where(bidding, self._earned, -np.inf)))
