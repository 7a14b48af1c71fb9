"""Labels that the ranker learns: its target actions, and requests whose items are labelled by them.

Target actions are two derived ones, and any action of the log by its name: ``interact`` is any
event of interest, ``like`` any event that is a like by ``[actions]``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np

from serendip.data import Dataset, FloatArray, IntArray, Query
from serendip.data.arrays import NO_ITEMS
from serendip.errors import ConfigError
from serendip.models.ranker.config import SearchSource

INTERACT, LIKE = "interact", "like"

INNER_FRACTION = 0.85
"""The ranker is trained on the last 15 % of the events, with models of the first 85 %."""

MIN_EVENTS_FOR_RANKER = 200
"""With fewer events no ranker is trained; candidates are ordered by rank fusion."""


def has_ranker(dataset: Dataset) -> bool:
    """False if the dataset has too few events, or all of the same time."""
    enough = len(dataset.events) >= MIN_EVENTS_FOR_RANKER
    return enough and bool(np.ptp(dataset.events.timestamps))


def label_actions(liked: bool, actions: Iterable[str]) -> frozenset[str]:
    """Names of the ranker's positive labels for an item that was chosen by ``actions``."""
    derived = {INTERACT, LIKE} if liked else {INTERACT}
    return frozenset(derived | (set(actions) - {INTERACT, LIKE}))


def require_actions(dataset: Dataset, wanted: Sequence[str]) -> None:
    """Check, before any training, that the ranker's training data contain its target actions.

    Raises:
        ConfigError: an action has no event in the part that the ranker is trained on.
    """
    log, names = dataset.events, [name for name in wanted if name not in (INTERACT, LIKE)]
    if not names or not has_ranker(dataset):
        return
    begin = log.timestamps[int(INNER_FRACTION * len(log))]
    numbers = [] if log.actions is None else log.actions[log.timestamps >= begin].tolist()
    counts = Counter(dataset.action_names[number] for number in numbers)
    for name in names:
        if not counts[name]:
            present = ", ".join(f"{other} ({count:,})" for other, count in counts.most_common(10))
            raise ConfigError(
                f"[ranker] actions: no event of interest in the newest {1 - INNER_FRACTION:.0%} of "
                f"the log, which the ranker is trained on, has the action {name!r}; present: "
                f"{present or 'none'}.",
                f"Remove {name!r} from [ranker] actions, or train after such events were logged.",
            )


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
Batches = list[tuple[str, Sequence[LabelledQuery]]]
