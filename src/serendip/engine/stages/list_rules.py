"""List rules: what a surface puts at a position of a list beside the order of the values.

**Diversity**: at most n items of one group in any window of m positions. Groups are semantic IDs:
items that share their first codes are similar in content, including items that nobody has chosen
yet; or the values of an attribute, so that of the variants of a product one is shown. "At most n of
every m" has long been in use in large feeds (Wilhelm et al. 2018, "Practical diversified
recommendations on YouTube with determinantal point processes", names it as the rule in production
before). We prefer it to maximal marginal relevance for three reasons: it needs no scale on which
values and similarities are comparable (values are probabilities on one surface, divided by
popularity on another, sums over ranks or pinned titles on a third), its promise can be read off a
page and tested, and because the window slides, the promise holds on every page, wherever it begins.

**Exploration**: a small share of the positions goes to new items that fit the taste of the user.
Without it, items that nobody has chosen are hardly ever shown and therefore never chosen: a ranker
that learned from what people chose knows too little of them. The last position of every block goes
to one of them if it fits: if it is about as much to the taste of the user as what the ranker put
into the block (``likeness.taste_scores``), by scores that rest on no item's past. The ranker's own
value of a new item would not do, as it is low for want of a past. Where no new item fits, nothing
is displaced.

Among those that fit, one is drawn by a softmax of these scores (Boltzmann exploration), so that
mostly the best are shown and every other one may be. Each draw has its propensity, the probability
that this item had at this position, which unbiased estimates from the log need. What is a new item,
and that it is no longer one once people have chosen or rejected it or seen it often, says
``data.items.reception``.

A position that a new item has by its value is left to it.

Draws follow from the request alone (user, text, items, country, time of the user's last event),
never from the clock, but hourly for visitors without an id: the pages of one answer fit together,
the same request gives the same answer, and after the user's next event other items have their turn.
The pool is the candidates of this request, so explored items are relevant to it too.

**Sponsored items**: a bid buys one of a few marked positions, if the item is relevant enough. The
expected revenue of a candidate is bid x P(action), and the position goes to the highest revenue,
not to the highest bid. A candidate may only bid if its organic value (its worth to the user,
without the bid) is at least ``floor`` times that of the best organic result that is not shown
before it. Without such a candidate the position stays organic. The organic results keep their
order. A bid of 0 counts as none.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from typing import Annotated, ClassVar, Self

import numpy as np
from pydantic import (
    Field,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    field_validator,
    model_validator,
)

from serendip.config import INTERNAL, Config
from serendip.data import BoolArray, Catalogue, FloatArray, History, IntArray, Query
from serendip.engine.stages.base import ListRule, Slate
from serendip.engine.state import EngineState


class DiversityConfig(Config):
    """``[surfaces.<name>.diversity]``."""

    most: PositiveInt = 3
    """Maximum number of items of one group ..."""

    window: int = Field(default=10, ge=2)
    """... in any window of this many consecutive positions."""

    levels: Annotated[PositiveInt, INTERNAL] = 1
    """Items with the same first ``levels`` codes are of one group."""

    attribute: str = ""
    """Items with an equal value of this attribute are of one group instead, such as the variants of
    a product; an item without it is alone. Empty = semantic IDs."""

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if self.most >= self.window:
            raise ValueError(
                f"most = {self.most} limits nothing: it must be below window = {self.window}"
            )
        return self


def find_groups(config: DiversityConfig, items: IntArray, state: EngineState) -> IntArray:
    """(C, L) codes of which the first ``levels`` are the group of each item (C,)."""
    if not config.attribute:
        return state.features.codes[items]
    column = state.catalogue.column(config.attribute)
    numbered: dict[tuple[tuple[str, ...], float], int] = {}
    groups = np.arange(len(items), 2 * len(items), dtype=np.int32)
    values = zip(column.words_of(items), column.numbers_of(items).tolist(), strict=True)
    for row, (words, number) in enumerate(values):
        if words or not math.isnan(number):
            value = (words, 0.0 if math.isnan(number) else number)
            groups[row] = numbered.setdefault(value, len(numbered))
    return groups[:, None]


class DiversityRule(ListRule):
    """Lets a candidate wait while its group is full.

    ``positions`` are those at which a better organic row had to wait.
    """

    name, label = "moved by diversity", "Waited for others of their group"

    def __init__(self, config: DiversityConfig) -> None:
        self._config = config

    def begin(self, slate: Slate) -> None:
        """Find the rows whose group has room in the window that the next position ends."""
        groups = slate.ranked.codes[:, : self._config.levels]
        shown, counts = np.unique(
            groups[slate.rows[1 - self._config.window :]], axis=0, return_counts=True
        )
        full = shown[counts >= self._config.most]
        slate.fits = ~(groups[:, None] == full[None]).all(2).any(1)

    def place(self, slate: Slate) -> int:
        """The best organic row whose group has room; the best of all if every group is full."""
        fitting = slate.organic & slate.fits
        row = int(np.argmax(fitting if fitting.any() else slate.organic))
        if slate.organic[:row].any():
            slate.positions[self.name].append(len(slate))
        return row


PINNED = "pinned"
"""The rule, and its column: 1 for pinned items, NaN for the others."""


class PinRule(ListRule):
    """Fills the positions that rules of a merchandiser give away, before all others.

    Where the list ends before such a position, its item is the last.
    """

    name, label = PINNED, "Put there by a rule"
    numbers: ClassVar[Mapping[str, str]] = {PINNED: "Put there by a rule"}

    def place(self, slate: Slate) -> int:
        """The row that waits for the position; the next one that waits if no other is left."""
        position, waiting = len(slate), slate.waiting
        if position not in waiting:
            if slate.organic.any():
                return -1
            position = min(waiting)
        slate.positions[self.name].append(len(slate))
        return waiting.pop(position)


EXPLORED = "explored"
"""The rule, and its column: 1 for explored items, NaN for the others."""

PROPENSITY = "propensity"
"""Column: probability of an explored item at its position; NaN for the others."""

_HOUR_S = 3_600.0
_TINY = 1e-9


class ExplorationConfig(Config):
    """``[surfaces.<name>.exploration]``."""

    share: float = Field(default=0.1, ge=0.0, le=0.5)
    """Largest share of the positions: the last one of every 1 / share. 0 = no exploration."""

    min_taste: Annotated[float, INTERNAL] = 1.0
    """How much more to the taste of the user an explored item is than the mean of the block that
    its position ends, at least, in standard deviations of the candidates' taste; below 0, less."""

    temperature: Annotated[PositiveFloat, INTERNAL] = 0.1
    """Of the softmax over the taste, in standard deviations of the candidates' taste: an item that
    is this much below another is drawn e times less often."""


