"""Sources propose candidates: one for each model, for words, for new and for sponsored items."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping

import numpy as np

from serendip.data.item_list import ItemList, top_k
from serendip.engine.stages.base import Stage
from serendip.engine.stages.batch import Batch
from serendip.engine.stages.sponsored import SPONSORED, has_bid


class Source(Stage, ABC):
    """Proposes candidates; its label completes "From"."""

    @property
    def trace_key(self) -> str:
        """Key of the number of candidates that it proposed."""
        return f"from {self.name}"

    @property
    def trace_labels(self) -> Mapping[str, str]:
        """Its key in the trace -> label."""
        return {self.trace_key: f"From {self.label}"}

    @abstractmethod
    def retrieve(self, batch: Batch, quota: int) -> list[ItemList]:
        """At most ``quota`` allowed items per query, best first."""


class ModelSource(Source):
    """The best items of a model."""

    def __init__(self, name: str, label: str = "") -> None:
        self.name, self.label = name, label or name

    def retrieve(self, batch: Batch, quota: int) -> list[ItemList]:
        """Top of the dense scores; items without evidence are not proposed."""
        scores = batch.scores(self.name)  # (B, N)
        usable = batch.allowed
        if batch.state.models[self.name].zero_means_unknown:
            usable = usable & (scores != 0)
        # Among equal scores the "best" items would be arbitrary.
        differ = (
            scores.max(1) > scores.min(1) if scores.shape[1] > 1 else np.ones(len(scores), bool)
        )
        masked = np.where(usable & differ[:, None], scores, -np.inf)
        return [top_k(row, quota) for row in masked]


class NewItemSource(Source):
    """Items without interactions that are most similar to the context."""

    name, label = "new-items", "new items"

    def retrieve(self, batch: Batch, quota: int) -> list[ItemList]:
        """Nearest by content among items without interactions; nothing without a context."""
        scores = batch.scores("content")
        new = batch.allowed & (batch.state.counts == 0)
        masked = np.where(new & (scores > 0), scores, -np.inf)
        return [top_k(row, quota) for row in masked]


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
            batch.hits.append(hits)
        return batch.hits


class SponsoredSource(Source):
    """Items with a bid that fit the request best by the unified retriever."""

    name, label = SPONSORED, "items with a bid"

    def retrieve(self, batch: Batch, quota: int) -> list[ItemList]:
        """Best first by similarity; the auction takes the bids into account."""
        assert batch.surface.sponsored is not None
        bidding = has_bid(batch.state.catalogue, batch.surface.sponsored.bid)
        masked = np.where(batch.allowed & bidding, batch.scores("retriever"), -np.inf)
        return [top_k(row, quota) for row in masked]


OWN_SOURCES: Mapping[str, Source] = {
    source.name: source for source in (WordSource(), NewItemSource(), SponsoredSource())
}
"""Sources that are not models."""


def source_named(name: str) -> Source:
    """One of ``OWN_SOURCES``, or the model of that name."""
    return OWN_SOURCES.get(name) or ModelSource(name)
