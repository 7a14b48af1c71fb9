"""A request with what is known of its candidates, from which the ranker's rows are made."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from serendip.data.arrays import NO_ITEMS, FloatArray, IntArray
from serendip.data.query import Query
from serendip.models.ranker.config import SearchSource

OF_PEOPLE: tuple[SearchSource, ...] = ("logged", "labelled")
"""Sources of searches that people made, or whose results somebody labelled."""


@dataclass(frozen=True, slots=True)
class LabelledQuery:
    """A request and its positives.

    Args:
        items: (P,) int32 chosen items.
        actions: labels of each chosen item (see ``label_actions``).
        shown: items of the answer, chosen or not; empty = unknown.
        weights: (P,) weight of each chosen item in the loss, by its position or its grade; empty =
            1.
        irrelevant: (I,) int32 items labelled as irrelevant: always negatives if they are
            candidates.
        source: of a search; None = not a search.
        weight: of all its rows in the loss.
        by_llm: whether labels are an LLM's.
    """

    query: Query
    items: IntArray
    actions: Sequence[frozenset[str]]
    shown: IntArray = field(default_factory=lambda: NO_ITEMS)
    weights: FloatArray = field(default_factory=lambda: np.empty(0, np.float32))
    irrelevant: IntArray = field(default_factory=lambda: NO_ITEMS)
    source: SearchSource | None = None
    weight: float = 1.0
    by_llm: bool = False

    @property
    def can_decide(self) -> bool:
        """Whether it may decide what orders search: people made it, or labelled its items."""
        return self.source in OF_PEOPLE and not self.by_llm

    def items_with(self, action: str) -> IntArray:
        """The chosen items with this label."""
        return self.items[[action in labels for labels in self.actions]]

    def weights_of(self, item_nums: IntArray) -> FloatArray:
        """(C,) float32 weights of candidates: ``weight``, times that of a chosen item."""
        found = np.full(len(item_nums), self.weight, np.float32)
        for item, weight in zip(self.items.tolist(), self.weights.tolist(), strict=False):
            found[item_nums == item] *= weight
        return found


LabelledRequests = Sequence[tuple[str, Sequence[LabelledQuery]]]
"""Surface and its requests."""

Batches = list[tuple[str, Sequence[LabelledQuery]]]
"""Surface and some of its requests."""
