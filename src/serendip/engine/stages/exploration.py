"""Exploration: a small share of the positions goes to promising items with few interactions.

Without it, items without interactions are hardly ever shown and therefore never chosen: a ranker
that learned from what people chose knows too little of them. The last position of every block goes
to one of them if it is worth it: if its value is not much lower than that of the item it
displaces, so that a place of high value is never given away. Among those it is drawn by a softmax
of the retriever's scores (Boltzmann exploration), so that mostly the best are shown and every other
one may be. Each draw has its propensity, the probability that this item had at this position, which
unbiased estimates from the log need.

What is given away can be bounded, too (``max_cost``). To users who want something known the
displaced item is lost whole: what the explored one is worth comes to others, and the more new items
there are, the more requests have one that is worth a position. So each position is explored with
the chance at which this loss is at most a set share of the value of its block, on average over
requests, were there new items for all. It rests on the ranker's values, by which the last positions
of a block have a larger share than by what is chosen, so that less is lost than it allows.

A position that such an item has by its value is left to it.

Where the surface promises impressions to new items, those that have not had them come first: the
draw is among them alone as long as one of them is worth the position, and each leaves the draw when
its promise is kept. Only candidates of a request can be drawn, so a new item that no request has
among its candidates is not shown.

Draws follow from the request alone (user, text, items, country, time of the user's last event),
never from the clock: the pages of one answer fit together, the same request gives the same answer,
and after the user's next event other items have their turn. The pool is the candidates of this
request, so explored items are relevant to it too.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from typing import ClassVar

import numpy as np
from pydantic import Field, NonNegativeInt, PositiveFloat

from serendip.config import Config
from serendip.data.items.fair_start import Promise
from serendip.data.query import History, Query
from serendip.engine.stages.base import ListRule, OpenRows, Placement, Ranked

EXPLORED = "explored"
"""The rule, and its column: 1 for explored items, NaN for the others."""

PROPENSITY = "propensity"
"""Column: probability of an explored item at its position; NaN for the others."""

_HOUR_S = 3_600.0


class ExplorationConfig(Config):
    """``[surfaces.<name>.exploration]``."""

    share: float = Field(default=0.1, ge=0.0, le=0.5)
    """Largest share of the positions: the last one of every 1 / share. 0 = no exploration."""

    max_interactions: NonNegativeInt = 0
    """Candidates with up to this many interactions are explored."""

    max_loss: float = Field(default=0.5, ge=0.0, le=1.0)
    """How much lower the value of an explored item may be than that of the item it displaces, as a
    share of it. 0 = it costs nothing, 1 = any item may be explored."""

    max_cost: float = Field(default=1.0, ge=0.0, le=1.0)
    """Share of the value of the block that a position ends which exploration may give away, on
    average over requests: a position that is worth the share c of it is explored in ``max_cost /
    c`` of them, or in all. All of its value counts as lost, whatever the explored item is worth, so
    this bounds what users lose who want items that are known, however many new items there are:
    0.01 = at most 1 %. 1 = no bound; ``max_loss`` alone decides."""

    temperature: PositiveFloat = 0.05
    """Of the softmax over the retriever's scores, cosines between -1 and 1: a candidate that is
    this much below another is drawn e times less often."""

    promised_impressions: NonNegativeInt = 0
    """Impressions that every item gets in its first days: until it has had them, on any surface,
    explored positions go to it before other items, and so does the source ``new-items``. Only
    impressions that are in the log count. 0 = none are promised."""

    promised_days: PositiveFloat = 7.0
    """Days for which the promise holds, from ``available_from`` of the item, or without it from its
    first event."""

    @property
    def promise(self) -> Promise:
        """What the surface promises to every new item."""
        return Promise(self.promised_impressions, self.promised_days)


class ExplorationRule(ListRule):
    """Gives a share of the positions to promising candidates with few interactions."""

    name, label = EXPLORED, "Shown to learn about them"
    numbers: ClassVar[Mapping[str, str]] = {
        EXPLORED: "Shown to learn about it",
        PROPENSITY: "Chance of being shown here",
    }

    def __init__(self, config: ExplorationConfig) -> None:
        self._config = config

    def start(self, ranked: Ranked, rows: OpenRows) -> Explorer:
        """Find the pool of one request."""
        return Explorer(self._config, ranked)


class Explorer(Placement):
    """Draws the items to explore in one slate."""

    def __init__(self, config: ExplorationConfig, ranked: Ranked) -> None:
        super().__init__()
        self._random = np.random.default_rng(ranked.seed)
        self._block = math.ceil(1 / config.share)
        self._values, self._max_loss = ranked.values, config.max_loss
        self._max_cost = config.max_cost
        self._owed = ranked.owed  # (C,)
        self._is_new = (ranked.counts <= config.max_interactions) | self._owed  # (C,)
        self._pool = np.flatnonzero(self._is_new)
        self._logits = ranked.retriever_scores / config.temperature  # (C,)

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
        value = float(self._values[displaced])
        is_worth_it = self._values[self._pool] >= value - self._max_loss * abs(value)
        pool = self._pool[fitting[self._pool] & is_worth_it]
        chance = self._chance(position, value)
        if not len(pool) or (chance < 1.0 and self._random.random() >= chance):
            return -1
        if self._owed[pool].any():
            pool = pool[self._owed[pool]]
        logits = self._logits[pool].astype(np.float64)
        chances = np.exp(logits - logits.max())
        chances /= chances.sum()
        drawn = int(self._random.choice(len(pool), p=chances))
        self.positions.append(position)
        self.propensities.append(chance * float(chances[drawn]))
        return int(pool[drawn])

    def _chance(self, position: int, value: float) -> float:
        """Chance of exploring the last position of a block, whose organic item has a value."""
        if self._max_cost == 1.0:
            return 1.0
        block = self._values[max(0, position + 1 - self._block) : position + 1]
        most = self._max_cost * float(np.maximum(block, 0.0).sum())
        return 1.0 if value <= most else most / value


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
