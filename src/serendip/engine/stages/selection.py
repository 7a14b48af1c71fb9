"""The last step of a run: scored candidates become the list that is shown.

The list filters remove candidates and may order the rest, then one pass fills the slate: at
positions where a list rule may act, the first rule that names a row decides, and the best organic
rows take all others. A position depends on those before it only, so a slate that ends where a page
ends is the beginning of the whole one, and every page is a part of the same list.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from serendip.data import FloatArray, IntArray, ItemList, Query, tie_order
from serendip.engine.stages.base import (
    Kept,
    ListFilter,
    ListRule,
    OrderedCandidates,
    Ranked,
    Slate,
    Stage,
)
from serendip.engine.stages.batch import Batch, Candidates
from serendip.engine.stages.filters import REQUEST_FILTERS, Filter, filters_of
from serendip.engine.stages.likeness import taste_scores
from serendip.engine.stages.list_filters import SENT, MinValueFilter, RelevanceFilter, VariantFilter
from serendip.engine.stages.list_rules import (
    BID,
    EXPLORED,
    ORGANIC,
    PINNED,
    PROPENSITY,
    SPONSORED,
    DiversityConfig,
    DiversityRule,
    ExplorationRule,
    PinRule,
    SponsoredRule,
    find_groups,
    request_seed,
)
from serendip.engine.stages.scoring import TITLES, Scores, show_scores
from serendip.engine.stages.sources import Source, WordSource, source_named
from serendip.engine.stages.surfaces import SurfaceConfig


@dataclass(frozen=True, slots=True)
class SurfaceStages:
    """The stages that the configuration of a surface names.

    Args:
        request_filters: of every surface; they read the whole request.
        filters: read the parts of the request that the surface reads.
        sources: propose candidates.
        list_filters: remove ordered candidates.
        list_rules: fill positions of the slate, the first that names a row decides.
    """

    request_filters: tuple[Filter, ...]
    filters: tuple[Filter, ...]
    sources: tuple[Source, ...]
    list_filters: tuple[ListFilter, ...]
    list_rules: tuple[ListRule, ...]

    @classmethod
    def of(cls, surface: SurfaceConfig) -> Self:
        """Build the stages of a surface; a table that is not there adds no stage."""
        relevance = RelevanceFilter(surface.relevance_filter, surface.min_value)
        list_filters: list[ListFilter] = [relevance, VariantFilter()]
        if surface.min_value is not None:  # it counts what is left to be sent
            list_filters.append(MinValueFilter(surface.min_value))
        list_rules: list[ListRule] = [PinRule()]
        if surface.sponsored is not None:
            list_rules.append(SponsoredRule(surface.sponsored))
        if surface.exploration is not None and surface.exploration.share:
            list_rules.append(ExplorationRule(surface.exploration))
        if surface.diversity is not None:
            list_rules.append(DiversityRule(surface.diversity))
        # Words first: models score the hits that they leave in the batch.
        sources = sorted(surface.sources, key=lambda name: name != WordSource.name)
        return cls(
            REQUEST_FILTERS,
            filters_of(surface),
            tuple(map(source_named, sources)),
            tuple(list_filters),
            tuple(list_rules),
        )

    def __iter__(self) -> Iterator[Stage]:
        yield from self.request_filters
        yield from self.filters
        yield from self.sources
        yield from self.list_filters
        yield from self.list_rules


_COMPARED = 100  # first rows whose taste is known; blocks that end behind them are not explored


def build_slate(ranked: Ranked, rules: Sequence[ListRule], max_items: int | None = None) -> Slate:
    """Fill the first ``max_items`` positions; without rules the slate is the organic order.

    The first rule decides first. Exact titles keep their positions, but for rows that a rule of a
    merchandiser puts before them.
    """
    end = len(ranked) if max_items is None else max_items
    slate = Slate.of(ranked)
    slate.positions = {rule.name: [] for rule in rules}
    while len(slate) < end and (slate.waiting or slate.organic.any()):
        turns = [rule for rule in rules if slate.waiting or rule.name != PINNED]
        if not turns:
            slate.rows += np.flatnonzero(slate.organic)[: end - len(slate)].tolist()
            break
        for rule in turns:
            rule.begin(slate)
        if len(slate) - len(slate.positions.get(PINNED, ())) < ranked.pinned:
            turns = [rule for rule in turns if rule.name == PINNED]
        placed = next((row for rule in turns if (row := rule.place(slate)) >= 0), -1)
        slate.put(placed if placed >= 0 else int(np.argmax(slate.organic)))
    return slate


@dataclass(frozen=True, slots=True)
class Result:
    """The output of a run for one query.

    Args:
        query: as the models saw it: the parts of the request that the surface reads and, of a long
            history, the events relevant to it.
        surface: settings that it was answered by.
        items: the list up to ``max_items``, in order, with a column per feature and, if the ranker
            ordered it, per action, ``P(like)``. The stages of the surface add further columns:
            ``explored`` (1 or NaN) and ``propensity``; ``sponsored`` (bool), and ``bid`` and
            ``organic value`` of the positions that were bought; ``P(irrelevant)``; ``pinned`` (1 or
            NaN) where a rule pins any.
        trace: stage -> number of items after it, or of positions that it decided.
        degraded: stages that failed, or whose model is missing.
        listed: numbers of the items of the whole list, in no order.
    """

    query: Query
    surface: SurfaceConfig
    items: ItemList
    trace: Mapping[str, int]
    degraded: tuple[str, ...]
    listed: IntArray


@dataclass(frozen=True, slots=True, eq=False)
class Selector:
    """Builds the lists of one batch.

    Args:
        features: (R, F).
    """

    stages: SurfaceStages
    batch: Batch
    candidates: Candidates
    features: FloatArray
    scores: Scores

    def results(
        self, traces: Sequence[dict[str, int]], max_items: int | None = None
    ) -> list[Result]:
        """One list per query up to ``max_items``; the stages add their counts to its trace."""
        state = self.batch.state
        self.batch.degraded += [
            stage.name
            for stage in self.stages.list_filters
            if stage.is_on(state) and not stage.is_ready(state)
        ]
        return [self._result(row, trace, max_items) for row, trace in enumerate(traces)]

    def removing_filter(self, row: int, item: int) -> ListFilter | None:
        """The list filter that removes a candidate of query ``row``; None = it stays."""
        removing = (
            stage
            for stage, order, kept in self._filtered(row)
            if item not in self.candidates.items[order[kept.rows]]
        )
        return next(removing, None)

    def organic_items(self, row: int) -> IntArray:
        """Candidates of query ``row`` that more than their bid brought here."""
        part = self._part(row)
        items: IntArray = self.candidates.items[part[self._is_organic(row, part)]]
        return items

    def _part(self, row: int) -> NDArray[np.intp]:
        begin, end = self.candidates.bounds(len(self.batch.queries))[row : row + 2]
        return np.arange(begin, end)

    def _result(self, row: int, trace: dict[str, int], max_items: int | None) -> Result:
        rules, most_sent = self.stages.list_rules, None
        order, numbers = self._order(row), dict[str, FloatArray]()
        for stage, before, kept in self._filtered(row):
            columns = {**numbers, **kept.numbers}
            numbers = {name: values[kept.rows] for name, values in columns.items()}
            order = before[kept.rows]
            most_sent = kept.max_items if most_sent is None else most_sent
            trace |= {**kept.counts, stage.trace_key: len(order)}
        ends = [end for end in (max_items, most_sent) if end is not None]
        slate = build_slate(self._ranked(row, order), rules, min(ends, default=None))
        if most_sent is not None:
            trace[SENT] = len(slate)
        trace |= {rule.trace_key: len(slate.positions[rule.name]) for rule in rules}
        numbers = {name: values[slate.rows] for name, values in numbers.items()}
        items = self._list_items(order[slate.rows], slate, numbers)
        query, surface = self.batch.queries[row], self.batch.surface
        listed = self.candidates.items[order[self._is_organic(row, order)]][:most_sent]
        return Result(query, surface, items, trace, tuple(self.batch.degraded), listed)

    def _order(self, row: int) -> NDArray[np.intp]:
        scores, part = self.scores, self._part(row)
        ties = tie_order(self.batch.state.num_items)[self.candidates.items[part]]
        return part[np.lexsort((ties, -scores.organic[part], -scores.pins[part]))]  # (C,)

    def _filtered(self, row: int) -> Iterator[tuple[ListFilter, NDArray[np.intp], Kept]]:
        order, state = self._order(row), self.batch.state
        for stage in self.stages.list_filters:
            if stage.is_on(state) and stage.is_ready(state):
                kept = stage.keep(self._ordered(row, order))
                yield stage, order, kept
                order = order[kept.rows]

    def _ordered(self, row: int, order: NDArray[np.intp]) -> OrderedCandidates:
        items = self.candidates.items[order]
        return OrderedCandidates(
            self.batch.queries[row],
            self.batch.state,
            items,
            self.scores.organic[order],
            self._is_organic(row, order),
            (self.scores.pins[order] >= TITLES) | np.isin(items, self.batch.pinned(row)),
        )

    def _is_organic(self, row: int, order: NDArray[np.intp]) -> NDArray[np.bool_]:
        lists = [items[row].item_nums for items in self.batch.organic_proposals.values()]
        if len(lists) == len(self.batch.proposals):
            return np.ones(len(order), np.bool_)
        # False: only their bid brought them.
        lists.append(self.batch.pinned(row))
        return np.isin(self.candidates.items[order], np.concatenate(lists))

    def _ranked(self, row: int, order: NDArray[np.intp]) -> Ranked:
        items, batch = self.candidates.items[order], self.batch
        is_new = batch.state.new_items.mask[items]
        taste = np.full(len(items), np.nan, np.float32)
        if batch.surface.exploration is not None and is_new.any():
            compared = is_new | (np.arange(len(items)) < _COMPARED)
            taste[compared] = taste_scores(batch, row, items[compared])
        return Ranked(
            self.scores.organic[order],
            self._is_organic(row, order),
            int(np.cumprod(self.scores.pins[order] >= TITLES).sum()),
            self.scores.revenue[order],
            is_new,
            find_groups(batch.surface.diversity or DiversityConfig(), items, batch.state),
            taste,
            request_seed(batch.queries[row], batch.pasts[row]),
            items,
            {
                place: place_row
                for place, item in batch.pins(row).items()
                for place_row in np.flatnonzero(items == item).tolist()
            },
        )

    def _list_items(
        self, rows: NDArray[np.intp], slate: Slate, numbers: Mapping[str, FloatArray]
    ) -> ItemList:
        scores, part = self.scores, self.features[rows]
        shown_score = show_scores(scores.pins[rows], scores.organic[rows])
        columns: dict[str, NDArray[np.generic]] = {
            name: part[:, column] for column, name in enumerate(self.batch.state.feature_names)
        }
        for action, probabilities in scores.probabilities.items():
            columns[f"P({action})"] = probabilities[rows]
        columns |= numbers
        if slate.positions.get(PINNED):
            columns[PINNED] = np.where(slate.decided_by(PINNED), 1.0, np.nan)
        if EXPLORED in slate.positions:
            columns[EXPLORED] = np.where(slate.decided_by(EXPLORED), 1.0, np.nan)
            columns[PROPENSITY] = slate.propensities_of_draws()
        if SPONSORED in slate.positions:
            is_bought = slate.decided_by(SPONSORED)
            columns[SPONSORED] = is_bought
            columns[BID] = np.where(is_bought, scores.bids[rows], np.nan)
            columns[ORGANIC] = np.where(is_bought, scores.organic[rows], np.nan)
            shown_score = np.where(is_bought, scores.revenue[rows], shown_score)
        return ItemList(self.candidates.items[rows], shown_score, columns)
