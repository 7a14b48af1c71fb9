"""The last stage of a run: candidates with their values become the list that is shown.

From ranked candidates to the list that is shown, place by place and in one pass.

At every place: who bought it, else what is to be explored there, else the best organic result; of
each only items whose group is not full. The whole list is made at once and does not depend on how
much of it is asked for, so every page is a part of the same list.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from serendip.data.arrays import BoolArray, FloatArray, IntArray
from serendip.data.item_list import ItemList, tie_order
from serendip.data.query import Query
from serendip.engine.stages.batch import Batch, Candidates
from serendip.engine.stages.diversity import DiversitySelector
from serendip.engine.stages.exploration import Explorer, request_seed
from serendip.engine.stages.min_value import keep_valuable
from serendip.engine.stages.relevance_filter import BAD, Kept, filter_relevant
from serendip.engine.stages.scoring import Scores, organic_lists
from serendip.engine.stages.sponsored import Auction
from serendip.engine.stages.surfaces import SurfaceConfig


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
class Slate:
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

    def first(self, count: int) -> Slate:
        """The same list, ended after so many places."""
        sponsored = [place for place in self.sponsored if place < count]
        explored = [place for place in self.explored if place < count]
        return Slate(self.rows[:count], sponsored, explored, self.moved)


def build_slate(ranked: Ranked, surface: SurfaceConfig) -> Slate:
    """Put the list together; the organic order where the surface says nothing else."""
    left, unused = ranked.is_organic.copy(), np.ones(len(ranked), np.bool_)
    spread = DiversitySelector(surface.diversity, ranked.codes)
    explorer = Explorer(surface.exploration, ranked.counts, ranked.seed)
    auction = Auction(surface.sponsored, ranked.values, ranked.earned)
    made, last = Slate(), _last_with_a_rule(surface)
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


EXPLORED, SPONSORED = "explored", "sponsored"
BID, ORGANIC = "bid", "organic value"


@dataclass(frozen=True, slots=True)
class Result:
    """What a run found for one query.

    Args:
        query: as the models saw it: what the surface reads of the request and, of a long history,
            the part that bears on it.
        items: the whole list, in order, with a column per feature and, where the ranker ordered it,
            per action, ``P(like)``. Where the surface has them, further columns: ``explored`` (1 or
            NaN); ``sponsored`` (bool), and ``bid`` and ``organic value`` of the places that were
            bought; the chance of a bad match.
        trace: stage -> number of items after it.
        degraded: stages that failed.
    """

    query: Query
    items: ItemList
    trace: Mapping[str, int]
    degraded: tuple[str, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Selector:
    """Makes the lists of one batch.

    Args:
        batch: the queries.
        candidates: R rows.
        features: (R, F).
        values: of the rows.
        found: what each source proposed.
    """

    batch: Batch
    candidates: Candidates
    features: FloatArray
    values: Scores
    found: Mapping[str, list[ItemList]]

    def results(self, traces: Sequence[dict[str, int]]) -> list[Result]:
        """One list per query; what happened is added to the traces."""
        bounds = self.candidates.bounds(len(self.batch.queries))
        return [
            self._result(row, np.arange(bounds[row], bounds[row + 1]), trace)
            for row, trace in enumerate(traces)
        ]

    def _result(self, row: int, part: NDArray[np.intp], trace: dict[str, int]) -> Result:
        """The list of one query from its candidate rows."""
        surface, values = self.batch.surface, self.values
        is_organic = self._is_organic(row, part)
        good = keep_valuable(surface.send, values.organic[part], is_organic)
        score = np.where(values.pins[part] > 0, values.pins[part], values.organic[part])
        ties = tie_order(self.batch.state.num_items)[self.candidates.items[part]]
        order = np.lexsort((ties, -score))
        order = order[good[order]]
        judged = self._suited(row, part[order], trace)
        order = order[judged.kept]
        made = build_slate(self._ranked(row, part[order], is_organic[order]), surface)
        if surface.send is not None:
            trace["good enough"] = len(order)
            made = made.first(surface.send.k)
            trace["to be sent"] = len(made)
        if surface.diversity is not None:
            trace["moved by diversity"] = made.moved
        shown = order[made.order]
        chances = None if judged.chances is None else judged.chances[judged.kept][made.order]
        items = self._listed(part[shown], score[shown], made, chances)
        for name, places in ((EXPLORED, made.explored), (SPONSORED, made.sponsored)):
            if name in items.fields:
                trace[name] = len(places)
        degraded = tuple(self.batch.degraded)
        return Result(self.batch.queries[row], items, trace, degraded)

    def _suited(self, row: int, rows: NDArray[np.intp], trace: dict[str, int]) -> Kept:
        """Which of the ordered rows of a query are no bad match."""
        config, judge = self.batch.surface.bad_matches, self.batch.state.judge
        if config is None or judge is None:
            return Kept.all_of(len(rows))
        items, is_pinned = self.candidates.items[rows], self.values.pins[rows] > 0
        found = filter_relevant(
            config, judge, self.batch.state, self.batch.queries[row], items, is_pinned
        )
        trace["judged"], trace["after bad matches"] = found.judged, int(found.kept.sum())
        return found

    def _is_organic(self, row: int, part: NDArray[np.intp]) -> NDArray[np.bool_]:
        """False for candidates that only their bid brought here."""
        lists = [items[row].item_nums for items in organic_lists(self.found).values()]
        if len(lists) == len(self.found):
            return np.ones(len(part), np.bool_)
        return np.isin(self.candidates.items[part], np.concatenate(lists) if lists else [])

    def _ranked(self, row: int, rows: NDArray[np.intp], is_organic: NDArray[np.bool_]) -> Ranked:
        items, state = self.candidates.items[rows], self.batch.state
        return Ranked(
            self.values.organic[rows],
            is_organic,
            int((self.values.pins[rows] > 0).sum()),
            self.values.earned[rows],
            state.counts[items],
            state.features.codes[items],
            request_seed(self.batch.queries[row], self.batch.pasts[row]),
        )

    def _listed(
        self,
        rows: NDArray[np.intp],
        score: FloatArray,
        made: Slate,
        chances: FloatArray | None,
    ) -> ItemList:
        """Rows as they are shown, with all their columns."""
        part = self.features[rows]
        columns: dict[str, NDArray[np.generic]] = {
            name: part[:, column] for column, name in enumerate(self.batch.state.feature_names)
        }
        for action, probabilities in self.values.probabilities.items():
            columns[f"P({action})"] = probabilities[rows]
        if chances is not None:
            columns[BAD] = chances
        if self.batch.surface.exploration is not None:
            columns[EXPLORED] = np.where(made.marks(made.explored), 1.0, np.nan)
        if self.batch.surface.sponsored is not None:
            bought = made.marks(made.sponsored)
            columns[SPONSORED] = bought
            columns[BID] = np.where(bought, self.values.bids[rows], np.nan)
            columns[ORGANIC] = np.where(bought, self.values.organic[rows], np.nan)
            score = np.where(bought, self.values.earned[rows], score)
        return ItemList(self.candidates.items[rows], score, columns)