class ExplorationRule(ListRule):
    """Gives a share of the positions to new items that fit."""

    name, label = EXPLORED, "Shown to learn about them"
    numbers: ClassVar[Mapping[str, str]] = {
        EXPLORED: "Shown to learn about it",
        PROPENSITY: "Chance of being shown here",
    }

    def __init__(self, config: ExplorationConfig) -> None:
        self._config = config

    def place(self, slate: Slate) -> int:
        """A new row that fits; -1 if there is none, or nothing to explore here."""
        position, ranked = len(slate), slate.ranked
        block = math.ceil(1 / self._config.share)
        if (position + 1) % block or not ranked.is_new.any():
            return -1
        fitting = slate.organic & slate.fits  # (C,)
        displaced = int(np.argmax(fitting))
        if not fitting[displaced] or ranked.is_new[displaced]:
            return -1
        # In an order of their own: that of the values of new items alike differs by rounding.
        pool = np.flatnonzero(fitting & ranked.is_new)
        pool = pool[np.argsort(ranked.items[pool])]
        taste, spread = ranked.taste, float(np.nanstd(ranked.taste))
        # As much to the taste as what is not new in the block that ends here.
        beside = np.arange(position + 1 - block, position + 1)
        known = taste[beside[~ranked.is_new[beside]]]
        least = known.mean() + self._config.min_taste * spread if len(known) else -math.inf
        pool = pool[taste[pool] >= least]
        if not len(pool):
            return -1
        above = taste[pool] - taste[pool].max()
        chances = np.exp(above / max(self._config.temperature * spread, _TINY))
        chances /= chances.sum()
        drawn = int(slate.random.choice(len(pool), p=chances))
        slate.positions[self.name].append(position)
        slate.propensities[position] = float(chances[drawn])
        return int(pool[drawn])


def request_seed(query: Query, past: History) -> int:
    """A seed that follows from the contents of the request; equal requests have equal seeds.

    Visitors without an id are not told apart, so theirs changes every hour: otherwise one draw
    would be all that they are ever shown.
    """
    last = float(past.timestamps[-1]) if len(past) else 0.0
    if not query.user_id and math.isfinite(query.time):
        last = max(last, query.time // _HOUR_S)
    parts = (query.user_id, query.text, query.country, query.source_items.tolist(), last)
    return int.from_bytes(hashlib.blake2b(repr(parts).encode(), digest_size=8).digest())


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

    name, label = SPONSORED, "Places that were bought"
    numbers: ClassVar[Mapping[str, str]] = {
        BID: "Bid for the place",
        ORGANIC: "Worth without the bid",
    }

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
