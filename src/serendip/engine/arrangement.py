"""From ranked candidates to the list that is shown, place by place and in one pass.

At every place: who bought it, else what is to be explored there, else the best organic result; of
each only items whose group is not full. The whole list is made at once and does not depend on how
much of it is asked for, so every page is a part of the same list.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from serendip.data.arrays import BoolArray, FloatArray, IntArray
from serendip.engine.diversity import Spread
from serendip.engine.exploration import Explorer
from serendip.engine.sponsored import Auction
from serendip.engine.surfaces import SurfaceConfig


@dataclass(frozen=True, slots=True, eq=False)
class Ranked:
    """The candidates of one request in organic order.

    Args:
        values: (C,) organic values.
        is_organic: (C,) False for candidates that are there for their bid only.
        pinned: so many of the first rows stay where they are.
        earned: (C,) bid x P(action), 0 without a bid.
        counts: (C,) interactions of the items.
        codes: (C, L) semantic IDs of the items.
        seed: what exploration is drawn from.
    """

    values: FloatArray
    is_organic: BoolArray
    pinned: int
    earned: FloatArray
    counts: IntArray
    codes: IntArray
    seed: int

    def __len__(self) -> int:
        return len(self.values)


@dataclass(slots=True, eq=False)
class Arrangement:
    """A list of P places.

    Args:
        rows: row of the candidates at each place.
        sponsored: places that were bought.
        explored: places that are explored.
        moved: how often a better organic result had to wait because its group was full.
    """

    rows: list[int] = field(default_factory=list)
    sponsored: list[int] = field(default_factory=list)
    explored: list[int] = field(default_factory=list)
    moved: int = 0

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def order(self) -> NDArray[np.intp]:
        """(P,) row of the candidates at each place."""
        return np.array(self.rows, np.intp)

    def marks(self, places: list[int]) -> BoolArray:
        """(P,) True at these places."""
        return np.isin(np.arange(len(self)), places)

    def first(self, count: int) -> Arrangement:
        """The same list, ended after so many places."""
        sponsored = [place for place in self.sponsored if place < count]
        explored = [place for place in self.explored if place < count]
        return Arrangement(self.rows[:count], sponsored, explored, self.moved)


def arrange(ranked: Ranked, surface: SurfaceConfig) -> Arrangement:
    """Put the list together; the organic order where the surface says nothing else."""
    left, unused = ranked.is_organic.copy(), np.ones(len(ranked), np.bool_)
    spread = Spread(surface.diversity, ranked.codes)
    explorer = Explorer(surface.exploration, ranked.counts, ranked.seed)
    auction = Auction(surface.sponsored, ranked.values, ranked.earned)
    made, last = Arrangement(), _last_with_a_rule(surface)
    while left.any():
        place, row = len(made), -1
        if place > last:
            made.rows += np.flatnonzero(left).tolist()
            break
        if place < ranked.pinned:
            row = int(np.argmax(left))
        elif auction.sells(place) and (row := auction.row(unused & spread.fits, left)) >= 0:
            made.sponsored.append(place)
        elif explorer.explores(place) and (row := explorer.row(left & spread.fits)) >= 0:
            made.explored.append(place)
        else:
            fitting = left & spread.fits
            row = int(np.argmax(fitting if fitting.any() else left))
            made.moved += bool(left[:row].any())
        made.rows.append(row)
        left[row] = unused[row] = False
        spread.add(row)
    return made


def _last_with_a_rule(surface: SurfaceConfig) -> float:
    """From the place after this one on, the list is the organic order of what is left."""
    if surface.diversity is not None or surface.exploration is not None:
        return math.inf
    return max(surface.sponsored.positions) if surface.sponsored is not None else -1
