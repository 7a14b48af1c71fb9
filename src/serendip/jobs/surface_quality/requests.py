"""A request with what was chosen after it: the ranker learns it, and answers are measured by it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from serendip.data import FloatArray, IntArray, Query, Task
from serendip.data.arrays import NO_ITEMS
from serendip.data.events.repeats import Repeats
from serendip.data.splits import Targets
from serendip.evaluate.runs import Keys
from serendip.models.ranker.config import SearchSource

INTERACT, LIKE = "interact", "like"
"""Labels that are derived: any event of interest, and any that is a like by ``[actions]``."""

OF_PEOPLE: tuple[SearchSource, ...] = ("logged", "labelled")
"""Sources of searches that people made, or whose results somebody labelled."""


def label_actions(liked: bool, actions: Iterable[str]) -> frozenset[str]:
    """Names of the ranker's positive labels for an item that was chosen by ``actions``."""
    derived = {INTERACT, LIKE} if liked else {INTERACT}
    return frozenset(derived | (set(actions) - {INTERACT, LIKE}))


@dataclass(frozen=True, slots=True)
class LabelledQuery:
    """A request and its positives.

    Args:
        items: (P,) int32 chosen items.
        actions: labels of each chosen item (see ``label_actions``); empty = nobody learns it.
        shown: items of the answer, chosen or not; empty = unknown.
        weights: (P,) weight of each chosen item in the loss, by its position or its grade; empty =
            1.
        irrelevant: (I,) int32 items labelled as irrelevant: always negatives if they are
            candidates.
        source: of a search; None = not a search.
        key: what identifies it in other runs.
        afterwards: items that the user chose next, for messages and sold places.
    """

    query: Query
    items: IntArray
    actions: Sequence[frozenset[str]] = ()
    shown: IntArray = field(default_factory=lambda: NO_ITEMS)
    weights: FloatArray = field(default_factory=lambda: np.empty(0, np.float32))
    irrelevant: IntArray = field(default_factory=lambda: NO_ITEMS)
    source: SearchSource | None = None
    weight: float = 1.0
    by_llm: bool = False
    key: int = 0
    afterwards: IntArray = field(default_factory=lambda: NO_ITEMS)

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


NUM_NEXT_EVENTS = 5
"""Number of the user's next events that are positives."""


def ask_at(targets: Targets, row: int, task: Task, repeats: Repeats) -> LabelledQuery | None:
    """The feed at a target, or the page that led to it, labelled by the user's next events.

    None if the log tells of no such page.
    """
    query = targets.query(row, task, repeats)
    if task == "similar":
        page = targets.page_before(row)
        if page is None:
            return None
        query = replace(query, source_items=np.array([page], np.int32))
    items, liked, actions = targets.next_events(row, NUM_NEXT_EVENTS)
    labels = [
        label_actions(is_like, [action])
        for is_like, action in zip(liked.tolist(), actions or [""] * len(items), strict=True)
    ]
    return LabelledQuery(query, items, labels)


@dataclass(frozen=True, slots=True, eq=False)
class SurfaceRequests:
    """T requests of one surface, each with a relevant item.

    Args:
        question: what is asked, as a sentence.
        asked: their queries exclude what no system may show.
        possible: number of requests that they were sampled from.
    """

    surface: str
    question: str
    asked: Sequence[LabelledQuery]
    possible: int

    def __len__(self) -> int:
        return len(self.asked)

    @property
    def queries(self) -> list[Query]:
        """T queries."""
        return [one.query for one in self.asked]

    @property
    def relevant(self) -> list[IntArray]:
        """T arrays of distinct items."""
        return [one.items for one in self.asked]

    @property
    def afterwards(self) -> list[IntArray]:
        """T arrays."""
        return [one.afterwards for one in self.asked]

    @property
    def users(self) -> NDArray[np.str_]:
        """(T,) external ids."""
        return np.array([one.query.user_id for one in self.asked], np.str_)

    @property
    def keys(self) -> Keys:
        """(T,)."""
        return np.array([one.key for one in self.asked], np.uint64)

    def within(self, shown: NDArray[np.bool_]) -> SurfaceRequests:
        """Those with a relevant item that is shown (N,); what is not is not relevant."""
        asked = [replace(one, items=one.items[shown[one.items]]) for one in self.asked]
        return replace(self, asked=[one for one in asked if len(one.items)])
