"""Sources propose candidates: one per recommender, for words, for new and for sponsored items."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import numpy as np

from serendip.data.item_list import ItemList, top_k
from serendip.engine.stages.batch import Batch
from serendip.engine.stages.sponsored import SOURCE, has_bid


class Source(Protocol):
    """Proposes at most ``quota`` items per query."""

    name: str
    label: str
    """Words for people, for where its candidates come from."""

    def retrieve(self, batch: Batch, quota: int) -> list[ItemList]:
        """One list per query, best first, only allowed items."""
        ...


class ModelSource:
    """The best items of a recommender."""

    def __init__(self, name: str, label: str = "") -> None:
        self.name, self.label = name, label or name

    def retrieve(self, batch: Batch, quota: int) -> list[ItemList]:
        """Top of the dense scores; items without evidence are not proposed."""
        scores = batch.scores(self.name)
        usable = batch.allowed
        if batch.state.models[self.name].zero_means_unknown:
            usable = usable & (scores != 0)
        # A row of equal scores says nothing: its "best" items would be chance.
        speaks = (
            scores.max(1) > scores.min(1) if scores.shape[1] > 1 else np.ones(len(scores), bool)
        )
        masked = np.where(usable & speaks[:, None], scores, -np.inf)
        return [top_k(row, quota) for row in masked]


class NewItemSource:
    """Items that nobody has chosen yet and that are most like the context: they need a start."""

    name, label = "new-items", "new items"

    def retrieve(self, batch: Batch, quota: int) -> list[ItemList]:
        """Nearest by content among items without interactions; nothing without a context."""
        scores = batch.scores("content")
        new = batch.allowed & (batch.state.counts == 0)
        masked = np.where(new & (scores > 0), scores, -np.inf)
        return [top_k(row, quota) for row in masked]


class WordSource:
    """What the words of the query find; proposes nothing where there is no text."""

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
            batch.hits.append(hits)
        return batch.hits


class SponsoredSource:
    """Items with a bid that fit the request best, by the unified retriever."""

    name, label = SOURCE, "items with a bid"

    def retrieve(self, batch: Batch, quota: int) -> list[ItemList]:
        """Best first by likeness: what a bid earns is decided when the places are sold."""
        assert batch.surface.sponsored is not None
        bidding = has_bid(batch.state.catalogue, batch.surface.sponsored.bid)
        masked = np.where(batch.allowed & bidding, batch.scores("retriever"), -np.inf)
        return [top_k(row, quota) for row in masked]


OWN_SOURCES: Mapping[str, Source] = {
    one.name: one for one in (WordSource(), NewItemSource(), SponsoredSource())
}
"""Sources that are no recommender."""


def source_named(name: str) -> Source:
    """One of ``OWN_SOURCES``, or the recommender of that name."""
    return OWN_SOURCES.get(name) or ModelSource(name)
