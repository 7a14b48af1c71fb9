"""The last stage of a run: candidates with their values become the list that is shown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from serendip.data.arrays import FloatArray
from serendip.data.item_list import ItemList, tie_order
from serendip.data.query import Query
from serendip.engine.arrangement import Arrangement, Ranked, arrange
from serendip.engine.bad_matches import BAD, SuitedRows, suited
from serendip.engine.batch import Batch, Candidates
from serendip.engine.exploration import seed_of
from serendip.engine.feature_names import FEATURES
from serendip.engine.sending import good_enough
from serendip.engine.values import Values, organic_lists

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
    values: Values
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
        good = good_enough(surface.send, values.organic[part], is_organic)
        score = np.where(values.pins[part] > 0, values.pins[part], values.organic[part])
        ties = tie_order(self.batch.state.num_items)[self.candidates.items[part]]
        order = np.lexsort((ties, -score))
        order = order[good[order]]
        judged = self._suited(row, part[order], trace)
        order = order[judged.kept]
        made = arrange(self._ranked(row, part[order], is_organic[order]), surface)
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

    def _suited(self, row: int, rows: NDArray[np.intp], trace: dict[str, int]) -> SuitedRows:
        """Which of the ordered rows of a query are no bad match."""
        config, judge = self.batch.surface.bad_matches, self.batch.state.judge
        if config is None or judge is None:
            return SuitedRows.all_of(len(rows))
        items, is_pinned = self.candidates.items[rows], self.values.pins[rows] > 0
        found = suited(config, judge, self.batch.state, self.batch.queries[row], items, is_pinned)
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
            seed_of(self.batch.queries[row], self.batch.pasts[row]),
        )

    def _listed(
        self,
        rows: NDArray[np.intp],
        score: FloatArray,
        made: Arrangement,
        chances: FloatArray | None,
    ) -> ItemList:
        """Rows as they are shown, with all their columns."""
        part = self.features[rows]
        columns: dict[str, NDArray[np.generic]] = {
            name: part[:, column] for column, name in enumerate(FEATURES)
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
