"""Exploration: a small share of the positions goes to items with few interactions.

Without it, items without interactions are never shown and therefore never chosen. Positions and
items follow from the request alone (user, text, items, country, time of the user's last event),
never from chance or the clock: the pages of one answer fit together, the same request gives the
same answer, and after the user's next event other items have their turn. The pool is the candidates
of this request, so explored items are relevant to it too; over many requests every item of a pool
is drawn equally often.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from typing import ClassVar

import numpy as np
from pydantic import Field, NonNegativeInt

from serendip.config import Config
from serendip.data.query import History, Query
from serendip.engine.stages.base import ListRule, OpenRows, Placement, Ranked

EXPLORED = "explored"
"""The rule, and its column: 1 for explored items, NaN for the others."""


class ExplorationConfig(Config):
    """``[surfaces.<name>.exploration]``."""

    share: float = Field(default=0.1, gt=0.0, le=0.5)
    """Share of the positions: one of every 1 / share, never the first of them."""

    max_interactions: NonNegativeInt = 5
    """Candidates with up to this many interactions are explored."""


class ExplorationRule(ListRule):
    """Gives a share of the positions to candidates with few interactions."""

    name, label = EXPLORED, "Shown to learn about them"
    numbers: ClassVar[Mapping[str, str]] = {EXPLORED: "Shown to learn about it"}

    def __init__(self, config: ExplorationConfig) -> None:
        self._config = config

    def start(self, ranked: Ranked, rows: OpenRows) -> Explorer:
        """Draw the positions and the order of the pool for one request."""
        return Explorer(self._config, ranked)


class Explorer(Placement):
    """Positions and items to explore in one slate."""

    def __init__(self, config: ExplorationConfig, ranked: Ranked) -> None:
        super().__init__(last=math.inf)
        random = np.random.default_rng(ranked.seed)
        block = math.ceil(1 / config.share)
        starts = np.arange(0, len(ranked), block)
        drawn = starts + random.integers(1, block, len(starts))
        self._to_explore = frozenset(drawn.tolist())
        is_little_known = ranked.counts <= config.max_interactions
        self._pool = random.permutation(np.flatnonzero(is_little_known))

    def place(self, position: int, rows: OpenRows) -> int:
        """The next row of the pool that fits; -1 if there is none, or nothing to explore here."""
        if position not in self._to_explore:
            return -1
        usable = rows.organic & rows.fits
        pool = self._pool[usable[self._pool]]
        if not len(pool):
            return -1
        self.positions.append(position)
        return int(pool[0])


def request_seed(query: Query, past: History) -> int:
    """A seed that follows from the contents of the request; equal requests have equal seeds."""
    last = past.timestamps[-1] if len(past) else 0.0
    parts = (query.user_id, query.text, query.country, query.source_items.tolist(), float(last))
    return int.from_bytes(hashlib.blake2b(repr(parts).encode(), digest_size=8).digest())
