"""Exploration: a small share of the positions goes to new items that fit the taste of the user.

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
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from typing import Annotated, ClassVar

import numpy as np
from pydantic import Field, PositiveFloat

from serendip.config import INTERNAL, Config
from serendip.data.query import History, Query
from serendip.engine.stages.base import ListRule, OpenRows, Ranked

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

    def start(self, ranked: Ranked, rows: OpenRows) -> None:
        """Find the pool of one request."""
        self._random = np.random.default_rng(ranked.seed)
        self._block = math.ceil(1 / self._config.share)
        self._is_new, self._taste = ranked.is_new, ranked.taste  # (C,) each
        # In an order of their own: that of the values of new items alike differs by rounding.
        self._pool = np.flatnonzero(ranked.is_new)
        self._pool = self._pool[np.argsort(ranked.items[self._pool])]
        self._spread = float(np.nanstd(ranked.taste)) if self._pool.size else 0.0

    def next(self, position: int, rows: OpenRows) -> float:
        """The last position of a block, while new items are open."""
        is_over = not rows.organic[self._pool].any()
        return math.inf if is_over else position + -(position + 1) % self._block

    def place(self, position: int, rows: OpenRows) -> int:
        """A row of the pool that fits; -1 if there is none, or nothing to explore here."""
        if (position + 1) % self._block:
            return -1
        fitting = rows.organic & rows.fits  # (C,)
        displaced = int(np.argmax(fitting))
        if not fitting[displaced] or self._is_new[displaced]:
            return -1
        pool = self._pool[fitting[self._pool]]
        pool = pool[self._taste[pool] >= self._least_taste(position)]
        if not len(pool):
            return -1
        above = self._taste[pool] - self._taste[pool].max()
        chances = np.exp(above / max(self._config.temperature * self._spread, _TINY))
        chances /= chances.sum()
        drawn = int(self._random.choice(len(pool), p=chances))
        self.positions.append(position)
        self.propensities.append(float(chances[drawn]))
        return int(pool[drawn])

    def _least_taste(self, position: int) -> float:
        """Taste from which a new item fits into the block that ends at a position."""
        block = slice(max(0, position + 1 - self._block), position + 1)
        known = self._taste[block][~self._is_new[block]]
        if not len(known):
            return -math.inf
        return float(known.mean()) + self._config.min_taste * self._spread


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
