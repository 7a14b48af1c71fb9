"""Sources propose candidates: models, words, new and sponsored items, what is popular in the
country, what may come again, and what a page without a text lists.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping

import numpy as np

from serendip.data import AllowedItems, FloatArray, IntArray, ItemList, Query, locate, tie_order
from serendip.data.arrays import first_rows
from serendip.data.events.repeats import last_choices, times_chosen
from serendip.engine.stages.base import Stage
from serendip.engine.stages.batch import Batch
from serendip.engine.stages.likeness import taste_scores
from serendip.engine.stages.list_rules import SPONSORED, has_bid
from serendip.engine.stages.surfaces import RETRIEVER
from serendip.engine.state import EngineState
from serendip.models.context_counts import ContextCounts
from serendip.search.searcher import put_first

_COMPARED = 300  # new items that are compared with what a user likes


class Source(Stage, ABC):
    """Proposes candidates; its label completes "From"."""

    @property
    def trace_key(self) -> str:
        """Key of the number of candidates that it proposed."""
        return f"from {self.name}"

    @abstractmethod
    def retrieve(self, batch: Batch, quota: int) -> list[ItemList]:
        """At most ``quota`` allowed items per query, best first."""


class ModelSource(Source):
    """The best items of a model."""

    def __init__(self, name: str, label: str = "") -> None:
        self.name, self.label = name, label or name

    def retrieve(self, batch: Batch, quota: int) -> list[ItemList]:
        """The best allowed items with evidence that are not too far from the text."""
        lists = batch.scores(self.name).top(quota, batch.allowed)
        if not batch.state.models[self.name].zero_means_unknown:
            for row, hits in enumerate(batch.hits or ()):
                lists[row] = self._add_hits(batch, row, lists[row], hits.item_nums, quota)
        return batch.keep_close(lists)

    def _add_hits(
        self, batch: Batch, row: int, found: ItemList, hits: IntArray, quota: int
    ) -> ItemList:
        missed = hits[batch.allowed[row].admits(hits)]
        missed = missed[~np.isin(missed, found.item_nums)]
        if not len(found) or not len(missed):
            return found
        rows = np.full(len(missed), row, np.int32)
        items = np.concatenate([found.item_nums, missed])
        scores = np.concatenate([found.scores, batch.scores(self.name).of_items(rows, missed)])
        return _take_best(batch, items, scores, quota)


def _take_best(batch: Batch, items: IntArray, scores: FloatArray, quota: int) -> ItemList:
    best = np.lexsort((tie_order(batch.state.num_items)[items], -scores))[:quota]
    return ItemList.of_distinct(items[best], scores[best])


class NewItemSource(Source):
    """New items that fit the taste of the user best; see ``likeness.taste_scores``."""

    name, label = "new-items", "new items"

    def retrieve(self, batch: Batch, quota: int) -> list[ItemList]:
        """Best first; of very many new items, those that a model finds are compared."""
        new = batch.state.new_items
        allowed = [one.within(new) for one in batch.allowed]
        if new.count > _COMPARED:
            model = RETRIEVER if RETRIEVER in batch.state.models else "content"
            found = [items.item_nums for items in batch.scores(model).top(_COMPARED, allowed)]
        else:
            found = [one.numbers() for one in allowed]
        return [
            _take_best(batch, items, taste_scores(batch, row, items), quota)
            for row, items in enumerate(found)
        ]


class CountrySource(Source):
    """The items with most interactions in the country of the request."""

    name, label = "popular-country", "what is popular in the country"

    def retrieve(self, batch: Batch, quota: int) -> list[ItemList]:
        """Best first; nothing for an unknown country, or if the settings do not name the country.

        The list is made at the training.
        """
        return [
            self._best(batch.state.context, query, allowed, quota)
            for query, allowed in zip(batch.queries, batch.allowed, strict=True)
        ]

    @staticmethod
    def _best(context: ContextCounts, query: Query, allowed: AllowedItems, quota: int) -> ItemList:
        is_named = "country" in context.config.named
        counts = context.fields.get("country") if is_named else None
        value = -1 if counts is None else context.value("country", query)
        if counts is None or value < 0:
            return ItemList()
        items = counts.top_of(value)
        items = items[allowed.admits(items)][:quota]
        return ItemList(items, np.log1p(counts.counts_of(value, items)).astype(np.float32))


class AgainSource(Source):
    """Items that the user chose before and that may come again, the most chosen ones first."""

    name, label = "again", "what was chosen before"

    def retrieve(self, batch: Batch, quota: int) -> list[ItemList]:
        """Best first by the number of choices; of equally many, the newer ones."""
        lists = []
        for query, past, allowed in zip(batch.queries, batch.pasts, batch.allowed, strict=True):
            items = query.again[allowed.admits(query.again)] if len(query.again) else query.again
            if not len(items):
                lists.append(ItemList())
                continue
            items_chosen, since = last_choices(past)
            newest = np.zeros(len(items))
            places, is_there = locate(items_chosen, items)
            newest[is_there] = since[places[is_there]]
            times = times_chosen(past, items)
            order = np.lexsort((-newest, -times))[:quota]
            lists.append(ItemList(items[order], times[order].astype(np.float32)))
        return lists


class WordSource(Source):
    """Results of the search for the text of the query; nothing without a text."""

    name, label = "words", "the words"

    def retrieve(self, batch: Batch, quota: int) -> list[ItemList]:
        """Search once per query; the hits stay in the batch for the ranker's features."""
        batch.hits = []
        for row, query in enumerate(batch.queries):
            hits = ItemList()
            if query.text.strip():
                hits = batch.state.searcher.search(
                    query.text, quota, batch.allowed[row], query.is_literal
                )
                typed = batch.state.match_id(query.text)
                if typed in batch.allowed[row]:
                    hits = put_first(typed, hits)
            batch.hits.append(hits)
        return batch.hits


