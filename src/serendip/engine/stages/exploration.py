"""Exploration: a small share of the places goes to items about which little is known.

Without it the items that nobody has chosen are never shown, so nobody can choose them. Which places
and which items follows from the request alone (user, words, items, country, the user's last
event), never from chance or the clock: the pages of one answer fit together, the same request
gives the same answer, and after the user's next event other items have their turn. The pool is
what the sources proposed for this request, so what is explored still bears on it; over many
requests every item of a pool is drawn equally often.
"""

from __future__ import annotations

import hashlib
import math

import numpy as np
from pydantic import Field, NonNegativeInt

from serendip.config import Config
from serendip.data.arrays import BoolArray, IntArray
from serendip.data.query import History, Query


class ExplorationConfig(Config):
    """``[surfaces.<name>.exploration]``."""

    share: float = Field(default=0.1, gt=0.0, le=0.5)
    """Share of the places: one place of every 1 / share, never the first of them."""

    max_interactions: NonNegativeInt = 5
    """Little is known about candidates with at most so many interactions."""


class Explorer:
    """Chooses places and items for one request.

    Args:
        config: the share and the pool; None explores nothing.
        counts: (C,) interactions of the candidates.
        seed: from ``request_seed``.
    """

    def __init__(self, config: ExplorationConfig | None, counts: IntArray, seed: int) -> None:
        self._pool = np.empty(0, np.intp)
        self._places: frozenset[int] = frozenset()
        if config is None:
            return
        random = np.random.default_rng(seed)
        block = math.ceil(1 / config.share)
        starts = np.arange(0, len(counts), block)
        places = starts + random.integers(1, block, len(starts))
        self._places = frozenset(places.tolist())
        self._pool = random.permutation(np.flatnonzero(counts <= config.max_interactions))

    def explores(self, place: int) -> bool:
        """Whether a 0-based place is one of those to be explored."""
        return place in self._places

    def row(self, usable: BoolArray) -> int:
        """The candidate row to explore, of the (C,) usable ones; -1 where there is none."""
        chosen = self._pool[usable[self._pool]]
        return int(chosen[0]) if len(chosen) else -1


def request_seed(query: Query, past: History) -> int:
    """A number from what the request says; equal requests have equal numbers."""
    last = past.timestamps[-1] if len(past) else 0.0
    said = (query.user_id, query.text, query.country, query.source_items.tolist(), float(last))
    return int.from_bytes(hashlib.blake2b(repr(said).encode(), digest_size=8).digest())
