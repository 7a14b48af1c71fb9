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
from typing import Annotated

import numpy as np
from pydantic import Field, PositiveFloat

from serendip.config import INTERNAL, Config
from serendip.data.query import History, Query
from serendip.engine.stages.base import ListRule, Slate

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

    name = EXPLORED

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