class BrowseSource(Source):
    """All items that may be shown, the most chosen ones first and of equals the newest.

    It proposes what passes the filters of a category page, whether or not anybody has chosen it.
    """

    name, label = "browse", "all that may be shown"

    def retrieve(self, batch: Batch, quota: int) -> list[ItemList]:
        """Best first by the number of interactions."""
        return [list_popular(allowed, batch.state, quota) for allowed in batch.allowed]


def list_popular(allowed: AllowedItems, state: EngineState, most: int) -> ItemList:
    """The most chosen items, and of equally often chosen ones the newest."""
    shown = allowed.numbers()
    counts, times = state.counts[shown], state.catalogue.available_from[shown]
    rows = first_rows(most, -counts, -times, -shown)
    return ItemList.of_distinct(shown[rows], counts[rows].astype(np.float32))


class SponsoredSource(Source):
    """Items with a bid that fit the request best by the unified retriever."""

    name, label = SPONSORED, "items with a bid"

    def retrieve(self, batch: Batch, quota: int) -> list[ItemList]:
        """Best first by similarity; the auction takes the bids into account."""
        assert batch.surface.sponsored is not None
        attribute, state = batch.surface.sponsored.bid, batch.state
        bidding = state.derived.item_set(
            (self.name, attribute), lambda: has_bid(state.catalogue, attribute)
        )
        return batch.scores(RETRIEVER).top(quota, [one.within(bidding) for one in batch.allowed])


OWN_SOURCES: Mapping[str, Source] = {
    source.name: source
    for source in (
        *(WordSource(), NewItemSource(), CountrySource(), AgainSource()),
        *(BrowseSource(), SponsoredSource()),
    )
}


def source_named(name: str) -> Source:
    """One of ``OWN_SOURCES``, or the model of that name."""
    return OWN_SOURCES.get(name) or ModelSource(name)
